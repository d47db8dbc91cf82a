// This file is the probe of type "smtp": greeting, EHLO, TLS by STARTTLS where it
// is wanted, and QUIT (RFC 5321, RFC 3207). No mail is begun.

package checker

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"time"
)

type smtpProbe struct {
	Dialer
	helo string
	tls  *tls.Config // nil: none
}

func newSMTPProbe(c *Check, common *Shared) (Prober, error) {
	p := &smtpProbe{Dialer: newDialer(c), helo: c.Helo}
	if p.helo == "" {
		p.helo = "localhost"
	}
	if strings.ContainsAny(p.helo, " \r\n\x00") {
		return nil, fmt.Errorf("helo: %q has a space or a line break in it", p.helo)
	}
	var err error
	if c.TLS != nil {
		p.tls, err = common.tlsConfig(c, "")
	}
	return p, err
}

func (p *smtpProbe) Probe(ctx context.Context, deadline time.Time) Outcome {
	c, out := p.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	plain := mailDialogue{rw: c}
	greeting, out := plain.expect(220)
	if out.Reason != "" {
		return out
	}
	answer, out := plain.ask("EHLO "+p.helo, 250)
	if out.Reason != "" {
		return out
	}
	last := &plain
	var expiry time.Time
	if p.tls != nil {
		if !answer.has("STARTTLS") {
			return NewOutcome(Protocol, PhaseReceive, "STARTTLS is not offered")
		}
		if _, out = plain.ask("STARTTLS", 220); out.Reason != "" {
			return out
		}
		if len(plain.rest) > 0 { // RFC 3207 §5: somebody's words, from before the handshake
			return NewOutcome(Protocol, PhaseReceive, "more than an answer to STARTTLS: "+Quote(plain.rest))
		}
		s, ends, out := startTLS(c, p.tls)
		if s == nil {
			return out
		}
		expiry, last = ends, &mailDialogue{rw: s}
		if _, out = last.ask("EHLO "+p.helo, 250); out.Reason != "" {
			out.CertExpiry = expiry
			return out
		}
	}
	last.ask("QUIT", 221) // out of politeness: the server has shown that it works
	out = NewOutcome(OK, PhaseReceive, greeting.line())
	out.CertExpiry = expiry
	return out
}

// mailDialogue is a dialogue in lines.
type mailDialogue struct {
	rw   io.ReadWriter
	rest []byte // came, and belongs to no answer yet
}

func (d *mailDialogue) ask(command string, code int) (mailAnswer, Outcome) {
	if _, err := io.WriteString(d.rw, command+"\r\n"); err != nil {
		return mailAnswer{}, FromError(PhaseSend, err, "")
	}
	return d.expect(code)
}

// expect reads one answer. The outcome has no reason where it has the code.
func (d *mailDialogue) expect(code int) (mailAnswer, Outcome) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		a, n, err := parseMailAnswer(d.rest)
		switch {
		case err != nil:
			return a, NewOutcome(Protocol, PhaseReceive, Printable(err.Error(), MaxDetail))
		case n > 0:
			d.rest = d.rest[n:]
			if a.code != code {
				return a, NewOutcome(Status, PhaseReceive, a.line())
			}
			return a, Outcome{}
		}
		n, broken := d.rw.Read(*buf)
		d.rest = append(d.rest, (*buf)[:n]...)
		if broken != nil && n == 0 {
			got := ""
			if len(d.rest) > 0 {
				got = Quote(d.rest)
			}
			return a, FromError(PhaseReceive, broken, got)
		}
	}
}
