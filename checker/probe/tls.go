// This file is the TLS side of every probe: the settings, the handshake, and what
// the certificate that was shown says about its end.

package probe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/trace"
	"net"
	"net/netip"
	"strings"
	"time"
)

// tlsKey is what two TLS settings are equal in.
type tlsKey struct {
	verify                         bool
	name, caKey, certKey, protocol string
	caGiven                        bool
	oldest                         uint16
}

var tlsVersions = map[string]uint16{"": tls.VersionTLS12, "1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11,
	"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// tlsConfig verifies by the name that a client would use. Sessions are not
// resumed: a resumed one proves less. With a protocol (ALPN) it is the only one
// that is offered.
func (s *Shared) tlsConfig(c *Check, protocol string) (*tls.Config, error) {
	set := c.TLS
	if set == nil {
		set = &TLSConfig{Verify: true}
	}
	name := set.ServerName
	if name == "" {
		name = nameOf(c)
	}
	oldest, ok := tlsVersions[set.MinVersion]
	if !ok {
		return nil, fmt.Errorf("%q is no version of TLS", set.MinVersion)
	}
	key := tlsKey{set.Verify, name, set.CAKey, set.CertificateKey, protocol, set.CAs != nil, oldest}
	if known := s.tlsConfigs[key]; known != nil {
		return known, nil
	}
	made := &tls.Config{ServerName: name, RootCAs: set.CAs, InsecureSkipVerify: !set.Verify, MinVersion: oldest}
	if protocol != "" {
		made.NextProtos = []string{protocol}
	}
	if set.Certificate != nil {
		made.Certificates = []tls.Certificate{*set.Certificate}
	}
	s.tlsConfigs[key] = made
	return made, nil
}

// nameOf is the Host without its port, or the name or address that is probed.
func nameOf(c *Check) string {
	host := c.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	switch _, err := netip.ParseAddr(strings.Trim(host, "[]")); {
	case host != "" && err != nil:
		return host
	case c.HostName != "":
		return c.HostName
	}
	return c.Address.Addr().Unmap().WithZone("").String()
}

// startTLS speaks TLS on a connection. A nil one comes with the outcome that says
// why; the time is when the certificate ends, where one was shown. The library's
// farewell is never sent: nobody waits for it, and it could block.
func startTLS(c net.Conn, settings *tls.Config) (net.Conn, time.Time, outcome.Outcome) {
	s := tls.Client(c, settings)
	var pen *trace.Tracer
	if under, ok := c.(*netpoll.Conn); ok {
		pen = under.DetachTracer()
	}
	err := s.Handshake()
	if err != nil {
		out := outcome.FromError(outcome.PhaseTLS, err, "")
		var refused *tls.CertificateVerificationError
		if errors.As(err, &refused) && len(refused.UnverifiedCertificates) > 0 {
			out.CertExpiry = refused.UnverifiedCertificates[0].NotAfter
		}
		return nil, out.CertExpiry, out
	}
	state := s.ConnectionState()
	expiry := expiryOf(state.PeerCertificates, state.VerifiedChains)
	if pen != nil {
		return pen.WrapTLS(s), expiry, outcome.Outcome{}
	}
	return s, expiry, outcome.Outcome{}
}

// expiryOf is when what a server shows ends to be valid: a chain with its first
// certificate, and of several chains the last one. What was not verified has no
// chains, only certificates of which the first is the server's.
func expiryOf(shown []*x509.Certificate, chains [][]*x509.Certificate) time.Time {
	var latest time.Time
	for _, chain := range chains {
		ends := chain[0].NotAfter
		for _, cert := range chain[1:] {
			if cert.NotAfter.Before(ends) {
				ends = cert.NotAfter
			}
		}
		if ends.After(latest) {
			latest = ends
		}
	}
	if latest.IsZero() && len(shown) > 0 {
		return shown[0].NotAfter
	}
	return latest
}
