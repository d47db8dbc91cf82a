package checker

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// secured serves in TLS.
func secured(t *testing.T, settings *tls.Config, serve func(net.Conn)) netip.AddrPort {
	return server(t, func(c net.Conn) {
		s := tls.Server(c, settings)
		if s.Handshake() == nil {
			serve(s)
			s.Close()
		}
	})
}

func TestTCPInTLS(t *testing.T) {
	ours, foreign := newAuthority(t), newAuthority(t)
	banner := func(c net.Conn) { io.WriteString(c, "* OK ready\r\n"); io.Copy(io.Discard, c) }
	good := ours.issue(t, -time.Hour, 2*time.Hour, "mail.example.org", "127.0.0.1")
	client := ours.issue(t, -time.Hour, time.Hour, "lb1").Certificates[0]
	stranger := foreign.issue(t, -time.Hour, time.Hour, "lb1").Certificates[0]
	strict := good.Clone()
	strict.ClientAuth, strict.ClientCAs = tls.RequireAndVerifyClientCert, ours.pool
	of12 := good.Clone()
	of12.MaxVersion = tls.VersionTLS12
	of10 := good.Clone()
	of10.MinVersion, of10.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	soon := time.Now().Add(time.Hour) // the authority ends before the certificate
	late := time.Now().Add(2 * time.Hour)
	past := time.Now().Add(-time.Hour)
	tests := []struct {
		name   string
		to     netip.AddrPort
		set    TLSConfig
		reason Reason
		phase  string
		detail string
		expiry time.Time
	}{
		{"good", secured(t, good, banner), TLSConfig{Verify: true}, OK, PhaseReceive, "* OK ready", soon},
		{"by name", secured(t, good, banner), TLSConfig{Verify: true, ServerName: "mail.example.org"}, OK, PhaseReceive, "", soon},
		{"another name", secured(t, good, banner), TLSConfig{Verify: true, ServerName: "www.example.org"}, TLS, PhaseTLS, "not www.example.org", late},
		{"unverified", secured(t, good, banner), TLSConfig{}, OK, PhaseReceive, "", late},
		{"expired", secured(t, ours.issue(t, -2*time.Hour, -time.Hour, "127.0.0.1"), banner), TLSConfig{Verify: true}, TLS, PhaseTLS, "expired", past},
		{"with a certificate", secured(t, strict, banner), TLSConfig{Verify: true, Certificate: &client}, OK, PhaseReceive, "", soon},
		{"without one", secured(t, strict, banner), TLSConfig{Verify: true}, TLS, "", "certificate required", soon},
		{"with a stranger's", secured(t, strict, banner), TLSConfig{Verify: true, Certificate: &stranger}, TLS, "", "", soon},
		{"1.2 where 1.3 is wanted", secured(t, of12, banner), TLSConfig{Verify: true, MinVersion: "1.3"}, TLS, PhaseTLS, "protocol version", time.Time{}},
		{"1.0 where 1.2 is wanted", secured(t, of10, banner), TLSConfig{Verify: true}, TLS, PhaseTLS, "protocol version", time.Time{}},
		{"1.0 where it is good", secured(t, of10, banner), TLSConfig{Verify: true, MinVersion: "1.0"}, OK, PhaseReceive, "", soon},
		{"no TLS", server(t, banner), TLSConfig{Verify: true}, TLS, PhaseTLS, "not TLS", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.set.Verify {
				tt.set.CAs = ours.pool
			}
			got := once(t, Check{Type: TypeTCP, Address: tt.to, Expect: "OK ready", TLS: &tt.set})
			if tt.phase == "" { // in TLS 1.3 a client learns late that it is not wanted
				got.Phase = ""
			}
			want(t, got, tt.reason, tt.phase, tt.detail)
			if d := got.CertExpiry.Sub(tt.expiry); got.CertExpiry.IsZero() != tt.expiry.IsZero() || d > time.Minute || d < -time.Minute {
				t.Errorf("ends at %v, want %v", got.CertExpiry, tt.expiry)
			}
		})
	}
	if _, err := NewProber(&Check{Type: TypeTCP, Address: addr(1), TLS: &TLSConfig{MinVersion: "1.4"}}, NewShared()); err == nil {
		t.Error("TLS 1.4 is accepted")
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

// The steps of a dialogue follow one another; what answers one is not taken for
// an answer to the next.
func TestDialogue(t *testing.T) {
	mail := func(c net.Conn) {
		io.WriteString(c, "220 ready\r\n")
		rest := "" // of a line whose beginning went out before
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
		reason Reason
		phase  string
		detail string
	}{
		{"all of it", mail, []Step{{Expect: "^220"}, {Send: "HELO a\r\n", Expect: "^250"}, {Send: "QUIT\r\n", Expect: "^221"}}, OK, PhaseReceive, "221 bye"},
		{"a wrong answer", mail, []Step{{Expect: "^220"}, {Send: "EHLO\r\n", Expect: "^250"}}, Timeout, PhaseReceive, `step 2: "500 what?\r\n"`},
		{"no answer to the second", echo, []Step{{Send: "a", Expect: "a"}, {Expect: "a"}}, Timeout, PhaseReceive, "step 2: no answer"},
		{"two in one answer", echo, []Step{{Send: "onetwo", ExpectText: "one"}, {ExpectText: "two"}}, OK, PhaseReceive, "two"},
		{"bytes", echo, []Step{{Send: "\x00\xff.", ExpectText: "\xff."}}, OK, PhaseReceive, `"\x00\xff."`},
		{"a text is no pattern", echo, []Step{{Send: "ab", ExpectText: "a."}}, Timeout, PhaseReceive, `"ab"`},
		{"only sent", echo, []Step{{Send: "a"}, {Send: "b"}}, OK, PhaseSend, ""},
		{"closed in between", mail, []Step{{Send: "QUIT\r\n", Expect: "221"}, {Expect: "250"}}, Body, PhaseReceive, "step 2"},
		{"refused", nil, []Step{{Send: "a"}, {Send: "b"}}, Refused, PhaseConnect, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Check{Type: TypeTCP, Steps: tt.steps}
			if tt.serve == nil {
				c.Address = refusing(t)
			} else {
				c.Address = server(t, tt.serve)
			}
			if tt.reason == Timeout {
				c.Timeout = hurry
			}
			want(t, once(t, c), tt.reason, tt.phase, tt.detail)
		})
	}
}
