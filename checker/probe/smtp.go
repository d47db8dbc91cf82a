package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/wire"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// smtpProbe reads the greeting, sends EHLO, switches to TLS by STARTTLS where that
// is configured, and sends QUIT (RFC 5321, RFC 3207). It begins no mail.
type smtpProbe struct {
	netpoll.Dialer
	helo         string
	tls          *tls.Config // nil: none
	proxyVersion string      // of the PROXY protocol; "": none
}

func newSMTPProbe(c *Check, common *Shared) (Prober, error) {
	p := &smtpProbe{Dialer: newDialer(c), helo: c.Helo, proxyVersion: c.ProxyProtocol}
	if err := checkProxyVersion(c.ProxyProtocol); err != nil {
		return nil, err
	}
	if p.helo == "" {
		p.helo = "localhost"
	}
	if strings.ContainsAny(p.helo, " \r\n\x00") {
		return nil, fmt.Errorf("helo: %q contains a space or a line break", p.helo)
	}
	var err error
	if c.TLS != nil {
		p.tls, err = common.tlsConfig(c, "")
	}
	return p, err
}

func (p *smtpProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, out := p.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if out := sendProxyHeader(c, p.proxyVersion, p.To); out.Reason != "" {
		return out
	}
	on := net.Conn(c)
	session := newSMTPSession(on)
	greeting, out := session.reply(220)
	if out.Reason != "" {
		return out
	}
	features, out := session.hello(p.helo)
	if out.Reason != "" {
		return out
	}
	var expiry time.Time
	if p.tls != nil {
		if !hasFeature(features, "STARTTLS") {
			return outcome.NewOutcome(outcome.Protocol, outcome.PhaseReceive, "STARTTLS is not offered")
		}
		if _, out = session.command("STARTTLS", 220); out.Reason != "" {
			return out
		}
		if n := session.in.Buffered(); n > 0 { // RFC 3207 §5: injected before the handshake
			injected, _ := session.in.Peek(n)
			return outcome.NewOutcome(outcome.Protocol, outcome.PhaseReceive, "data after the reply to STARTTLS: "+outcome.Quote(injected))
		}
		s, ends, out := startTLS(c, p.tls)
		if s == nil {
			return out
		}
		on, expiry, session = s, ends, newSMTPSession(s)
		if _, out = session.hello(p.helo); out.Reason != "" {
			out.CertExpiry = expiry
			return out
		}
	}
	// The result is known: the server is given a moment to close in its own way.
	if _, err := io.WriteString(on, "QUIT\r\n"); err == nil {
		c.AwaitEnd(on)
	}
	first, _, _ := strings.Cut(greeting, "\n")
	out = outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, outcome.Printable("220 "+first, outcome.MaxDetail))
	out.CertExpiry = expiry
	return out
}

// smtpSession is a dialogue of commands and replies.
type smtpSession struct {
	w    io.Writer
	raw  *smtpReader
	in   *bufio.Reader
	text *textproto.Reader
}

func newSMTPSession(rw io.ReadWriter) *smtpSession {
	raw := &smtpReader{r: rw}
	in := bufio.NewReader(raw)
	return &smtpSession{w: rw, raw: raw, in: in, text: textproto.NewReader(in)}
}

// hello sends EHLO, and HELO to a server that does not know EHLO (RFC 5321 §3.2, §4.1.4).
func (s *smtpSession) hello(name string) (features string, out outcome.Outcome) {
	features, out = s.command("EHLO "+name, 2)
	if out.Reason == outcome.Status && strings.HasPrefix(out.Detail, "5") {
		features, out = s.command("HELO "+name, 2)
	}
	return features, out
}

func (s *smtpSession) command(line string, code int) (string, outcome.Outcome) {
	if _, err := io.WriteString(s.w, line+"\r\n"); err != nil {
		return "", outcome.FromError(outcome.PhaseSend, err, "")
	}
	return s.reply(code)
}

// reply reads one reply and returns its text without the code. The outcome is zero
// if the code is the expected one, or starts with its digits.
func (s *smtpSession) reply(code int) (string, outcome.Outcome) {
	s.raw.seen = s.raw.seen[:0]
	_, text, err := s.text.ReadResponse(code)
	var status *textproto.Error
	var malformed textproto.ProtocolError
	switch {
	case err == nil:
		return text, outcome.Outcome{}
	case errors.As(err, &status):
		first, _, _ := strings.Cut(status.Msg, "\n")
		return "", outcome.NewOutcome(outcome.Status, outcome.PhaseReceive, outcome.Printable(strconv.Itoa(status.Code)+" "+first, outcome.MaxDetail))
	case errors.As(err, &malformed):
		return "", outcome.NewOutcome(outcome.Protocol, outcome.PhaseReceive, outcome.Printable(malformed.Error(), outcome.MaxDetail))
	}
	got := ""
	if len(s.raw.seen) > 0 {
		got = outcome.Quote(s.raw.seen)
	}
	return "", outcome.FromError(outcome.PhaseReceive, err, got)
}

// hasFeature reports whether the reply to EHLO lists a keyword; its first line is
// the server's name.
func hasFeature(reply, keyword string) bool {
	_, lines, _ := strings.Cut(reply, "\n")
	for line := range strings.SplitSeq(lines, "\n") {
		if first, _, _ := strings.Cut(line, " "); strings.EqualFold(first, keyword) {
			return true
		}
	}
	return false
}

// smtpReader bounds a reply to MaxAnswer bytes, and fails at once, instead of at
// the deadline, where the first bytes are those of another protocol.
type smtpReader struct {
	r    io.Reader
	seen []byte // of the current reply
}

func (r *smtpReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.seen = append(r.seen, b[:n]...)
	switch {
	case len(r.seen) > MaxAnswer:
		return 0, textproto.ProtocolError(fmt.Sprintf("a reply of more than %d bytes", MaxAnswer))
	case !outcome.IsDigits(string(r.seen[:min(len(r.seen), 3)])) && len(r.seen) > 0:
		return 0, textproto.ProtocolError("not an SMTP reply: " + outcome.Quote(r.seen[:min(len(r.seen), wire.MaxExcerpt)]))
	}
	return n, err
}
