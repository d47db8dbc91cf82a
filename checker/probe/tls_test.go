package probe

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestTCPInTLS(t *testing.T) {
	ours, foreign := checktest.NewAuthority(t), checktest.NewAuthority(t)
	banner := func(c net.Conn) { io.WriteString(c, "* OK ready\r\n"); io.Copy(io.Discard, c) }
	good := ours.Issue(t, -time.Hour, 2*time.Hour, "mail.example.org", "127.0.0.1")
	client := ours.Issue(t, -time.Hour, time.Hour, "lb1").Certificates[0]
	stranger := foreign.Issue(t, -time.Hour, time.Hour, "lb1").Certificates[0]
	strict := good.Clone()
	strict.ClientAuth, strict.ClientCAs = tls.RequireAndVerifyClientCert, ours.Pool
	of12 := good.Clone()
	of12.MaxVersion = tls.VersionTLS12
	of10 := good.Clone()
	of10.MinVersion, of10.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	picky := good.Clone()
	picky.NextProtos = []string{"imap"}
	soon := time.Now().Add(time.Hour) // the authority ends before the certificate
	late := time.Now().Add(2 * time.Hour)
	past := time.Now().Add(-time.Hour)
	tests := []struct {
		name   string
		to     netip.AddrPort
		set    TLSConfig
		reason outcome.Reason
		phase  string
		detail string
		expiry time.Time
	}{
		{"good", checktest.ServeTLS(t, good, banner), TLSConfig{Verify: true}, outcome.OK, outcome.PhaseReceive, "* OK ready", soon},
		{"by name", checktest.ServeTLS(t, good, banner), TLSConfig{Verify: true, ServerName: "mail.example.org"}, outcome.OK, outcome.PhaseReceive, "", soon},
		{"another name", checktest.ServeTLS(t, good, banner), TLSConfig{Verify: true, ServerName: "www.example.org"}, outcome.TLS, outcome.PhaseTLS, "not www.example.org", late},
		{"unverified", checktest.ServeTLS(t, good, banner), TLSConfig{}, outcome.OK, outcome.PhaseReceive, "", late},
		{"expired", checktest.ServeTLS(t, ours.Issue(t, -2*time.Hour, -time.Hour, "127.0.0.1"), banner), TLSConfig{Verify: true}, outcome.TLS, outcome.PhaseTLS, "expired", past},
		{"with a certificate", checktest.ServeTLS(t, strict, banner), TLSConfig{Verify: true, Certificate: &client}, outcome.OK, outcome.PhaseReceive, "", soon},
		{"without one", checktest.ServeTLS(t, strict, banner), TLSConfig{Verify: true}, outcome.TLS, "", "certificate required", soon},
		{"with a stranger's", checktest.ServeTLS(t, strict, banner), TLSConfig{Verify: true, Certificate: &stranger}, outcome.TLS, "", "", soon},
		{"1.2 where 1.3 is wanted", checktest.ServeTLS(t, of12, banner), TLSConfig{Verify: true, MinVersion: "1.3"}, outcome.TLS, outcome.PhaseTLS, "protocol version", time.Time{}},
		{"1.0 where 1.2 is wanted", checktest.ServeTLS(t, of10, banner), TLSConfig{Verify: true}, outcome.TLS, outcome.PhaseTLS, "protocol version", time.Time{}},
		{"1.0 where it is good", checktest.ServeTLS(t, of10, banner), TLSConfig{Verify: true, MinVersion: "1.0"}, outcome.OK, outcome.PhaseReceive, "", soon},
		{"the protocol that it wants", checktest.ServeTLS(t, picky, banner), TLSConfig{Verify: true, ALPN: "imap"}, outcome.OK, outcome.PhaseReceive, "", soon},
		{"another protocol", checktest.ServeTLS(t, picky, banner), TLSConfig{Verify: true, ALPN: "pop3"}, outcome.TLS, outcome.PhaseTLS, "no application protocol", time.Time{}},
		{"no TLS", checktest.Serve(t, banner), TLSConfig{Verify: true}, outcome.TLS, outcome.PhaseTLS, "not TLS", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.set.Verify {
				tt.set.CAs = ours.Pool
			}
			got := once(t, Check{Type: TypeTCP, Address: tt.to, Expect: "OK ready", TLS: &tt.set})
			if tt.phase == "" { // in TLS 1.3 a client learns late that it is refused
				got.Phase = ""
			}
			checktest.Want(t, got, tt.reason, tt.phase, tt.detail)
			if d := got.CertExpiry.Sub(tt.expiry); got.CertExpiry.IsZero() != tt.expiry.IsZero() || d > time.Minute || d < -time.Minute {
				t.Errorf("ends at %v, want %v", got.CertExpiry, tt.expiry)
			}
		})
	}
	if _, err := NewProber(&Check{Type: TypeTCP, Address: checktest.Addr(1), TLS: &TLSConfig{MinVersion: "1.4"}}, NewShared()); err == nil {
		t.Error("TLS 1.4 is accepted")
	}
}

// TLS alone: a server refuses the client after the handshake in TLS 1.3, and one that
// accepts it sees the session end in order.
func TestTLSAlone(t *testing.T) {
	ours := checktest.NewAuthority(t)
	good := ours.Issue(t, -time.Hour, 2*time.Hour, "127.0.0.1")
	client := ours.Issue(t, -time.Hour, time.Hour, "lb1").Certificates[0]
	strict := good.Clone()
	strict.ClientAuth, strict.ClientCAs = tls.RequireAndVerifyClientCert, ours.Pool
	strict12 := strict.Clone()
	strict12.MaxVersion = tls.VersionTLS12
	for _, tt := range []struct {
		name    string
		set     *tls.Config
		client  *tls.Certificate
		reason  outcome.Reason
		inOrder bool
	}{
		{"accepted", good, nil, outcome.OK, true},
		{"with a certificate", strict, &client, outcome.OK, true},
		{"without one", strict, nil, outcome.TLS, false},
		{"without one, 1.2", strict12, nil, outcome.TLS, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan error, 1)
			to := checktest.Serve(t, func(c net.Conn) {
				s := tls.Server(c, tt.set)
				_, err := s.Read(make([]byte, 1))
				ended <- err
				s.Close()
			})
			p, err := NewProber(&Check{Type: TypeTCP, Address: to, TLS: &TLSConfig{Verify: true, CAs: ours.Pool, Certificate: tt.client}}, NewShared())
			if err != nil {
				t.Fatal(err)
			}
			checktest.Want(t, p.Probe(t.Context(), time.Now().Add(checktest.Patience)), tt.reason, outcome.PhaseTLS, "")
			if err := <-ended; (err == io.EOF) != tt.inOrder {
				t.Errorf("the server sees %v", err)
			}
		})
	}
}

// Cipher suites with known weaknesses are offered on request only.
func TestLegacySuites(t *testing.T) {
	ours := checktest.NewAuthority(t)
	old := ours.Issue(t, -time.Hour, time.Hour, "127.0.0.1")
	old.MaxVersion, old.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256}
	to := checktest.ServeTLS(t, old, func(c net.Conn) { io.WriteString(c, "ready\n") })
	for _, legacy := range []bool{false, true} {
		want, phase := outcome.TLS, outcome.PhaseTLS
		if legacy {
			want, phase = outcome.OK, outcome.PhaseReceive
		}
		checktest.Want(t, once(t, Check{Type: TypeTCP, Address: to, Expect: "ready", TLS: &TLSConfig{Legacy: legacy}}), want, phase, "")
	}
}

func TestExpiryOf(t *testing.T) {
	until := func(hours ...int) (chain []*x509.Certificate) {
		for _, h := range hours {
			chain = append(chain, &x509.Certificate{NotAfter: time.Unix(0, 0).Add(time.Duration(h) * time.Hour)})
		}
		return chain
	}
	for _, tt := range []struct {
		shown  []*x509.Certificate
		chains [][]*x509.Certificate
		want   int
	}{
		{until(5, 2), nil, 5},
		{until(5, 2), [][]*x509.Certificate{until(5, 2, 9)}, 2},
		{until(5, 2), [][]*x509.Certificate{until(5, 2, 9), until(5, 4, 7)}, 4},
	} {
		if got := expiryOf(tt.shown, tt.chains); !got.Equal(time.Unix(0, 0).Add(time.Duration(tt.want) * time.Hour)) {
			t.Errorf("ends after %v, want %d h", got.Sub(time.Unix(0, 0)), tt.want)
		}
	}
	if !expiryOf(nil, nil).IsZero() {
		t.Error("nothing ends")
	}
}

// The steps of a dialogue follow one another; a reply to one is not taken for a reply
// to the next.
func TestDialogue(t *testing.T) {
	mail := func(c net.Conn) {
		io.WriteString(c, "220 ready\r\n")
		rest := "" // of a line whose beginning was sent before
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			switch line {
			case "HELO a\r\n":
				io.WriteString(c, "250 he")
				rest = "llo\r\n"
			case "QUIT\r\n":
				io.WriteString(c, rest+"221 bye\r\n")
				return
			default:
				io.WriteString(c, "500 what?\r\n")
			}
		}
	}
	echo := func(c net.Conn) { io.Copy(c, c) }
	tests := []struct {
		name   string
		serve  func(net.Conn)
		steps  []Step
		reason outcome.Reason
		phase  string
		detail string
	}{
		{"all of it", mail, []Step{{Expect: "^220"}, {Send: "HELO a\r\n", Expect: "^250"}, {Send: "QUIT\r\n", Expect: "^221"}}, outcome.OK, outcome.PhaseReceive, "221 bye"},
		{"a wrong answer", mail, []Step{{Expect: "^220"}, {Send: "EHLO\r\n", Expect: "^250"}}, outcome.Body, outcome.PhaseReceive, `step 2: "500 what?\r\n"`},
		{"no answer to the second", echo, []Step{{Send: "a", Expect: "a"}, {Expect: "a"}}, outcome.Timeout, outcome.PhaseReceive, "step 2: no answer"},
		{"two in one answer", echo, []Step{{Send: "onetwo", ExpectText: "one"}, {ExpectText: "two"}}, outcome.OK, outcome.PhaseReceive, "two"},
		{"bytes", echo, []Step{{Send: "\x00\xff.", ExpectText: "\xff."}}, outcome.OK, outcome.PhaseReceive, `"\x00\xff."`},
		{"a text is no pattern", echo, []Step{{Send: "ab", ExpectText: "a."}}, outcome.Timeout, outcome.PhaseReceive, `"ab"`},
		{"only sent", echo, []Step{{Send: "a"}, {Send: "b"}}, outcome.OK, outcome.PhaseSend, ""},
		{"closed in between", mail, []Step{{Send: "QUIT\r\n", Expect: "221"}, {Expect: "250"}}, outcome.Body, outcome.PhaseReceive, "step 2"},
		{"refused", nil, []Step{{Send: "a"}, {Send: "b"}}, outcome.Refused, outcome.PhaseConnect, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Check{Type: TypeTCP, Steps: tt.steps}
			if tt.serve == nil {
				c.Address = checktest.Refusing(t)
			} else {
				c.Address = checktest.Serve(t, tt.serve)
			}
			if tt.reason == outcome.Timeout || tt.reason == outcome.Body {
				c.Timeout = checktest.Hurry
			}
			checktest.Want(t, once(t, c), tt.reason, tt.phase, tt.detail)
		})
	}
}
