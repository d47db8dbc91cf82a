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

// tcpProbe runs a dialogue, optionally in TLS. Each step sends something, expects
// something, or both. Without steps the handshake is all.
type tcpProbe struct {
	netpoll.Dialer
	loopProbe *netpoll.LoopProbe // nil: with TLS
	tls       *tls.Config        // nil: none
	steps     []exchange
}

// exchange is a prepared Step.
type exchange struct {
	send   []byte
	expect expectation
}

// expectation is what an answer must contain; the zero value accepts anything.
type expectation struct {
	pattern *regexp.Regexp
	text    []byte
}

func (e *expectation) wanted() bool { return e.pattern != nil || len(e.text) > 0 }

// find returns the end of the first match, or -1.
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
			// What is left of a line that an earlier step matched may come first:
			// ^ must match at the start of the next line.
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

// dialogue runs the steps in order.
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
			d.got = d.got[:0] // the answer cannot have arrived before
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

// atStep adds which of several steps failed.
func (p *tcpProbe) atStep(step int, out outcome.Outcome) outcome.Outcome {
	if len(p.steps) > 1 {
		out.Detail = outcome.Printable("step "+strconv.Itoa(step+1)+": "+out.Detail, outcome.MaxDetail)
	}
	return out
}

// dialogue holds what was received and not yet consumed by a step.
type dialogue struct {
	rw  io.Reader
	got []byte
	buf []byte
}

// receive reads until the expected bytes arrived. Each piece is searched as it arrives: the
// server of a dialogue does not close.
func (d *dialogue) receive(expect *expectation) outcome.Outcome {
	fresh := len(d.got) > 0 // the server may have sent more than one step expects
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
			return outcome.NewOutcome(outcome.Body, outcome.PhaseReceive, outcome.Quote(d.got)) // the answer is complete and does not match
		}
		return outcome.FromError(outcome.PhaseReceive, err, outcome.Quote(d.got))
	}
}

// connectProbe completes the TCP handshake, and nothing more.
type connectProbe struct{ one netpoll.LoopProbe }

func newConnectProbe(c *Check) Prober { return &connectProbe{netpoll.LoopProbe{Dialer: newDialer(c)}} }

func (p *connectProbe) LoopProbe() *netpoll.LoopProbe { return &p.one }

func (p *connectProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, out := p.one.Dialer.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	c.Close()
	return outcome.Outcome{Reason: outcome.OK, Phase: outcome.PhaseConnect}
}

// synProbe sends a SYN and ends at the SYN-ACK: the server's kernel answers, and
// the application never sees a connection.
type synProbe struct {
	loopProbe netpoll.LoopProbe
	syn       netpoll.SYN
}

func newSYNProbe(c *Check) Prober {
	p := &synProbe{}
	p.loopProbe = netpoll.LoopProbe{Dialer: newDialer(c), SYN: &p.syn}
	return p
}

func (p *synProbe) LoopProbe() *netpoll.LoopProbe { return &p.loopProbe }

func (p *synProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	return netpoll.RunBlocking(ctx, deadline, &p.loopProbe)
}
