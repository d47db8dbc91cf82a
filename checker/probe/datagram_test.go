package probe

import (
	"encoding/binary"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/wire"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

func TestUDP(t *testing.T) {
	echo := checktest.ServeUDP(t, func(b []byte) [][]byte { return [][]byte{b} })
	silent := checktest.ServeUDP(t, func([]byte) [][]byte { return nil })
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	unused := c.LocalAddr().(*net.UDPAddr).AddrPort()
	c.Close()
	for _, tt := range []struct {
		name   string
		c      Check
		reason outcome.Reason
		phase  string
		detail string
	}{
		{"an answer", Check{Address: echo, Send: "hello"}, outcome.OK, outcome.PhaseReceive, `"hello"`},
		{"an empty one", Check{Address: echo}, outcome.OK, outcome.PhaseReceive, `""`},
		{"what is expected", Check{Address: echo, Send: "a\x00b", ExpectText: "\x00b"}, outcome.OK, outcome.PhaseReceive, `"a\x00b"`},
		{"a pattern", Check{Address: echo, Send: "abc", Expect: "^a.c$"}, outcome.OK, outcome.PhaseReceive, `"abc"`},
		{"not what is expected", Check{Address: echo, Send: "abc", Expect: "x"}, outcome.Body, outcome.PhaseReceive, `"abc"`},
		{"silence", Check{Address: silent, Send: "a", Timeout: checktest.Hurry}, outcome.OK, outcome.PhaseReceive, "no rejection"},
		{"silence where an answer is wanted", Check{Address: silent, RequireReply: true, Timeout: checktest.Hurry}, outcome.Timeout, outcome.PhaseReceive, "no answer"},
		{"silence where something is expected", Check{Address: silent, ExpectText: "a", Timeout: checktest.Hurry}, outcome.Timeout, outcome.PhaseReceive, "no answer"},
		{"port unreachable", Check{Address: unused, Send: "a"}, outcome.Refused, outcome.PhaseReceive, "connection refused"},
		{"port unreachable to nothing", Check{Address: unused}, outcome.Refused, outcome.PhaseReceive, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.c.Type = TypeUDP
			checktest.Want(t, once(t, tt.c), tt.reason, tt.phase, tt.detail)
		})
	}
	before := checktest.Descriptors(t)
	for range 100 {
		once(t, Check{Type: TypeUDP, Address: unused})
	}
	if after := checktest.Descriptors(t); after > before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}

// An error that arrives after the end of a probe counts for those that are not answered
// either, until a datagram was sent for which none arrived.
func TestUDPLateError(t *testing.T) {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	at := server.LocalAddr().(*net.UDPAddr)
	made, err := newUDPProbe(&Check{Type: TypeUDP, Address: at.AddrPort(), Send: "a"}, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	p := made.(*udpProbe)
	probe := func() outcome.Outcome { return p.Probe(t.Context(), time.Now().Add(checktest.Hurry)) }
	checktest.Want(t, probe(), outcome.OK, outcome.PhaseReceive, "no rejection")

	server.Close()
	if _, err := p.pending.Write([]byte("b")); err != nil { // refused, and the probe is over
		t.Fatal(err)
	}
	raw, err := p.pending.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		err := error(unix.EINTR)
		for err == unix.EINTR { // until the error is there
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, -1)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if server, err = net.ListenUDP("udp", at); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, when := range []string{"with the error", "while the fate of its own datagram is unknown"} {
		t.Log(when)
		checktest.Want(t, probe(), outcome.Refused, outcome.PhaseReceive, "connection refused")
	}
	p.sent = p.sent.Add(-errorDelay)
	checktest.Want(t, probe(), outcome.OK, outcome.PhaseReceive, "no rejection")
}

// The kernel reports an unreachable host to a socket only where that is asked for.
func TestUDPReportsEveryError(t *testing.T) {
	for _, to := range []string{"127.0.0.1:9", "[::1]:9"} {
		d := newDialer(&Check{Address: netip.MustParseAddrPort(to)})
		c, out := d.ConnectDatagram(t.Context(), time.Now().Add(checktest.Patience), unix.SOCK_DGRAM, 0)
		if c == nil {
			t.Fatal(out)
		}
		level, option := unix.SOL_IP, unix.IP_RECVERR
		if d.To.Addr().Is6() {
			level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
		}
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if on, err := unix.GetsockoptInt(int(fd), level, option); on != 1 || err != nil {
				t.Errorf("%s: the option is %d, %v", to, on, err)
			}
		})
		c.Close()
	}
}

func TestPing(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "::1"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(a), 0)
		got := once(t, Check{Type: TypePing, Address: to})
		if got.Reason == outcome.Local && os.Geteuid() != 0 {
			t.Fatalf("no right to ping here (net.ipv4.ping_group_range): %s", got.Detail)
		}
		checktest.Want(t, got, outcome.OK, outcome.PhaseReceive, "")
		checktest.Want(t, once(t, Check{Type: TypePing, Address: to, Count: 3}), outcome.OK, outcome.PhaseReceive, "")
	}
	// An address that does not answer; where there is no route to it the kernel
	// says so.
	got := once(t, Check{Type: TypePing, Address: netip.MustParseAddrPort("240.0.0.1:0"), Count: 3, Timeout: checktest.Hurry})
	if got.Reason == outcome.OK {
		t.Errorf("no reply: %+v", got)
	}
}

// Both forms of a socket for ICMP, where this machine allows them.
func TestPingSockets(t *testing.T) {
	was := rawPing.Load()
	defer rawPing.Store(was)
	for _, raw := range []bool{false, true} {
		rawPing.Store(raw)
		checktest.Want(t, once(t, Check{Type: TypePing, Address: netip.MustParseAddrPort("127.0.0.1:0")}), outcome.OK, outcome.PhaseReceive, "")
		checktest.Want(t, once(t, Check{Type: TypePing, Address: netip.MustParseAddrPort("[::1]:0")}), outcome.OK, outcome.PhaseReceive, "")
		for _, a := range []string{"127.0.0.1", "::1"} { // with a source address, too
			c := Check{Type: TypePing, Address: netip.AddrPortFrom(netip.MustParseAddr(a), 0), From: netip.MustParseAddr(a)}
			checktest.Want(t, once(t, c), outcome.OK, outcome.PhaseReceive, "")
		}
	}
}

// zone is a name server: its reply to each question.
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
	plain := checktest.ServeUDP(t, func(b []byte) [][]byte { return [][]byte{reply2(b, nil)} })
	noisy := checktest.ServeUDP(t, func(b []byte) [][]byte {
		return [][]byte{[]byte("junk"), b, reply2(b, func(m *dnsmessage.Message) { m.ID++ }),
			reply2(b, func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("x.") }), reply2(b, nil)}
	})
	junk := checktest.ServeUDP(t, func(b []byte) [][]byte { return [][]byte{[]byte("junk")} })
	silent := checktest.ServeUDP(t, func(b []byte) [][]byte { return nil })
	stream := checktest.Serve(t, overTCP)
	// A server whose answers by UDP are cut short, with TCP at the same port.
	short := checktest.Serve(t, overTCP)
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
		reason outcome.Reason
		detail string
	}{
		{"A", Check{DNSName: "www.example.org", DNSRecord: "A"}, outcome.OK, "NOERROR, 192.0.2.1 and 1 more"},
		{"the second A", Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.2"}, outcome.OK, ""},
		{"another A", Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.3"}, outcome.Body, "192.0.2.1"},
		{"AAAA", Check{DNSName: "www.example.org.", DNSRecord: "AAAA", DNSAnswer: "2001:db8::1"}, outcome.OK, ""},
		{"MX", Check{DNSName: "example.org", DNSRecord: "MX", DNSAnswer: "10 mail.example.org."}, outcome.OK, "10 Mail.example.org"},
		{"MX by name", Check{DNSName: "example.org", DNSRecord: "MX", DNSAnswer: "mail.example.org"}, outcome.OK, ""},
		{"TXT", Check{DNSName: "example.org", DNSRecord: "TXT", DNSAnswer: "v=spf1 -all"}, outcome.OK, ""},
		{"SRV", Check{DNSName: "example.org", DNSRecord: "SRV", DNSAnswer: "1 2 3 a.example.org"}, outcome.OK, ""},
		{"SOA", Check{DNSName: "example.org", DNSRecord: "SOA", DNSAnswer: "ns.example.org"}, outcome.OK, ""},
		{"NS", Check{DNSName: "example.org", DNSRecord: "NS", DNSAnswer: "ns.example.org"}, outcome.OK, ""},
		{"PTR", Check{DNSName: "1.2.0.192.in-addr.arpa", DNSRecord: "PTR", DNSAnswer: "www.example.org"}, outcome.OK, ""},
		{"no record", Check{DNSName: "empty.example.org", DNSRecord: "A"}, outcome.OK, "no such record"},
		{"no record where one is wanted", Check{DNSName: "empty.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.1"}, outcome.Body, "no such record"},
		{"SERVFAIL", Check{DNSName: "broken.example.org", DNSRecord: "A"}, outcome.Status, "SERVFAIL"},
		{"NXDOMAIN is wanted", Check{DNSName: "no.example.org", DNSRecord: "A", DNSRcode: "NXDOMAIN"}, outcome.OK, "NXDOMAIN"},
		{"the root", Check{DNSName: "", DNSRecord: "NS"}, outcome.Status, "NXDOMAIN"},
		{"among noise", Check{Address: noisy, DNSName: "www.example.org", DNSRecord: "A"}, outcome.OK, ""},
		{"junk", Check{Address: junk, DNSName: "a", DNSRecord: "A", Timeout: checktest.Hurry}, outcome.Protocol, `not a reply to the query: "junk"`},
		{"silent", Check{Address: silent, DNSName: "a", DNSRecord: "A", Timeout: checktest.Hurry}, outcome.Timeout, "no answer"},
		{"TCP", Check{Address: stream, DNSTCP: true, DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.2"}, outcome.OK, ""},
		{"cut short", Check{Address: short, DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.2"}, outcome.OK, ""},
		{"TCP, closed", Check{Address: checktest.Serve(t, func(c net.Conn) { c.Read(make([]byte, 99)) }), DNSTCP: true, DNSName: "a", DNSRecord: "A"}, outcome.Closed, "no answer"},
		{"TCP, junk", Check{Address: checktest.Serve(t, func(c net.Conn) { io.WriteString(c, "\x00\x03abc"); c.Read(make([]byte, 99)) }), DNSTCP: true, DNSName: "a", DNSRecord: "A"}, outcome.Protocol, `"abc"`},
		{"refused", Check{Address: checktest.Refusing(t), DNSName: "a", DNSRecord: "A"}, outcome.Refused, "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Type = TypeDNS
			if !tt.c.Address.IsValid() {
				tt.c.Address = plain
			}
			checktest.Want(t, once(t, tt.c), tt.reason, outcome.PhaseReceive, tt.detail)
		})
	}
	for _, c := range []Check{{DNSRecord: "X"}, {DNSRecord: "A", DNSRcode: "X"}, {DNSRecord: "A", DNSName: strings.Repeat("a", 64)}, {DNSRecord: "A", DNSName: "a..b"}} {
		if _, err := wire.NewQuery(c.DNSName, c.DNSRecord, c.DNSRcode, c.DNSAnswer); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestSMTP(t *testing.T) {
	ours := checktest.NewAuthority(t)
	good := ours.Issue(t, -time.Hour, time.Hour, "127.0.0.1")
	// mail behaves as a mail server; each word of what may change that.
	mail := func(change string) netip.AddrPort {
		return checktest.Serve(t, func(c net.Conn) { speakMail(c, good, change) })
	}
	verify := &TLSConfig{Verify: true, CAs: ours.Pool}
	for _, tt := range []struct {
		name   string
		to     netip.AddrPort
		tls    *TLSConfig
		reason outcome.Reason
		phase  string
		detail string
	}{
		{"plain", mail(""), nil, outcome.OK, outcome.PhaseReceive, "220 mail.example.org ESMTP"},
		{"STARTTLS", mail("tls"), verify, outcome.OK, outcome.PhaseReceive, "220 mail.example.org"},
		{"STARTTLS is not wanted", mail("tls"), nil, outcome.OK, outcome.PhaseReceive, ""},
		{"STARTTLS is not offered", mail(""), verify, outcome.Protocol, outcome.PhaseReceive, "STARTTLS is not offered"},
		{"a foreign certificate", mail("tls"), &TLSConfig{Verify: true}, outcome.TLS, outcome.PhaseTLS, "x509"},
		{"words from before the handshake", mail("tls injected"), verify, outcome.Protocol, outcome.PhaseReceive, "250 injected"},
		{"no EHLO", mail("old"), nil, outcome.OK, outcome.PhaseReceive, "220 mail.example.org"},
		{"no EHLO, and so no STARTTLS", mail("old"), verify, outcome.Protocol, outcome.PhaseReceive, "STARTTLS is not offered"},
		{"EHLO answered by 248", mail("248"), nil, outcome.OK, outcome.PhaseReceive, "220 mail.example.org"},
		{"busy", mail("busy"), nil, outcome.Status, outcome.PhaseReceive, "421 too busy"},
		{"EHLO is refused", mail("rude"), nil, outcome.Status, outcome.PhaseReceive, "550 go away"},
		{"closed", checktest.Serve(t, func(c net.Conn) {}), nil, outcome.Closed, outcome.PhaseReceive, "no answer"},
		{"hangs", checktest.Serve(t, func(c net.Conn) { io.WriteString(c, "220-wait"); io.Copy(io.Discard, c) }), nil, outcome.Timeout, outcome.PhaseReceive, `"220-wait"`},
		{"another protocol", checktest.Serve(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0"); io.Copy(io.Discard, c) }), nil, outcome.Protocol, outcome.PhaseReceive, `"SSH-2.0"`},
		{"gigabytes", checktest.Serve(t, func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, strings.Repeat("220-more\r\n", 1000)); err != nil {
					return
				}
			}
		}), nil, outcome.Protocol, outcome.PhaseReceive, "more than 16384 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Check{Type: TypeSMTP, Address: tt.to, Helo: "lb1", TLS: tt.tls}
			if tt.reason == outcome.Timeout {
				c.Timeout = checktest.Hurry
			}
			got := once(t, c)
			checktest.Want(t, got, tt.reason, tt.phase, tt.detail)
			if tt.name == "STARTTLS" && got.CertExpiry.IsZero() {
				t.Error("no expiry")
			}
		})
	}
	if _, err := NewProber(&Check{Type: TypeSMTP, Address: checktest.Addr(1), Helo: "a\r\nMAIL"}, NewShared()); err == nil {
		t.Error("a line break is accepted")
	}
}

// Nothing that a server sends breaks the reader, and what it accepts as a reply matches
// the query.
func FuzzDNS(f *testing.F) {
	q, err := wire.NewQuery("www.example.org", "A", "", "192.0.2.1")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply2(q.Message(7), nil))
	f.Add(q.Message(7))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := q.Parse(b, 7)
		if err != nil {
			return
		}
		p := dnsProbe{Query: q}
		if out := p.evaluate(r); len(out.Detail) > outcome.MaxDetail || r.Found && r.Records == 0 {
			t.Fatalf("%+v", out)
		}
		if binary.BigEndian.Uint16(b) != 7 {
			t.Fatal("another's reply")
		}
	})
}

// A server that sends a truncated reply and has no TCP: the result names both.
func TestTruncatedWithoutTCP(t *testing.T) {
	to := checktest.ServeUDP(t, func(b []byte) [][]byte {
		return [][]byte{reply2(b, func(m *dnsmessage.Message) { m.Truncated, m.Answers = true, nil })}
	})
	checktest.Want(t, once(t, Check{Type: TypeDNS, Address: to, DNSName: "www.example.org", DNSRecord: "A"}),
		outcome.Refused, outcome.PhaseConnect, "truncated over UDP (TC), and over TCP: connection refused")
}
