package probe

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/trace"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// tlsKey identifies equal TLS configurations.
type tlsKey struct {
	verify, legacy                 bool
	name, caKey, certKey, protocol string
	caGiven                        bool
	oldest                         uint16
}

var tlsVersions = map[string]uint16{"": tls.VersionTLS12, "1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11,
	"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// allSuites are all that the library has, the ones with known weaknesses too: RSA key
// exchange, CBC with SHA-256, 3DES, RC4. It has neither DHE nor CBC with SHA-384.
var allSuites = func() (all []uint16) {
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		all = append(all, s.ID)
	}
	return all
}()

// tlsConfig returns a configuration that verifies the name a client would use. Sessions
// are not resumed: a resumed one proves less. A protocol is the only one that is offered by
// ALPN; "" is that of the settings.
func (s *Shared) tlsConfig(c *Check, protocol string) (*tls.Config, error) {
	set := c.TLS
	if set == nil {
		set = &TLSConfig{Verify: true}
	}
	name := set.ServerName
	if name == "" {
		name = serverName(c)
	}
	oldest, ok := tlsVersions[set.MinVersion]
	if !ok {
		return nil, fmt.Errorf("%q is not a TLS version", set.MinVersion)
	}
	protocol = cmp.Or(protocol, set.ALPN)
	key := tlsKey{set.Verify, set.Legacy, name, set.CAKey, set.CertificateKey, protocol, set.CAs != nil, oldest}
	if known := s.tlsConfigs[key]; known != nil {
		return known, nil
	}
	made := &tls.Config{ServerName: name, RootCAs: set.CAs, InsecureSkipVerify: !set.Verify, MinVersion: oldest}
	if set.Legacy {
		made.CipherSuites = allSuites
	}
	if protocol != "" {
		made.NextProtos = []string{protocol}
	}
	if set.Certificate != nil {
		made.Certificates = []tls.Certificate{*set.Certificate}
	}
	s.tlsConfigs[key] = made
	return made, nil
}

// serverName returns the host of the Host header, or the name or address that is probed.
func serverName(c *Check) string {
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

// endTLS ends TLS on a connection by the closing alert, and waits for the server's. In TLS
// 1.3 the handshake is over for the client before the server has seen the client's
// certificate (RFC 8446 §2): a server that refuses it says so now, and the handshake
// alone has proved nothing. out is the outcome unless the server refuses.
func endTLS(c *netpoll.Conn, s net.Conn, out outcome.Outcome) outcome.Outcome {
	if closer, ok := s.(interface{ CloseWrite() error }); !ok || closer.CloseWrite() != nil {
		return out
	}
	if out.Phase != outcome.PhaseReceive {
		if _, err := s.Read(make([]byte, 1)); err != nil && outcome.ReasonOf(err) == outcome.TLS {
			return outcome.FromError(outcome.PhaseTLS, err, "")
		}
	}
	c.AwaitEnd(s)
	return out
}

// startTLS makes the TLS handshake on a connection. A nil connection comes with the
// outcome; the time is the certificate's expiry, if one was shown.
func startTLS(c net.Conn, settings *tls.Config) (net.Conn, time.Time, outcome.Outcome) {
	s := tls.Client(c, settings)
	var tracer *trace.Tracer
	if under, ok := c.(*netpoll.Conn); ok {
		tracer = under.DetachTracer()
	}
	err := s.Handshake()
	if err != nil {
		out := outcome.FromError(outcome.PhaseTLS, err, "")
		if strings.Contains(out.Detail, "handshake failure") {
			hint := "; an old server may need cipher_suites = \"legacy\""
			if settings.CipherSuites != nil {
				hint = "; DHE and CBC with SHA-384 are not supported"
			}
			out.Detail = outcome.Printable(out.Detail+hint, outcome.MaxDetail)
		}
		var invalid *tls.CertificateVerificationError
		if errors.As(err, &invalid) && len(invalid.UnverifiedCertificates) > 0 {
			out.CertExpiry = invalid.UnverifiedCertificates[0].NotAfter
		}
		return nil, out.CertExpiry, out
	}
	state := s.ConnectionState()
	expiry := expiryOf(state.PeerCertificates, state.VerifiedChains)
	if tracer != nil {
		return tracer.WrapTLS(s), expiry, outcome.Outcome{}
	}
	return s, expiry, outcome.Outcome{}
}

// startTLSLate is startTLS that verifies the certificate after the handshake, as a server may
// count one that is broken off as an attack. A connection that comes with an outcome is not
// to be trusted: the protocol can be ended on it.
func startTLSLate(c net.Conn, settings *tls.Config) (net.Conn, time.Time, outcome.Outcome) {
	if settings.InsecureSkipVerify {
		return startTLS(c, settings)
	}
	var shown []*x509.Certificate
	var chains [][]*x509.Certificate
	var invalid error
	late := settings.Clone()
	late.InsecureSkipVerify = true
	late.VerifyConnection = func(state tls.ConnectionState) error {
		shown = state.PeerCertificates
		between := x509.NewCertPool()
		for _, cert := range shown[1:] {
			between.AddCert(cert)
		}
		chains, invalid = shown[0].Verify(x509.VerifyOptions{Roots: settings.RootCAs, DNSName: settings.ServerName, Intermediates: between})
		return nil
	}
	s, expiry, out := startTLS(c, late)
	if s == nil {
		return nil, expiry, out
	}
	if invalid != nil {
		out = outcome.FromError(outcome.PhaseTLS, &tls.CertificateVerificationError{UnverifiedCertificates: shown, Err: invalid}, "")
	}
	return s, expiryOf(shown, chains), out
}

// expiryOf returns when a chain expires with its first certificate, and of several chains
// the last one to expire. Without verified chains it is the expiry of the server's own
// certificate, the first.
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
