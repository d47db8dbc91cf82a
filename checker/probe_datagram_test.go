package checker

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// datagramServer answers each datagram with those that serve returns.
func datagramServer(t testing.TB, serve func([]byte) [][]byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for b := make([]byte, 2048); ; {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			for _, answer := range serve(bytes.Clone(b[:n])) {
				c.WriteToUDPAddrPort(answer, from)
			}
		}
	})
	t.Cleanup(func() { c.Close(); done.Wait() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestUDP(t *testing.T) {
	echo := datagramServer(t, func(b []byte) [][]byte { return [][]byte{b} })
	silent := datagramServer(t, func([]byte) [][]byte { return nil })
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	nobody := c.LocalAddr().(*net.UDPAddr).AddrPort()
	c.Close()
	for _, tt := range []struct {
		name   string
		c      Check
		reason Reason
		phase  string
		detail string
	}{
		{"an answer", Check{Address: echo, Send: "hello"}, OK, PhaseReceive, `"hello"`},
		{"an empty one", Check{Address: echo}, OK, PhaseReceive, `""`},
		{"what is expected", Check{Address: echo, Send: "a\x00b", ExpectText: "\x00b"}, OK, PhaseReceive, `"a\x00b"`},
		{"a pattern", Check{Address: echo, Send: "abc", Expect: "^a.c$"}, OK, PhaseReceive, `"abc"`},
		{"not what is expected", Check{Address: echo, Send: "abc", Expect: "x"}, Body, PhaseReceive, `"abc"`},
		{"silence", Check{Address: silent, Send: "a", Timeout: hurry}, OK, PhaseReceive, "no refusal"},
		{"silence where an answer is wanted", Check{Address: silent, RequireReply: true, Timeout: hurry}, Timeout, PhaseReceive, "no answer"},
		{"silence where something is expected", Check{Address: silent, ExpectText: "a", Timeout: hurry}, Timeout, PhaseReceive, "no answer"},
		{"port unreachable", Check{Address: nobody, Send: "a"}, Refused, PhaseReceive, "connection refused"},
		{"port unreachable to nothing", Check{Address: nobody}, Refused, PhaseReceive, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.c.Type = TypeUDP
			want(t, once(t, tt.c), tt.reason, tt.phase, tt.detail)
		})
	}
	before := sockets(t)
	for range 100 {
		once(t, Check{Type: TypeUDP, Address: nobody})
	}
	if after := sockets(t); after > before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}

func TestPing(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "::1"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(a), 0)
		got := once(t, Check{Type: TypePing, Address: to})
		if got.Reason == Local && os.Geteuid() != 0 {
			t.Fatalf("no right to ping here (net.ipv4.ping_group_range): %s", got.Detail)
		}
		want(t, got, OK, PhaseReceive, "")
		want(t, once(t, Check{Type: TypePing, Address: to, Count: 3}), OK, PhaseReceive, "")
	}
	// An address that does not answer; where there is no way to it the kernel
	// says so.
	got := once(t, Check{Type: TypePing, Address: netip.MustParseAddrPort("240.0.0.1:0"), Count: 3, Timeout: hurry})
	if got.Reason == OK {
		t.Errorf("nobody answers: %+v", got)
	}
}

// Both forms of a socket for ICMP, where this machine allows them.
func TestPingSockets(t *testing.T) {
	was := rawPing.Load()
	defer rawPing.Store(was)
	for _, raw := range []bool{false, true} {
		rawPing.Store(raw)
		want(t, once(t, Check{Type: TypePing, Address: netip.MustParseAddrPort("127.0.0.1:0")}), OK, PhaseReceive, "")
		want(t, once(t, Check{Type: TypePing, Address: netip.MustParseAddrPort("[::1]:0")}), OK, PhaseReceive, "")
	}
}

func TestEcho(t *testing.T) {
	e := echo{sequence: 2, payload: [16]byte{1, 2, 3}}
	b := e.request()
	if internetChecksum(b) != 0 || len(b) != 24 || b[0] != 8 {
		t.Errorf("the request is %x", b)
	}
	answer := bytes.Clone(b)
	answer[0] = 0
	header := append([]byte{0x46}, make([]byte, 23)...)
	other := bytes.Clone(answer)
	other[9]++
	late := bytes.Clone(answer)
	binary.BigEndian.PutUint16(late[6:], 1)
	early := bytes.Clone(answer)
	binary.BigEndian.PutUint16(early[6:], 3)
	for name, tt := range map[string]struct {
		b      []byte
		header bool
		want   bool
	}{
		"answer": {answer, false, true}, "with a header": {append(header, answer...), true, true}, "request": {b, false, false},
		"another payload": {other, false, false}, "to an earlier one": {late, false, true}, "to a later one": {early, false, false},
		"short": {answer[:23], false, false}, "nothing": {nil, true, false}, "a header alone": {header, true, false},
		"a header that lies": {append([]byte{0x4f}, header[1:]...), true, false},
	} {
		if got := e.answeredBy(tt.b, tt.header); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	e.v6 = true
	answer[0] = 129
	if b := e.request(); b[0] != 128 || !e.answeredBy(answer, false) {
		t.Errorf("the request of IPv6 is %x", b)
	}
}

// zone is a name server: what it says to each question.
func zone(q dnsmessage.Message) dnsmessage.Message {
	q.Response = true
	name := func(s string) dnsmessage.Name { return dnsmessage.MustNewName(s) }
	head := dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET}
	add := func(b dnsmessage.ResourceBody) {
		q.Answers = append(q.Answers, dnsmessage.Resource{Header: head, Body: b})
	}
	switch strings.ToLower(q.Questions[0].Name.String()) + " " + q.Questions[0].Type.String() {
	case "www.example.org. TypeA":
		add(&dnsmessage.CNAMEResource{CNAME: name("a.example.org.")})
		add(&dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}})
		add(&dnsmessage.AResource{A: [4]byte{192, 0, 2, 2}})
	case "www.example.org. TypeAAAA":
		add(&dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::1").As16()})
	case "example.org. TypeMX":
		add(&dnsmessage.MXResource{Pref: 10, MX: name("Mail.example.org.")})
	case "example.org. TypeTXT":
		add(&dnsmessage.TXTResource{TXT: []string{"v=spf1 ", "-all"}})
	case "example.org. TypeSRV":
		add(&dnsmessage.SRVResource{Priority: 1, Weight: 2, Port: 3, Target: name("a.example.org.")})
	case "example.org. TypeSOA":
		add(&dnsmessage.SOAResource{NS: name("ns.example.org."), MBox: name("a.b.")})
	case "example.org. TypeNS":
		add(&dnsmessage.NSResource{NS: name("ns.example.org.")})
	case "1.2.0.192.in-addr.arpa. TypePTR":
		add(&dnsmessage.PTRResource{PTR: name("www.example.org.")})
	case "empty.example.org. TypeA":
	case "broken.example.org. TypeA":
		q.RCode = dnsmessage.RCodeServerFailure
	default:
		q.RCode = dnsmessage.RCodeNameError
	}
	return q
}

func reply2(b []byte, vary func(*dnsmessage.Message)) []byte {
	var q dnsmessage.Message
	if q.Unpack(b) != nil {
		return nil
	}
	q = zone(q)
	if vary != nil {
		vary(&q)
	}
	out, _ := q.Pack()
	return out
}

func TestDNS(t *testing.T) {
	overTCP := func(c net.Conn) {
		var length [2]byte
		io.ReadFull(c, length[:])
		b := make([]byte, binary.BigEndian.Uint16(length[:]))
		io.ReadFull(c, b)
		r := reply2(b, nil)
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(r))), r...))
	}
	plain := datagramServer(t, func(b []byte) [][]byte { return [][]byte{reply2(b, nil)} })
	noisy := datagramServer(t, func(b []byte) [][]byte {
		return [][]byte{[]byte("junk"), b, reply2(b, func(m *dnsmessage.Message) { m.ID++ }),
			reply2(b, func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("x.") }), reply2(b, nil)}
	})
	junk := datagramServer(t, func(b []byte) [][]byte { return [][]byte{[]byte("junk")} })
	silent := datagramServer(t, func(b []byte) [][]byte { return nil })
	stream := server(t, overTCP)
	// A server whose answers by UDP are cut short, with TCP at the same port.
	short := server(t, overTCP)
	cut, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(short))
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	go func() {
		for b := make([]byte, 512); ; {
			n, from, err := cut.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			cut.WriteToUDPAddrPort(reply2(b[:n], func(m *dnsmessage.Message) { m.Truncated, m.Answers = true, nil }), from)
		}
	}()
	for _, tt := range []struct {
		name   string
		c      Check
		reason Reason
		detail string
	}{
		{"A", Check{DNSName: "www.example.org", DNSRecord: "A"}, OK, "NOERROR, 192.0.2.1 and 1 more"},
		{"the second A", Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.2"}, OK, ""},
		{"another A", Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.3"}, Body, "192.0.2.1"},
		{"AAAA", Check{DNSName: "www.example.org.", DNSRecord: "AAAA", DNSAnswer: "2001:db8::1"}, OK, ""},
		{"MX", Check{DNSName: "example.org", DNSRecord: "MX", DNSAnswer: "10 mail.example.org."}, OK, "10 Mail.example.org"},
		{"MX by name", Check{DNSName: "example.org", DNSRecord: "MX", DNSAnswer: "mail.example.org"}, OK, ""},
		{"TXT", Check{DNSName: "example.org", DNSRecord: "TXT", DNSAnswer: "v=spf1 -all"}, OK, ""},
		{"SRV", Check{DNSName: "example.org", DNSRecord: "SRV", DNSAnswer: "1 2 3 a.example.org"}, OK, ""},
		{"SOA", Check{DNSName: "example.org", DNSRecord: "SOA", DNSAnswer: "ns.example.org"}, OK, ""},
		{"NS", Check{DNSName: "example.org", DNSRecord: "NS", DNSAnswer: "ns.example.org"}, OK, ""},
		{"PTR", Check{DNSName: "1.2.0.192.in-addr.arpa", DNSRecord: "PTR", DNSAnswer: "www.example.org"}, OK, ""},
		{"no record", Check{DNSName: "empty.example.org", DNSRecord: "A"}, OK, "no such record"},
		{"no record where one is wanted", Check{DNSName: "empty.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.1"}, Body, "no such record"},
		{"SERVFAIL", Check{DNSName: "broken.example.org", DNSRecord: "A"}, Status, "SERVFAIL"},
		{"NXDOMAIN is wanted", Check{DNSName: "no.example.org", DNSRecord: "A", DNSRcode: "NXDOMAIN"}, OK, "NXDOMAIN"},
		{"the root", Check{DNSName: "", DNSRecord: "NS"}, Status, "NXDOMAIN"},
		{"among noise", Check{Address: noisy, DNSName: "www.example.org", DNSRecord: "A"}, OK, ""},
		{"junk", Check{Address: junk, DNSName: "a", DNSRecord: "A", Timeout: hurry}, Protocol, `no reply to the query: "junk"`},
		{"silent", Check{Address: silent, DNSName: "a", DNSRecord: "A", Timeout: hurry}, Timeout, "no answer"},
		{"TCP", Check{Address: stream, DNSTCP: true, DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.2"}, OK, ""},
		{"cut short", Check{Address: short, DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.2"}, OK, ""},
		{"TCP, closed", Check{Address: server(t, func(c net.Conn) { c.Read(make([]byte, 99)) }), DNSTCP: true, DNSName: "a", DNSRecord: "A"}, Closed, "no answer"},
		{"TCP, junk", Check{Address: server(t, func(c net.Conn) { io.WriteString(c, "\x00\x03abc"); c.Read(make([]byte, 99)) }), DNSTCP: true, DNSName: "a", DNSRecord: "A"}, Protocol, `"abc"`},
		{"refused", Check{Address: refusing(t), DNSName: "a", DNSRecord: "A"}, Refused, "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Type = TypeDNS
			if !tt.c.Address.IsValid() {
				tt.c.Address = plain
			}
			want(t, once(t, tt.c), tt.reason, PhaseReceive, tt.detail)
		})
	}
	for _, c := range []Check{{DNSRecord: "X"}, {DNSRecord: "A", DNSRcode: "X"}, {DNSRecord: "A", DNSName: strings.Repeat("a", 64)}, {DNSRecord: "A", DNSName: "a..b"}} {
		if _, err := newQuery(&c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// Nothing that a server sends breaks the reader, and what it takes for a reply
// names the query.
func FuzzDNS(f *testing.F) {
	q, err := newQuery(&Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply2(q.message(7), nil))
	f.Add(q.message(7))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := q.read(b, 7)
		if err != nil {
			return
		}
		p := dnsProbe{query: q}
		if out := p.judge(r); len(out.Detail) > MaxDetail || r.found && r.records == 0 {
			t.Fatalf("%+v", out)
		}
		if binary.BigEndian.Uint16(b) != 7 {
			t.Fatal("another's reply")
		}
	})
}

func TestSMTP(t *testing.T) {
	ours := newAuthority(t)
	good := ours.issue(t, -time.Hour, time.Hour, "127.0.0.1")
	// mail speaks as a mail server does; each word of what may change it.
	mail := func(change string) netip.AddrPort {
		return server(t, func(c net.Conn) { speakMail(c, good, change) })
	}
	verify := &TLSConfig{Verify: true, CAs: ours.pool}
	for _, tt := range []struct {
		name   string
		to     netip.AddrPort
		tls    *TLSConfig
		reason Reason
		phase  string
		detail string
	}{
		{"plain", mail(""), nil, OK, PhaseReceive, "220 mail.example.org ESMTP"},
		{"STARTTLS", mail("tls"), verify, OK, PhaseReceive, "220 mail.example.org"},
		{"STARTTLS is not wanted", mail("tls"), nil, OK, PhaseReceive, ""},
		{"STARTTLS is not offered", mail(""), verify, Protocol, PhaseReceive, "STARTTLS is not offered"},
		{"a foreign certificate", mail("tls"), &TLSConfig{Verify: true}, TLS, PhaseTLS, "x509"},
		{"words from before the handshake", mail("tls injected"), verify, Protocol, PhaseReceive, "250 injected"},
		{"busy", mail("busy"), nil, Status, PhaseReceive, "421 too busy"},
		{"EHLO is refused", mail("rude"), nil, Status, PhaseReceive, "550 go away"},
		{"closed", server(t, func(c net.Conn) {}), nil, Closed, PhaseReceive, "no answer"},
		{"hangs", server(t, func(c net.Conn) { io.WriteString(c, "220-wait"); io.Copy(io.Discard, c) }), nil, Timeout, PhaseReceive, `"220-wait"`},
		{"another protocol", server(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0"); io.Copy(io.Discard, c) }), nil, Protocol, PhaseReceive, `"SSH-2.0"`},
		{"gigabytes", server(t, func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, strings.Repeat("220-more\r\n", 1000)); err != nil {
					return
				}
			}
		}), nil, Protocol, PhaseReceive, "more than 16384 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Check{Type: TypeSMTP, Address: tt.to, Helo: "lb1", TLS: tt.tls}
			if tt.reason == Timeout {
				c.Timeout = hurry
			}
			got := once(t, c)
			want(t, got, tt.reason, tt.phase, tt.detail)
			if tt.name == "STARTTLS" && got.CertExpiry.IsZero() {
				t.Error("no expiry")
			}
		})
	}
	if _, err := NewProber(&Check{Type: TypeSMTP, Address: addr(1), Helo: "a\r\nMAIL"}, NewShared()); err == nil {
		t.Error("a line break is accepted")
	}
}

func FuzzMailAnswer(f *testing.F) {
	for _, s := range []string{"220 a\r\n", "250-a\r\n250 b\r\n", "250\r\n", "25", "xyz", "250-a\n251 b\n", "999 a\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, n, err := parseMailAnswer(b)
		if n > len(b) || err != nil && n != 0 || n > 0 && (a.code < 200 || a.code > 599) || n > answerLimit {
			t.Fatalf("%q: %+v, %d, %v", b, a, n, err)
		}
		if n > 0 { // it is complete without what follows
			if _, again, err := parseMailAnswer(b[:n]); again != n || err != nil {
				t.Fatalf("%q: %d, %v", b[:n], again, err)
			}
			a.has("STARTTLS")
			a.line()
		}
	})
}
