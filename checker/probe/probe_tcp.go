// This file is the probe of type "tcp": a dialogue, perhaps in TLS. Each step
// sends something or expects something, or both. Without a step nothing is said,
// and the handshake is all.

package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"regexp"
	"strconv"
	"time"
)

// MaxAnswer bounds what is read of an answer, or of a step, in bytes.
const MaxAnswer = 16 << 10

type tcpProbe struct {
	netpoll.Dialer
	loopProbe *netpoll.LoopProbe // nil: it is in TLS
	tls       *tls.Config        // nil: none
	steps     []exchange
}

// exchange is a prepared Step.
type exchange struct {
	send   []byte
	expect expectation
}

// expectation is what an answer must have in it; its zero value wants nothing.
type expectation struct {
	pattern *regexp.Regexp
	text    []byte
}

func (e *expectation) wanted() bool { return e.pattern != nil || len(e.text) > 0 }

// find is where in the bytes the expected ones end, or -1.
func (e *expectation) find(b []byte) int {
	if e.pattern != nil {
		if found := e.pattern.FindIndex(b); found != nil {
			return found[1]
		}
		return -1
	}
	if at := bytes.Index(b, e.text); at >= 0 {
		return at + len(e.text)
	}
	return -1
}

func newTCPProbe(c *Check, common *Shared) (Prober, error) {
	p := &tcpProbe{Dialer: newDialer(c)}
	steps := c.Steps
	if len(steps) == 0 && (c.Send != "" || c.Expect != "" || c.ExpectText != "") {
		steps = []Step{{c.Send, c.Expect, c.ExpectText}}
	}
	for i, s := range steps {
		if len(c.Steps) > 0 && s.Expect != "" {
			// The rest of a line may come after the step that it belonged to, so
			// that ^ must find the next one's beginning.
			s.Expect = "(?m)" + s.Expect
		}
		made, err := common.exchange(s)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		p.steps = append(p.steps, made)
	}
	if c.TLS != nil {
		var err error
		p.tls, err = common.tlsConfig(c, "")
		return p, err
	}
	p.loopProbe = &netpoll.LoopProbe{Dialer: p.Dialer}
	if len(p.steps) > 0 {
		p.loopProbe.Session = func(c netpoll.Stream) outcome.Outcome { return p.dialogue(c, outcome.PhaseConnect) }
	}
	return p, nil
}

func (p *tcpProbe) LoopProbe() *netpoll.LoopProbe { return p.loopProbe }

func (s *Shared) exchange(step Step) (exchange, error) {
	pattern, err := s.expression(step.Expect)
	return exchange{[]byte(step.Send), expectation{pattern, []byte(step.ExpectText)}}, err
}

func (p *tcpProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, out := p.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if p.tls == nil {
		return p.dialogue(c, outcome.PhaseConnect)
	}
	s, expiry, out := startTLS(c, p.tls)
	if s != nil {
		out = p.dialogue(s, outcome.PhaseTLS)
	}
	out.CertExpiry = expiry
	return out
}

// dialogue takes one step after the other.
func (p *tcpProbe) dialogue(rw io.ReadWriter, phase string) outcome.Outcome {
	out := outcome.NewOutcome(outcome.OK, phase, "")
	if len(p.steps) == 0 {
		return out
	}
	d := dialogue{rw: rw}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	d.buf = *buf
	for i := range p.steps {
		s := &p.steps[i]
		if len(s.send) > 0 {
			d.got = d.got[:0] // what answers cannot have come before
			if _, err := rw.Write(s.send); err != nil {
				return p.atStep(i, outcome.FromError(outcome.PhaseSend, err, ""))
			}
			out = outcome.NewOutcome(outcome.OK, outcome.PhaseSend, out.Detail)
		}
		if s.expect.wanted() {
			if out = d.receive(&s.expect); out.Reason != outcome.OK {
				return p.atStep(i, out)
			}
		}
	}
	return out
}

// atStep says in which of several steps something failed.
func (p *tcpProbe) atStep(step int, out outcome.Outcome) outcome.Outcome {
	if len(p.steps) > 1 {
		out.Detail = outcome.Printable("step "+strconv.Itoa(step+1)+": "+out.Detail, outcome.MaxDetail)
	}
	return out
}

// dialogue is what came and was not yet used up by a step.
type dialogue struct {
	rw  io.Reader
	got []byte
	buf []byte
}

// receive reads until what is expected came. Each piece is looked at as it comes:
// a dialogue's server does not close.
func (d *dialogue) receive(expect *expectation) outcome.Outcome {
	fresh := len(d.got) > 0 // the server may have said more than one step asked for
	for {
		if fresh {
			if at := expect.find(d.got); at >= 0 {
				out := outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, outcome.Quote(d.got))
				d.got = d.got[at:]
				return out
			}
		}
		if len(d.got) == MaxAnswer {
			return outcome.NewOutcome(outcome.Body, outcome.PhaseReceive, outcome.Quote(d.got))
		}
		n, err := d.rw.Read(d.buf)
		d.got = append(d.got, d.buf[:min(n, MaxAnswer-len(d.got))]...)
		fresh = n > 0
		if err == nil || n > 0 && expect.find(d.got) >= 0 {
			continue
		}
		switch {
		case len(d.got) == 0:
			return outcome.FromError(outcome.PhaseReceive, err, "")
		case outcome.ReasonOf(err) == outcome.Closed:
			return outcome.NewOutcome(outcome.Body, outcome.PhaseReceive, outcome.Quote(d.got)) // the answer is complete, and another
		}
		return outcome.FromError(outcome.PhaseReceive, err, outcome.Quote(d.got))
	}
}
