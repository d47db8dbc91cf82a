package probe

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/dialogue"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type settings = dialogue.Settings

// converse is a server that follows a script: it sends lines that begin with "S: ",
// expects those that begin with "C: ", starts TLS at "TLS", and waits at "WAIT" until the
// client goes away.
func converse(t *testing.T, config *tls.Config, script string) netip.AddrPort {
	return checktest.Serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		pending := "" // consecutive lines are sent at once
		flush := func() { io.WriteString(c, pending); pending = "" }
		for line := range strings.SplitSeq(script, "\n") {
			if said, ok := strings.CutPrefix(line, "S: "); ok {
				pending += said + "\r\n"
				continue
			}
			flush()
			switch asked, ok := strings.CutPrefix(line, "C: "); {
			case ok:
				got, err := r.ReadString('\n')
				if err != nil && got == "" {
					return // it gave up
				}
				if got = strings.TrimRight(got, "\r\n"); got != asked {
					t.Errorf("the client says %q, not %q", got, asked)
					return
				}
			case line == "TLS":
				s := tls.Server(c, config)
				c, r = s, bufio.NewReader(s)
			case line == "WAIT":
				io.Copy(io.Discard, r)
			}
		}
		flush()
		if s, ok := c.(*tls.Conn); ok {
			s.CloseWrite()
		}
	})
}

func TestDialogues(t *testing.T) {
	login := Check{Dialogue: &settings{User: "lvsd", Password: `se"cret`}}
	for _, tt := range []struct {
		name, kind string
		c          Check
		script     string
		reason     outcome.Reason
		detail     string
	}{
		{"greeting", "imap", Check{}, "S: * OK ready\nC: a LOGOUT\nS: * BYE\nS: a OK done", outcome.OK, "* OK ready"},
		{"login", "imap", login, "S: * OK ready\nC: a LOGIN \"lvsd\" \"se\\\"cret\"\nS: * CAPABILITY IMAP4rev1\nS: a OK done\nC: a LOGOUT\nS: * BYE", outcome.OK, "a OK"},
		{"wrong password", "imap", login, "S: * OK ready\nC: a LOGIN \"lvsd\" \"se\\\"cret\"\nS: a NO [AUTHENTICATIONFAILED] no\nWAIT", outcome.Status, "AUTHENTICATIONFAILED"},
		{"busy", "imap", Check{}, "S: * BYE too many\nWAIT", outcome.Status, "too many"},
		{"garbage", "imap", Check{}, "S: HTTP/1.1 400 Bad Request\nWAIT", outcome.Status, "HTTP/1.1 400"},
		{"no word at the end", "imap", Check{}, "S: * OK ready\nC: a LOGOUT", outcome.OK, ""},
		{"login", "pop3", login, "S: +OK ready\nC: USER lvsd\nS: +OK\nC: PASS se\"cret\nS: +OK 0 messages\nC: QUIT\nS: +OK", outcome.OK, "+OK 0 messages"},
		{"wrong password", "pop3", login, "S: +OK ready\nC: USER lvsd\nS: +OK\nC: PASS se\"cret\nS: -ERR [AUTH] no\nWAIT", outcome.Status, "step 3: \"-ERR [AUTH] no"},
		{"login", "ftp", login, "S: 220-Welcome\nS: 220 ready\nC: USER lvsd\nS: 331 password\nC: PASS se\"cret\nS: 230-so\nS:  many\nS: 230 words\nC: QUIT\nS: 221 bye", outcome.OK, ""},
		{"anonymous", "ftp", Check{Dialogue: &settings{User: "anonymous"}}, "S: 220 ready\nC: USER anonymous\nS: 331 password\nC: PASS lvsd@\nS: 230 in\nC: QUIT\nS: 221 bye", outcome.OK, ""},
		{"a name that suffices", "ftp", login, "S: 220 ready\nC: USER lvsd\nS: 230 in\nC: PASS se\"cret\nS: 503 you are already\nC: QUIT\nS: 221 bye", outcome.OK, ""},
		{"busy", "ftp", Check{}, "S: 421 too many\nWAIT", outcome.Status, "421"},
		{"garbage", "ftp", Check{}, "S: SSH-2.0-OpenSSH\nWAIT", outcome.Status, "SSH-2.0"},
		{"login", "nntp", login, "S: 200 ready\nC: AUTHINFO USER lvsd\nS: 381 go on\nC: AUTHINFO PASS se\"cret\nS: 281 in\nC: QUIT\nS: 205 bye", outcome.OK, ""},
		{"a name that suffices", "nntp", login, "S: 200 ready\nC: AUTHINFO USER lvsd\nS: 281 in\nC: AUTHINFO PASS se\"cret\nS: 482 you are already\nC: QUIT\nS: 205 bye", outcome.OK, ""},
		{"refused", "nntp", Check{}, "S: 400 down\nWAIT", outcome.Status, "400 down"},
		{"plain", "redis", Check{}, "C: PING\nS: +PONG\nC: QUIT\nS: +OK", outcome.OK, "+PONG"},
		{"no password", "redis", Check{}, "C: PING\nS: -NOAUTH Authentication required.\nWAIT", outcome.Status, "NOAUTH"},
		{"password", "redis", Check{Dialogue: &settings{Password: "secret"}}, "C: *2\nC: $4\nC: AUTH\nC: $6\nC: secret\nS: +OK\nC: PING\nS: +PONG\nC: QUIT\nS: +OK", outcome.OK, ""},
		{"user", "redis", login, "C: *3\nC: $4\nC: AUTH\nC: $4\nC: lvsd\nC: $7\nC: se\"cret\nS: -WRONGPASS\nWAIT", outcome.Status, "WRONGPASS"},
		{"database", "redis", Check{Dialogue: &settings{Database: "3"}}, "C: PING\nS: +PONG\nC: *2\nC: $6\nC: SELECT\nC: $1\nC: 3\nS: +OK\nC: QUIT\nS: +OK", outcome.OK, ""},
		{"primary", "redis", Check{Dialogue: &settings{Role: "primary"}}, "C: PING\nS: +PONG\nC: ROLE\nS: *3\nS: $6\nS: master\nS: :0\nS: *0\nC: QUIT\nS: +OK", outcome.OK, ""},
		{"a replica", "redis", Check{Dialogue: &settings{Role: "primary"}}, "C: PING\nS: +PONG\nC: ROLE\nS: *5\nS: $5\nS: slave\nS: $9\nS: 10.0.0.20\nWAIT", outcome.Status, "slave"},
		{"replica", "redis", Check{Dialogue: &settings{Role: "replica"}}, "C: PING\nS: +PONG\nC: ROLE\nS: *5\nS: $5\nS: slave\nS: $9\nS: 10.0.0.20\nC: QUIT\nS: +OK", outcome.OK, ""},
		{"loading", "redis", Check{}, "C: PING\nS: -LOADING Redis is loading the dataset in memory\nWAIT", outcome.Status, "LOADING"},
		{"plain", "memcached", Check{}, "C: version\nS: VERSION 1.6.18\nC: quit", outcome.OK, "VERSION 1.6.18"},
		{"login", "memcached", login, "C: set lvsd 0 0 12\nC: lvsd se\"cret\nS: STORED\nC: version\nS: VERSION 1.6.18\nC: quit", outcome.OK, ""},
		{"wrong password", "memcached", login, "C: set lvsd 0 0 12\nC: lvsd se\"cret\nS: CLIENT_ERROR authentication failure\nWAIT", outcome.Status, "authentication failure"},
		{"up", "rtsp", Check{}, "C: OPTIONS * RTSP/1.0\nC: CSeq: 1\nC: User-Agent: lvsd\nC: \nS: RTSP/1.0 200 OK\nS: CSeq: 1\nS: ", outcome.OK, "RTSP/1.0 200"},
		{"down", "rtsp", Check{}, "C: OPTIONS * RTSP/1.0\nC: CSeq: 1\nC: User-Agent: lvsd\nC: \nS: RTSP/1.0 503 No\nWAIT", outcome.Status, "503"},
	} {
		t.Run(tt.kind+" "+tt.name, func(t *testing.T) {
			tt.c.Type, tt.c.Address = tt.kind, converse(t, nil, tt.script)
			phase := outcome.PhaseReceive
			if tt.reason == outcome.OK && tt.kind != "rtsp" { // the last word needs no answer
				phase = outcome.PhaseSend
			}
			checktest.Want(t, once(t, tt.c), tt.reason, phase, tt.detail)
		})
	}
}

// TestDialoguesHang: a server that sends nothing, at any step, is down at the deadline.
func TestDialoguesHang(t *testing.T) {
	for kind, script := range map[string]string{
		"imap": "S: * OK ready\nC: a LOGIN \"lvsd\" \"x\"\nWAIT", "ftp": "WAIT", "redis": "WAIT", "amqp": "WAIT", "mysql": "WAIT", "postgres": "WAIT", "ldap": "WAIT",
	} {
		c := Check{Type: kind, Address: converse(t, nil, script), Timeout: checktest.Hurry, Dialogue: &settings{User: "lvsd", Password: "x"}}
		checktest.Want(t, once(t, c), outcome.Timeout, outcome.PhaseReceive, "no answer")
	}
	// One that does not close after the last word is up.
	c := Check{Type: "pop3", Address: converse(t, nil, "S: +OK ready\nC: QUIT\nWAIT"), Timeout: checktest.Hurry}
	checktest.Want(t, once(t, c), outcome.OK, outcome.PhaseSend, "+OK ready")
}

// TestDialoguesInTLS: by a command of the protocol, and from the first byte.
func TestDialoguesInTLS(t *testing.T) {
	ours := checktest.NewAuthority(t)
	config := ours.Issue(t, -24*time.Hour, 24*time.Hour, "mail.example.org")
	verified := &TLSConfig{Verify: true, CAs: ours.Pool, ServerName: "mail.example.org"}
	for _, tt := range []struct {
		kind   string
		c      Check
		script string
		reason outcome.Reason
		phase  string
		detail string
	}{
		{"imap", Check{TLS: verified}, "S: * OK ready\nC: a STARTTLS\nS: a OK go\nTLS\nC: a LOGOUT\nS: * BYE", outcome.OK, outcome.PhaseSend, ""},
		{"imap", Check{TLS: verified, Dialogue: &settings{User: "lvsd", Password: "x"}}, "S: * OK ready\nC: a STARTTLS\nS: a OK go\nTLS\nC: a LOGIN \"lvsd\" \"x\"\nS: a OK in\nC: a LOGOUT\nS: * BYE", outcome.OK, outcome.PhaseSend, "a OK in"},
		{"imap", Check{TLS: verified}, "S: * OK ready\nC: a STARTTLS\nS: a BAD what\nWAIT", outcome.Status, outcome.PhaseReceive, "a BAD"},
		{"imap", Check{TLS: verified, Dialogue: &settings{User: "lvsd", Password: "x"}}, "S: * OK ready\nC: a STARTTLS\nS: a OK go\nS: a OK injected\nTLS\nC: a LOGIN \"lvsd\" \"x\"\nS: a NO no\nWAIT", outcome.Status, outcome.PhaseReceive, "a NO no"},
		{"imap", Check{TLS: &TLSConfig{Verify: true, CAs: ours.Pool, ServerName: "www.example.org"}}, "S: * OK ready\nC: a STARTTLS\nS: a OK go\nTLS\nWAIT", outcome.TLS, outcome.PhaseTLS, "x509"},
		{"imaps", Check{TLS: verified}, "TLS\nS: * OK ready\nC: a LOGOUT\nS: * BYE", outcome.OK, outcome.PhaseSend, "* OK ready"},
		{"pop3", Check{TLS: verified}, "S: +OK ready\nC: STLS\nS: +OK go\nTLS\nC: QUIT\nS: +OK", outcome.OK, outcome.PhaseSend, ""},
		{"pop3s", Check{TLS: verified}, "TLS\nS: +OK ready\nC: QUIT\nS: +OK", outcome.OK, outcome.PhaseSend, "+OK ready"},
		{"ftp", Check{TLS: verified}, "S: 220 ready\nC: AUTH TLS\nS: 234 go\nTLS\nC: QUIT\nS: 221 bye", outcome.OK, outcome.PhaseSend, ""},
		{"nntp", Check{TLS: verified}, "S: 200 ready\nC: STARTTLS\nS: 382 go\nTLS\nC: QUIT\nS: 205 bye", outcome.OK, outcome.PhaseSend, ""},
		{"redis", Check{TLS: verified}, "TLS\nC: PING\nS: +PONG\nC: QUIT\nS: +OK", outcome.OK, outcome.PhaseSend, "+PONG"},
		{TypeTCP, Check{TLS: verified, Steps: []Step{{Expect: "^220 .*\n"}, {Send: "STARTTLS\r\n", Expect: "^220 .*\n"}, {StartTLS: true}, {Send: "EHLO a\r\n", Expect: "^250 "}}},
			"S: 220 mail\nC: STARTTLS\nS: 220 go\nTLS\nC: EHLO a\nS: 250 mail\nWAIT", outcome.OK, outcome.PhaseReceive, "250 mail"},
	} {
		tt.c.Type, tt.c.Address = tt.kind, converse(t, config, tt.script)
		out := once(t, tt.c)
		checktest.Want(t, out, tt.reason, tt.phase, tt.detail)
		if tt.reason == outcome.OK && out.CertExpiry.IsZero() {
			t.Errorf("%s: the certificate's expiry is not known", tt.kind)
		}
	}
	if _, err := NewProber(&Check{Type: TypeTCP, Address: checktest.Addr(1), Steps: []Step{{StartTLS: true}}}, NewShared()); err == nil {
		t.Error("a step starts TLS that is not configured")
	}
	for _, c := range []Check{{Type: "pop3", Dialogue: &settings{User: "a\r\nDELE 1"}}, {Type: "redis", Dialogue: &settings{Password: "a\nb"}},
		{Type: "mysql", Dialogue: &settings{User: "a\x00"}}, {Type: "postgres", Expect: "("}, {Type: TypeRadius}} {
		c.Address = checktest.Addr(1)
		if _, err := NewProber(&c, NewShared()); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// TestSessionInTLS: a session that upgrades, with a real handshake.
func TestSessionInTLS(t *testing.T) {
	ours := checktest.NewAuthority(t)
	config := ours.Issue(t, -24*time.Hour, 24*time.Hour, "db.example.org")
	to := checktest.Serve(t, func(c net.Conn) {
		if b := make([]byte, 8); read(c, b) && b[7] == 47 {
			io.WriteString(c, "S")
			c = tls.Server(c, config)
		}
		head := make([]byte, 4)
		if !read(c, head) || !read(c, make([]byte, binary.BigEndian.Uint32(head)-4)) {
			return
		}
		io.WriteString(c, "R\x00\x00\x00\x08\x00\x00\x00\x03") // a password in clear text
		io.Copy(io.Discard, c)
		c.Close()
	})
	c := Check{Type: "postgres", Address: to, TLS: &TLSConfig{Verify: true, CAs: ours.Pool, ServerName: "db.example.org"}, Dialogue: &settings{User: "lvsd"}}
	out := once(t, c)
	checktest.Want(t, out, outcome.OK, outcome.PhaseReceive, "asks for a password")
	if out.CertExpiry.IsZero() {
		t.Error("the certificate's expiry is not known")
	}
	for _, tt := range []struct {
		set    TLSConfig
		detail string
	}{
		{TLSConfig{Verify: true, CAs: ours.Pool, ServerName: "www.example.org"}, "not www.example.org"},
		{TLSConfig{Verify: true, CAs: checktest.NewAuthority(t).Pool, ServerName: "db.example.org"}, "unknown authority"},
	} {
		c.TLS = &tt.set
		out := once(t, c)
		checktest.Want(t, out, outcome.TLS, outcome.PhaseTLS, "failed to verify certificate: x509")
		if checktest.Want(t, out, outcome.TLS, outcome.PhaseTLS, tt.detail); out.CertExpiry.IsZero() {
			t.Error("the expiry of an untrusted certificate is not known")
		}
	}
}

func read(c net.Conn, b []byte) bool {
	_, err := io.ReadFull(c, b)
	return err == nil
}

// TestAMQP logs in to a broker that checks the frames, and closes in order.
func TestAMQP(t *testing.T) {
	method := func(id, arguments string) string {
		body := "\x00\x0a\x00" + id + arguments
		return "\x01\x00\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body + "\xce"
	}
	var refuse atomic.Bool
	to := checktest.Serve(t, func(c net.Conn) {
		header := make([]byte, 8)
		if !read(c, header) || string(header) != "AMQP\x00\x00\x09\x01" {
			t.Errorf("header %q", header)
			return
		}
		io.WriteString(c, method("\x0a", "\x00\x09\x00\x00\x00\xf4"+strings.Repeat("\xf4", 0xf4)+"\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US"))
		for {
			head := make([]byte, 7)
			if !read(c, head) {
				return
			}
			body := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
			if !read(c, body) || body[len(body)-1] != 0xce {
				t.Errorf("frame %q %q", head, body)
				return
			}
			switch body[3] {
			case 11:
				if !strings.Contains(string(body), "\x05PLAIN\x00\x00\x00\x0c\x00lvsd\x00secret\x05en_US") {
					t.Errorf("login %q", body)
				}
				if refuse.Load() {
					io.WriteString(c, method("\x32", "\x01\x93\x1aACCESS_REFUSED - no login\x00\x00\x00\x00"))
					io.Copy(io.Discard, c)
					return
				}
				io.WriteString(c, method("\x1e", "\x07\xff\x00\x02\x00\x00\x00\x3c"))
			case 40:
				if string(body[4:]) != "\x01/\x00\x00\xce" {
					t.Errorf("virtual host %q", body)
				}
				io.WriteString(c, method("\x29", "\x00"))
			case 50:
				io.WriteString(c, method("\x33", ""))
				return
			}
		}
	})
	login := Check{Type: "amqp", Address: to, Dialogue: &settings{User: "lvsd", Password: "secret"}}
	checktest.Want(t, once(t, login), outcome.OK, outcome.PhaseReceive, "")
	refuse.Store(true)
	checktest.Want(t, once(t, login), outcome.Status, outcome.PhaseReceive, "ACCESS_REFUSED")
	checktest.Want(t, once(t, Check{Type: "amqp", Address: to}), outcome.OK, outcome.PhaseReceive, "")
	web := converse(t, nil, "S: HTTP/1.1 400 Bad Request\nWAIT")
	checktest.Want(t, once(t, Check{Type: "amqp", Address: web}), outcome.Status, outcome.PhaseReceive, "HTTP/1.1 400")
}

// TestSIP: each request has an identity of its own, by UDP and by TCP.
func TestSIP(t *testing.T) {
	var mu sync.Mutex
	seen, status := map[string]bool{}, "200 OK"
	answer := func(request string) string {
		mu.Lock()
		defer mu.Unlock()
		_, branch, _ := strings.Cut(request, "branch=z9hG4bK")
		branch, _, _ = strings.Cut(branch, ";")
		if len(branch) != 16 || seen[branch] || !strings.HasPrefix(request, "OPTIONS sip:") || !strings.HasSuffix(request, "\r\n\r\n") || strings.Contains(request, "{") {
			t.Errorf("request %q", request)
		}
		seen[branch] = true
		return "SIP/2.0 " + status + "\r\nContent-Length: 0\r\n\r\n"
	}
	udp := checktest.ServeUDP(t, func(b []byte) [][]byte { return [][]byte{[]byte(answer(string(b)))} })
	tcp := checktest.Serve(t, func(c net.Conn) { io.WriteString(c, answer(checktest.ReadRequest(c))) })
	for range 2 {
		checktest.Want(t, once(t, Check{Type: TypeSIP, Address: udp}), outcome.OK, outcome.PhaseReceive, "SIP/2.0 200")
		checktest.Want(t, once(t, Check{Type: TypeSIP, Address: tcp, DNSTCP: true, Dialogue: &settings{User: "ping"}}), outcome.OK, outcome.PhaseReceive, "SIP/2.0 200")
	}
	mu.Lock()
	status = "503 Service Unavailable"
	mu.Unlock()
	checktest.Want(t, once(t, Check{Type: TypeSIP, Address: udp}), outcome.Status, outcome.PhaseReceive, "503")
	checktest.Want(t, once(t, Check{Type: TypeSIP, Address: tcp, DNSTCP: true}), outcome.Status, outcome.PhaseReceive, "503")
	checktest.Want(t, once(t, Check{Type: TypeSIP, Address: udp, Expect: `^SIP/2\.0 (200|503)`}), outcome.OK, outcome.PhaseReceive, "503")
	for _, by := range []Check{{Address: udp}, {Address: tcp, DNSTCP: true}} {
		by.Type, by.Expect, by.ExpectNot = TypeSIP, `^SIP/2\.0 `, "Unavailable"
		checktest.Want(t, once(t, by), outcome.Body, outcome.PhaseReceive, "503")
	}
}

// TestSIPProvisional: a provisional response is not the answer, by UDP and by TCP.
func TestSIPProvisional(t *testing.T) {
	const trying = "SIP/2.0 100 Trying\r\nContent-Length: 0\r\n\r\n"
	for _, tt := range []struct {
		final  string
		reason outcome.Reason
		detail string
	}{
		{"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", outcome.OK, "SIP/2.0 200"},
		{"SIP/2.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", outcome.Status, "SIP/2.0 503"},
		{"", outcome.Timeout, "SIP/2.0 100 Trying"},
	} {
		udp := checktest.ServeUDP(t, func([]byte) [][]byte {
			if tt.final == "" {
				return [][]byte{[]byte(trying)}
			}
			return [][]byte{[]byte(trying), []byte(tt.final)}
		})
		tcp := checktest.Serve(t, func(c net.Conn) {
			checktest.ReadRequest(c)
			io.WriteString(c, trying+tt.final)
			io.Copy(io.Discard, c)
		})
		c := Check{Type: TypeSIP, Address: udp}
		if tt.reason == outcome.Timeout {
			c.Timeout = checktest.Hurry
		}
		checktest.Want(t, once(t, c), tt.reason, outcome.PhaseReceive, tt.detail)
		c.Address, c.DNSTCP = tcp, true
		if got := once(t, c); got.Reason != tt.reason && tt.final != "" {
			t.Errorf("by TCP: %+v, want %s", got, tt.reason)
		}
	}
}

// TestRadiusProbe: a reply that is not signed is skipped, and named at the deadline.
func TestRadiusProbe(t *testing.T) {
	liar := checktest.ServeUDP(t, func(b []byte) [][]byte { return [][]byte{{2, b[1], 0, 20, 19: 0}} })
	c := Check{Type: TypeRadius, Address: liar, Timeout: checktest.Hurry, Dialogue: &settings{Secret: "x"}}
	checktest.Want(t, once(t, c), outcome.Protocol, outcome.PhaseReceive, "without a valid signature")
	silent := checktest.ServeUDP(t, func([]byte) [][]byte { return nil })
	c.Address = silent
	checktest.Want(t, once(t, c), outcome.Timeout, outcome.PhaseReceive, "no answer")
}

// TestNoPasswordInATranscript: of a login in any form.
func TestNoPasswordInATranscript(t *testing.T) {
	c := Check{Type: "imap", Timeout: checktest.Patience, Interval: checktest.Patience, Dialogue: &settings{User: "lvsd", Password: `Xq7"Zt0`}}
	c.Secrets = []string{`"Xq7\"Zt0"`, `Xq7"Zt0`}
	c.Address = converse(t, nil, "S: * OK ready\nC: a LOGIN \"lvsd\" \"Xq7\\\"Zt0\"\nS: a NO not \"Xq7\\\"Zt0\"\nWAIT")
	trace, err := Once(t.Context(), c)
	if err != nil || trace.Reason != outcome.Status || !strings.Contains(trace.Detail, "a NO not ...") {
		t.Errorf("%+v, %v", trace.Result, err)
	}
	for _, l := range trace.Steps {
		if strings.Contains(l.Text, "Xq7") {
			t.Errorf("the transcript shows it: %s", l.Text)
		}
	}
}

// TestDialoguesCloseInOrder: where the protocol has no last word, and after a refusal, the
// connection ends with a FIN after the whole reply: servers log a reset as an error.
func TestDialoguesCloseInOrder(t *testing.T) {
	for _, tt := range []struct {
		kind, reply, rest string
		c                 Check
		reason            outcome.Reason
	}{
		{"rtsp", "RTSP/1.0 200 OK\r\n", "CSeq: 1\r\nPublic: OPTIONS, DESCRIBE\r\n\r\n", Check{}, outcome.OK},
		{"rtsp", "RTSP/1.0 454 Session Not Found\r\n\r\n", "", Check{}, outcome.Status},
		{"sip", "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "", Check{DNSTCP: true}, outcome.OK},
		{"redis", "-ERR no\r\n", "", Check{}, outcome.Status},
	} {
		end := make(chan error, 1)
		tt.c.Type, tt.c.Address = tt.kind, checktest.Serve(t, func(c net.Conn) {
			request := make([]byte, 4096)
			if _, err := c.Read(request); err != nil {
				end <- err
				return
			}
			io.WriteString(c, tt.reply)
			io.WriteString(c, tt.rest)
			_, err := io.Copy(io.Discard, c) // nil at a FIN
			end <- err
		})
		if out := once(t, tt.c); out.Reason != tt.reason {
			t.Errorf("%s %q: %+v", tt.kind, tt.reply, out)
		}
		if err := <-end; err != nil {
			t.Errorf("%s %q: the connection ends with %v", tt.kind, tt.reply, err)
		}
	}
	// A line of the reply is in the result as a whole, though it arrives in pieces.
	c := Check{Type: "ftp", Address: checktest.Serve(t, func(c net.Conn) {
		io.WriteString(c, "500 OOPS: ")
		io.WriteString(c, "vsftpd: no such folder\r\n")
		io.Copy(io.Discard, c)
	})}
	checktest.Want(t, once(t, c), outcome.Status, outcome.PhaseReceive, "no such folder")
}
