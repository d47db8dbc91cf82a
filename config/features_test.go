package config

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSyncAndGuard: their defaults, and what a director gets.
func TestSyncAndGuard(t *testing.T) {
	text := "[[director]]\nname = \"lb1\"\n[[director]]\nname = \"lb2\"\n" +
		"[ipvs.sync]\ninterface = { lb1 = \"eth0\", lb2 = \"ens3\" }\nid = 7\n" +
		"[guard]\nwitnesses = [\"10.0.0.1\"]\n" +
		"[[vrrp]]\nname = \"web\"\ninterface = \"eth0\"\nvirtual_router_id = 51\npriority = { lb1 = 200, lb2 = 100 }\naddresses = [\"10.0.0.88\"]\n"
	for director, iface := range map[string]string{"lb1": "eth0", "lb2": "ens3"} {
		c := load(t, text, director)
		want := &Sync{Interface: iface, ID: 7, VRRP: "web", Group: addr("224.0.0.81"), Port: 8848, TTL: 1, Threshold: [2]int{3, 50}, RefreshPeriod: 10 * time.Second}
		if d := cmp.Diff(want, c.IPVS.Sync, same...); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(&Guard{Witnesses: []netip.Addr{addr("10.0.0.1")}, Share: 80}, c.Guard, same...); d != "" {
			t.Error(d)
		}
	}
	if c := load(t, read(t, "testdata/good-minimal.toml"), "lb1"); c.IPVS.Sync != nil || c.Guard != nil {
		t.Errorf("%+v %+v", c.IPVS.Sync, c.Guard)
	}
}

// TestWays: forwards, tunnels, ports and fallbacks, resolved.
func TestWays(t *testing.T) {
	gue := Tunnel{Type: "gue", Port: 6080, Checksum: "remcsum"}
	ipip := Tunnel{Type: "ipip", Checksum: "none"}
	s := load(t, read(t, "testdata/good-tunnels.toml"), "lb1").Services[0]
	if s.Forward != "tun" || s.Tunnel != gue {
		t.Errorf("%s %+v", s.Forward, s.Tunnel)
	}
	for i, want := range []RealServer{
		{Forward: "tun", Tunnel: gue}, {Forward: "tun", Tunnel: Tunnel{Type: "gre", Checksum: "csum"}}, {Forward: "tun", Tunnel: ipip}, {Forward: "nat"},
	} {
		if rs := s.RealServers[i]; rs.Forward != want.Forward || rs.Tunnel != want.Tunnel {
			t.Errorf("%s: %s %+v, want %+v", rs.Address, rs.Forward, rs.Tunnel, want)
		}
	}
	if s := service(t, "address = \"10.0.0.88:80\"\nforward = \"tun\"\n"); s.Tunnel != ipip {
		t.Errorf("%+v", s.Tunnel)
	}

	marks := load(t, read(t, "testdata/good-fwmark.toml"), "lb1").Services
	for i, six := range []bool{false, true} {
		m := marks[i]
		if m.FWMark != 7 || m.IPv6 != six || m.Protocol != "" || m.Address.IsValid() || m.RealServers[0].Address.Port() != 0 {
			t.Errorf("%+v", m)
		}
	}
	if check := marks[0].RealServers[0].Checks[0]; check.Address != addrPort("10.0.0.9:80") {
		t.Errorf("checks %s", check.Address)
	}
	if marks[1].PersistenceBits != 64 {
		t.Errorf("%d bits", marks[1].PersistenceBits)
	}
	all := load(t, read(t, "testdata/good-all-ports.toml"), "lb1").Services[0]
	if all.Address != addrPort("10.0.0.88:0") || all.RealServers[0].Address != addrPort("10.0.0.9:0") {
		t.Errorf("%s %s", all.Address, all.RealServers[0].Address)
	}

	for i, want := range []struct{ address, forward string }{{"127.0.0.1:80", "local"}, {"10.0.0.30:8080", "nat"}, {"10.0.0.30:0", "dr"}} {
		s := load(t, read(t, "testdata/good-fallback.toml"), "lb1").Services[i]
		if s.Fallback != addrPort(want.address) || s.FallbackForward != want.forward {
			t.Errorf("%s by %s, want %v", s.Fallback, s.FallbackForward, want)
		}
	}
}

// TestEveryKindOfCheck: the values of keys that only some types have.
func TestEveryKindOfCheck(t *testing.T) {
	server := addrPort("10.0.0.9:80")
	at := func(port string) netip.AddrPort { return addrPort("10.0.0.9:" + port) }
	verified := TLS{Verify: true, MinVersion: "1.2"}
	want := []Check{
		{Address: server, CheckSettings: &CheckSettings{Type: "syn"}},
		{Address: server, ServerName: "a.example", CheckSettings: &CheckSettings{Type: "tcp", Close: "fin", ReadLimit: 16384, UseTLS: true, TLS: verified, Steps: []Step{{Expect: "^220", ExpectNot: "^421"}, {Send: "QUIT\r\n", ExpectText: "221"}}}},
		{Address: server, Host: "10.0.0.9", CheckSettings: &CheckSettings{Type: "http", Method: "POST", Path: "/", Body: "x", Status: []StatusRange{{200, 299}}, ExpectNot: "bad",
			Digest: "md5:d41d8cd98f00b204e9800998ecf8427e", FollowRedirects: 2, HTTP2: true, ProxyProtocol: "v2", ReadLimit: 16 << 20}},
		{Address: netip.AddrPortFrom(netip.Addr{}, 8443), Host: "web.example:8443", ServerName: "web.example", CheckSettings: &CheckSettings{Type: "https", HostName: "web.example", Method: "GET", Path: "/", Status: []StatusRange{{200, 299}}, ReadLimit: 1000, Source: Source{Interface: "vrf-web"},
			UseTLS: true, TLS: TLS{CertFile: "/c.pem", KeyFile: "/k.pem", MinVersion: "1.3", Legacy: true}}},
		{Address: at("0"), CheckSettings: &CheckSettings{Type: "ping", Count: 3}},
		{Address: at("53"), CheckSettings: &CheckSettings{Type: "udp", Send: "{password}", RequireReply: true, Dialogue: &Dialogue{PasswordFile: "/p"}}},
		{Address: at("53"), CheckSettings: &CheckSettings{Type: "dns", DNSName: "www.example.com", DNSRecord: "AAAA", DNSRcode: "NOERROR", DNSAnswer: "2001:db8::1", DNSTCP: true}},
		{Address: at("53"), CheckSettings: &CheckSettings{Type: "dns", DNSName: "", DNSRecord: "NS", DNSRcode: "NOERROR"}},
		{Address: at("25"), ServerName: "10.0.0.9", CheckSettings: &CheckSettings{Type: "smtp", Helo: "lb1.example", ProxyProtocol: "v1", UseTLS: true, TLS: TLS{MinVersion: "1.2"}}},
		{Address: server, CheckSettings: &CheckSettings{Type: "exec", Command: []string{"/bin/true", "-v"}, User: "nobody"}},
		{Address: at("5666"), Port: 5666, CheckSettings: &CheckSettings{Type: "agent"}},
		{Address: netip.AddrPortFrom(netip.Addr{}, 5666), Port: 5666, CheckSettings: &CheckSettings{Type: "agent", HostName: "agents.example"}},
		{Address: server, ServerName: "10.0.0.9", CheckSettings: &CheckSettings{Type: "grpc", GRPCService: "shop", ProxyProtocol: "v2", UseTLS: true, TLS: verified}},
		{Address: server, CheckSettings: &CheckSettings{Type: "connect", Through: true, Close: "reset"}},
		{Address: server, CheckSettings: &CheckSettings{Type: "file", File: "/run/lvsd/up", FileAbsent: true}},
		{Address: at("143"), ServerName: "mail.example", CheckSettings: &CheckSettings{Type: "imap", Dialogue: &Dialogue{Login: "lvsd", PasswordFile: "/p"}, UseTLS: true, TLS: verified}},
		{Address: at("995"), ServerName: "10.0.0.9", CheckSettings: &CheckSettings{Type: "pop3s", UseTLS: true, TLS: TLS{MinVersion: "1.2"}}},
		{Address: at("6379"), CheckSettings: &CheckSettings{Type: "redis", Dialogue: &Dialogue{PasswordFile: "/p", Database: "3", Role: "replica"}}},
		{Address: at("3306"), CheckSettings: &CheckSettings{Type: "mysql", Dialogue: &Dialogue{Login: "lvsd", Database: "shop", Role: "primary", Query: "SELECT 1"}, Expect: "^1$", ExpectNot: "0"}},
		{Address: at("389"), CheckSettings: &CheckSettings{Type: "ldap", Dialogue: &Dialogue{Base: "dc=example"}, Expect: "^o:"}},
		{Address: at("5060"), CheckSettings: &CheckSettings{Type: "sip", DNSTCP: true, Dialogue: &Dialogue{Login: "ping"}, ProxyProtocol: "v1"}},
		{Address: at("1812"), CheckSettings: &CheckSettings{Type: "radius", Dialogue: &Dialogue{SecretFile: "/s", Login: "lvsd", PasswordFile: "/p"}}},
		{Address: server, ServerName: "10.0.0.9", CheckSettings: &CheckSettings{Type: "tcp", Close: "reset", ReadLimit: 16 << 10, UseTLS: true, TLS: verified, Steps: []Step{{Expect: "^220"}, {Send: "STARTTLS\r\n", Expect: "^220"}, {StartTLS: true}}}},
		{Address: server, Host: "10.0.0.9", CheckSettings: &CheckSettings{Type: "http", Method: "OPTIONS", Path: "*", Status: []StatusRange{{200, 299}}, ReadLimit: 256 << 10,
			Response: &Response{ExpectHeaders: map[string]string{"X-Role": "^primary$"}, ExpectJSON: map[string]string{"/a": "1"}, DrainStatus: []StatusRange{{404, 404}, {410, 411}}}}},
		{Address: server, Host: "10.0.0.9", CheckSettings: &CheckSettings{Type: "http", Method: "GET", Path: "/", Status: []StatusRange{{200, 299}}, ReadLimit: 256 << 10, Response: &Response{ExpectHeaders: map[string]string{}, ExpectJSON: map[string]string{}, DrainHeader: "X-Drain", DrainMatch: "^yes$"}}},
	}
	names := []string{"syn", "tcp", "http", "https web.example:8443", "ping", "udp :53", "dns www.example.com :53", "dns :53", "smtp :25", "exec true", "agent :5666", "agent agents.example:5666", "grpc shop", "connect through", "file up",
		"imap :143", "pop3s :995", "redis :6379", "mysql :3306", "ldap :389", "sip :5060", "radius :1812", "tcp #2", "http *", "http #2"}
	got := load(t, read(t, "testdata/good-checks.toml"), "lb1").Services[0].RealServers[0].Checks
	for i := range want {
		w := &want[i]
		w.Interval, w.FastInterval, w.Timeout, w.Rise, w.Fall, w.Position = 2*time.Second, 2*time.Second, time.Second, 2, 3, got[i].Position
		w.Name = names[i]
	}
	if d := cmp.Diff(want, got, same...); d != "" {
		t.Error(d)
	}
}
