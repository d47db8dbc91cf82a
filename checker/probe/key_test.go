package probe

import (
	"crypto/x509"
	"lvsd/checker/checktest"
	"net/netip"
	"testing"
	"time"
)

// Every field but rise and fall makes another probe, and no two fields can be
// taken for each other.
func TestKey(t *testing.T) {
	base := func() Check {
		c := Check{Type: TypeConnect, Address: checktest.Addr(1), Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}
		c.Type, c.TLS = TypeHTTPS, &TLSConfig{Verify: true}
		return c
	}
	variants := map[string]func(*Check){
		"type":       func(c *Check) { c.Type = TypeHTTP },
		"address":    func(c *Check) { c.Address = checktest.Addr(2) },
		"port":       func(c *Check) { c.Address = netip.AddrPortFrom(c.Address.Addr(), 81) },
		"interval":   func(c *Check) { c.Interval++ },
		"fast":       func(c *Check) { c.FastInterval++ },
		"timeout":    func(c *Check) { c.Timeout++ },
		"from":       func(c *Check) { c.From = netip.MustParseAddr("10.9.9.9") },
		"mark":       func(c *Check) { c.Mark++ },
		"through":    func(c *Check) { c.MarkPath = true },
		"method":     func(c *Check) { c.Method = "x" },
		"host":       func(c *Check) { c.Host = "x" },
		"path":       func(c *Check) { c.Path = "x" },
		"body":       func(c *Check) { c.BodyExpect = "x" },
		"header":     func(c *Check) { c.Headers = map[string]string{"a": "b"} },
		"header2":    func(c *Check) { c.Headers = map[string]string{"a": "c"} },
		"status":     func(c *Check) { c.Status = []StatusRange{{200, 204}} },
		"status2":    func(c *Check) { c.Status = []StatusRange{{200, 204}, {300, 300}} },
		"no tls":     func(c *Check) { c.TLS = nil },
		"verify":     func(c *Check) { c.TLS.Verify = false },
		"servername": func(c *Check) { c.TLS.ServerName = "x" },
		"cas":        func(c *Check) { c.TLS.CAKey = "x" },
		"send":       func(c *Check) { c.Type, c.Send = TypeTCP, "x" },
		"expect":     func(c *Check) { c.Type, c.Expect = TypeTCP, "x" },
		"text":       func(c *Check) { c.Type, c.ExpectText = TypeTCP, "x" },
		"steps":      func(c *Check) { c.Type, c.Steps = TypeTCP, []Step{{Send: "x"}} },
		"steps2":     func(c *Check) { c.Type, c.Steps = TypeTCP, []Step{{Expect: "x"}} },
		"tcp tls":    func(c *Check) { c.Type = TypeTCP },
		"tcp no tls": func(c *Check) { c.Type, c.TLS = TypeTCP, nil },
		"udp":        func(c *Check) { c.Type = TypeUDP },
		"reply":      func(c *Check) { c.Type, c.RequireReply = TypeUDP, true },
		"name":       func(c *Check) { c.HostName = "x" },
		"content":    func(c *Check) { c.Body = "x" },
		"not":        func(c *Check) { c.ExpectNot = "x" },
		"digest":     func(c *Check) { c.Digest = "x" },
		"follow":     func(c *Check) { c.FollowRedirects = 1 },
		"http2":      func(c *Check) { c.HTTP2 = true },
		"proxy":      func(c *Check) { c.ProxyProtocol = "v1" },
		"cert":       func(c *Check) { c.TLS.CertificateKey = "x" },
		"oldest":     func(c *Check) { c.TLS.MinVersion = "1.3" },
		"ping":       func(c *Check) { c.Type = TypePing },
		"count":      func(c *Check) { c.Type, c.Count = TypePing, 2 },
		"dns":        func(c *Check) { c.Type = TypeDNS },
		"dns name":   func(c *Check) { c.Type, c.DNSName = TypeDNS, "x" },
		"record":     func(c *Check) { c.Type, c.DNSRecord = TypeDNS, "x" },
		"rcode":      func(c *Check) { c.Type, c.DNSRcode = TypeDNS, "x" },
		"answer":     func(c *Check) { c.Type, c.DNSAnswer = TypeDNS, "x" },
		"over tcp":   func(c *Check) { c.Type, c.DNSTCP = TypeDNS, true },
		"smtp":       func(c *Check) { c.Type = TypeSMTP },
		"helo":       func(c *Check) { c.Type, c.Helo = TypeSMTP, "x" },
		"exec":       func(c *Check) { c.Type = TypeExec },
		"command":    func(c *Check) { c.Type, c.Command = TypeExec, []string{"x"} },
		"command2":   func(c *Check) { c.Type, c.Command = TypeExec, []string{"", "x"} },
		"user":       func(c *Check) { c.Type, c.User = TypeExec, "x" },
		"service":    func(c *Check) { c.Type, c.Service = TypeExec, "x" },
		"server":     func(c *Check) { c.Type, c.Server = TypeExec, "x" },
		"agent":      func(c *Check) { c.Type = TypeAgent },
		"grpc":       func(c *Check) { c.Type = TypeGRPC },
		"of grpc":    func(c *Check) { c.Type, c.GRPCService = TypeGRPC, "x" },
		"syn":        func(c *Check) { c.Type = TypeSYN },
	}
	plain := base()
	seen := map[string]string{string(plain.AppendKey(nil)): "plain"}
	for name, vary := range variants {
		c := base()
		vary(&c)
		key := string(c.AppendKey(nil))
		if other, taken := seen[key]; taken {
			t.Errorf("%s and %s have one key", name, other)
		}
		seen[key] = name
	}
	same := base()
	same.Rise, same.Fall, same.TLS.CAs = 9, 9, x509.NewCertPool()
	if seen[string(same.AppendKey(nil))] != "plain" {
		t.Error("rise, fall or the pool's identity make another probe")
	}
}
