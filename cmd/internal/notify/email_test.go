package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lvsd/cmd/internal/event"
	"lvsd/config"
)

// postOffice is a mail server on the loopback interface. It implements as much SMTP as
// the library needs.
type postOffice struct {
	listener  net.Listener
	tls       *tls.Config // nil: no STARTTLS
	implicit  bool
	refuses   string // a command
	silent    bool   // it sends no greeting
	connected chan struct{}
	done      sync.WaitGroup

	mu       sync.Mutex
	commands []string
	mail     []string
}

func (o *postOffice) open(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if o.implicit {
		l = tls.NewListener(l, o.tls)
	}
	o.listener, o.connected = l, make(chan struct{}, 1)
	o.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.done.Go(func() { o.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); o.done.Wait() })
	return l.Addr().String()
}

// serve serves one connection until its end.
func (o *postOffice) serve(c net.Conn) {
	defer func() { c.Close() }()
	o.connected <- struct{}{}
	say := func(lines ...string) { fmt.Fprint(c, strings.Join(lines, "\r\n")+"\r\n") }
	if !o.silent {
		say("220 post.example.com ESMTP")
	}
	in, encrypted := bufio.NewReader(c), o.implicit
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(line, " ")
		o.mu.Lock()
		o.commands = append(o.commands, line)
		o.mu.Unlock()
		switch {
		case verb == o.refuses:
			say("550 5.7.1 refused here")
		case verb == "EHLO" && encrypted:
			say("250-post.example.com", "250 AUTH PLAIN LOGIN")
		case verb == "EHLO" && o.tls != nil:
			say("250-post.example.com", "250 STARTTLS")
		case verb == "STARTTLS":
			say("220 go ahead")
			secure := tls.Server(c, o.tls)
			if secure.Handshake() != nil {
				return
			}
			c, in, encrypted = secure, bufio.NewReader(secure), true
		case verb == "AUTH":
			say("235 2.7.0 accepted")
		case verb == "DATA":
			say("354 go ahead")
			var text strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(line)
			}
			o.mu.Lock()
			o.mail = append(o.mail, text.String())
			o.mu.Unlock()
			say("250 2.0.0 accepted")
		case verb == "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			say("250 2.0.0 fine")
		}
	}
}

// had returns the commands that begin with a word.
func (o *postOffice) had(word string) (all []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.commands {
		if strings.HasPrefix(c, word) {
			all = append(all, c)
		}
	}
	return all
}

func mailTo(server string) config.Email {
	return config.Email{To: []string{"oncall@example.com", "second@example.com"}, From: "lvsd@lb1", Server: server, TLS: "opportunistic", Kinds: []string{"health"}}
}

// certified returns the settings of a server with a certificate for 127.0.0.1, and who
// signed it.
func certified(t *testing.T) (*tls.Config, *x509.CertPool) {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return &tls.Config{Certificates: server.TLS.Certificates}, roots
}

var failures = []event.Event{
	{At: time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC), Director: "lb1", Kind: event.KindHealth, Level: event.Info, Service: "web", RealServer: "10.0.0.9:80", From: "down", To: "up"},
	{At: time.Date(2026, 11, 26, 6, 0, 1, 0, time.UTC), Director: "lb1", Kind: event.KindHealth, Level: event.Warn, Service: "web", RealServer: "10.0.0.20:80", From: "up", To: "down", Reason: "http refused"},
}

// TestMail: one message to all recipients, whose subject is the worst event.
func TestMail(t *testing.T) {
	var o postOffice
	m := &mailer{Email: mailTo(o.open(t))}
	if err := m.send(t.Context(), failures); err != nil {
		t.Fatal(err)
	}
	if from, to := o.had("MAIL FROM:<lvsd@lb1>"), o.had("RCPT TO:"); len(from) != 1 || len(to) != 2 {
		t.Errorf("from %q, to %q", from, to)
	}
	if len(o.mail) != 1 {
		t.Fatalf("%d messages", len(o.mail))
	}
	for _, want := range []string{"Subject: [lvsd lb1] health web 10.0.0.20:80 changed from up to down (and 1 more)\r\n", "Auto-Submitted: auto-generated\r\n",
		"health web 10.0.0.9:80 changed from down to up\r\n", "warn health web 10.0.0.20:80 changed from up to down: http refused\r\n"} {
		if !strings.Contains(strings.NewReplacer("=\r\n", "", "\r\n ", " ").Replace(o.mail[0]), want) {
			t.Errorf("no %q in\n%s", want, o.mail[0])
		}
	}
}

// TestPasswordFileOfTheMail: anything but a small regular file fails the message, at once.
func TestPasswordFileOfTheMail(t *testing.T) {
	for _, file := range []string{"/dev/zero", "/dev/null", t.TempDir()} {
		o := &postOffice{}
		m := &mailer{Email: mailTo(o.open(t))}
		m.User, m.PasswordFile = "u", file
		if err := m.send(t.Context(), failures); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestMailEncryption: what each setting of tls does with a server that has a certificate
// of an unknown authority, of a known one, and none.
func TestMailEncryption(t *testing.T) {
	settings, roots := certified(t)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		mode   string
		user   string
		roots  *x509.CertPool
		office *postOffice // nil: one without TLS
		fails  string
		had    string // a command
	}{
		"opportunistic, none":           {mode: "opportunistic", had: "DATA"},
		"opportunistic, any":            {mode: "opportunistic", office: &postOffice{tls: settings}, had: "STARTTLS"},
		"opportunistic, user, unknown":  {mode: "opportunistic", user: "u", office: &postOffice{tls: settings}, fails: "certificate"},
		"opportunistic, user, known":    {mode: "opportunistic", user: "u", roots: roots, office: &postOffice{tls: settings}, had: "AUTH PLAIN"},
		"opportunistic, user, no TLS":   {mode: "opportunistic", user: "u", fails: "AUTH"},
		"starttls, none":                {mode: "starttls", fails: "STARTTLS"},
		"starttls, unknown":             {mode: "starttls", office: &postOffice{tls: settings}, fails: "certificate"},
		"starttls, known":               {mode: "starttls", roots: roots, office: &postOffice{tls: settings}, had: "STARTTLS"},
		"implicit, unknown":             {mode: "implicit", office: &postOffice{tls: settings, implicit: true}, fails: "certificate"},
		"implicit, known":               {mode: "implicit", user: "u", roots: roots, office: &postOffice{tls: settings, implicit: true}, had: "AUTH PLAIN"},
		"none, though it could":         {mode: "none", office: &postOffice{tls: settings}, had: "DATA"},
		"a recipient is refused":        {mode: "none", office: &postOffice{refuses: "RCPT"}, fails: "refused here"},
		"the message itself is refused": {mode: "none", office: &postOffice{refuses: "DATA"}, fails: "refused here"},
	} {
		t.Run(name, func(t *testing.T) {
			o := c.office
			if o == nil {
				o = &postOffice{}
			}
			m := &mailer{Email: mailTo(o.open(t)), roots: c.roots}
			m.TLS = c.mode
			if c.user != "" {
				m.User, m.PasswordFile = c.user, password
			}
			err := m.send(t.Context(), failures)
			switch {
			case c.fails == "" && (err != nil || len(o.mail) != 1 || len(o.had(c.had)) == 0):
				t.Errorf("%v, %d messages, commands %q", err, len(o.mail), o.commands)
			case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails) || len(o.mail) != 0):
				t.Errorf("%v, %d messages; want an error with %q", err, len(o.mail), c.fails)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
}

// TestMailStops: the end of the daemon does not wait for a server that is silent.
func TestMailStops(t *testing.T) {
	o := postOffice{silent: true}
	m := &mailer{Email: mailTo(o.open(t))}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.send(ctx, failures) }()
	<-o.connected
	cancel()
	if err := <-ended; err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("ended with %v", err)
	}
}
