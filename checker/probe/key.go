// This file says what makes two checks the same probe. It never probes.

package probe

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
)

// AppendKey appends what makes two checks the same probe: everything but Rise
// and Fall. Every field is delimited by its length.
func (c *Check) AppendKey(b []byte) []byte {
	k := keyWriter{b}
	k.text(c.Type)
	if !c.Probes() {
		return k.b
	}
	k.address(c.Address.Addr())
	k.number(int(c.Address.Port()))
	k.text(c.HostName)
	k.number(int(c.Interval))
	k.number(int(c.FastInterval))
	k.number(int(c.Timeout))
	k.address(c.From)
	k.number(int(c.Mark))
	k.flag(c.MarkPath)
	switch c.Type {
	case TypeTCP, TypeUDP:
		k.text(c.Send, c.Expect, c.ExpectText)
		k.flag(c.RequireReply)
		k.number(len(c.Steps))
		for _, s := range c.Steps {
			k.text(s.Send, s.Expect, s.ExpectText)
		}
		k.tls(c.TLS)
	case TypeHTTP, TypeHTTPS:
		k.web(c)
		k.tls(c.TLS)
	case TypePing:
		k.number(c.Count)
	case TypeDNS:
		k.text(c.DNSName, c.DNSRecord, c.DNSRcode, c.DNSAnswer)
		k.flag(c.DNSTCP)
	case TypeSMTP:
		k.text(c.Helo)
		k.tls(c.TLS)
	case TypeExec:
		k.number(len(c.Command))
		k.text(c.Command...)
		k.text(c.User, c.Service, c.Server)
	case TypeGRPC:
		k.text(c.GRPCService, c.Host)
		k.tls(c.TLS)
	}
	return k.b
}

// keyWriter is a key that grows.
type keyWriter struct{ b []byte }

func (k *keyWriter) text(all ...string) {
	for _, s := range all {
		k.b = binary.AppendUvarint(k.b, uint64(len(s)))
		k.b = append(k.b, s...)
	}
}

func (k *keyWriter) number(n int) { k.b = binary.AppendVarint(k.b, int64(n)) }

func (k *keyWriter) flag(f bool) {
	n := 0
	if f {
		n = 1
	}
	k.number(n)
}

func (k *keyWriter) address(a netip.Addr) {
	at := len(k.b)
	k.b, _ = a.AppendBinary(append(k.b, 0)) // never fails
	k.b[at] = byte(len(k.b) - at - 1)
}

func (k *keyWriter) tls(t *TLSConfig) {
	k.flag(t != nil)
	if t != nil {
		k.flag(t.Verify)
		k.text(t.ServerName, t.CAKey, t.CertificateKey, t.MinVersion)
	}
}

func (k *keyWriter) web(c *Check) {
	k.text(c.Method, c.Host, c.Path, c.Body, c.BodyExpect, c.ExpectNot, c.Digest, c.ProxyProtocol)
	k.number(c.FollowRedirects)
	k.flag(c.HTTP2)
	k.number(len(c.Headers))
	if len(c.Headers) > 0 {
		for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
			k.text(name, c.Headers[name])
		}
	}
	k.number(len(c.Status))
	for _, s := range c.Status {
		k.number(s.First)
		k.number(s.Last)
	}
}
