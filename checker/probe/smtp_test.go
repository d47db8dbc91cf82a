package probe

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"lvsd/checker/outcome"
	"net"
	"strings"
	"testing"
)

// speakMail is a mail server.
func speakMail(c net.Conn, settings *tls.Config, change string) {
	has := func(word string) bool { return strings.Contains(change, word) }
	if has("busy") {
		io.WriteString(c, "421 too busy\r\n")
		return
	}
	io.WriteString(c, "220 mail.example.org ESMTP\r\n")
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch {
		case has("rude"):
			io.WriteString(c, "550 go away\r\n")
		case strings.HasPrefix(line, "EHLO") && has("old"):
			io.WriteString(c, "500 unknown command\r\n")
		case line == "HELO lb1\r\n":
			io.WriteString(c, "250 mail.example.org\r\n")
		case strings.HasPrefix(line, "EHLO") && has("248"):
			io.WriteString(c, "248 mail.example.org\r\n")
		case strings.HasPrefix(line, "EHLO lb1") && has("tls"):
			io.WriteString(c, "250-mail.example.org\r\n250-SIZE 1000\r\n250 STARTTLS\r\n")
		case strings.HasPrefix(line, "EHLO lb1"):
			io.WriteString(c, "250-mail.example.org\r\n250 SIZE 1000\r\n")
		case line == "STARTTLS\r\n" && has("injected"):
			io.WriteString(c, "220 go ahead\r\n250 injected\r\n")
		case line == "STARTTLS\r\n":
			io.WriteString(c, "220 go ahead\r\n")
			s := tls.Server(c, settings)
			c, r, change = s, bufio.NewReader(s), ""
		case line == "QUIT\r\n":
			io.WriteString(c, "221 bye\r\n")
			return
		}
	}
}

// A reply has the expected code, and what is shown of any other is short and printable.
func FuzzSMTPReply(f *testing.F) {
	for _, s := range []string{"220 a\r\n", "250-a\r\n250 b\r\n", "250\r\n", "25", "xyz", "250-a\n251 b\n", "999 a\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSMTPSession(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard})
		_, out := s.reply(250)
		if out.Reason == "" && !bytes.HasPrefix(b, []byte("25")) {
			t.Fatalf("%q is a reply with code 250", b)
		}
		if len(out.Detail) > outcome.MaxDetail || out.Detail != outcome.Printable(out.Detail, outcome.MaxDetail) {
			t.Fatalf("%q: %q", b, out.Detail)
		}
	})
}
