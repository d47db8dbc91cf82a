package probe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/pattern"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// MaxAnswer bounds what is read of an answer, or of a step, in bytes, unless
// Check.ReadLimit is another.
const MaxAnswer = 16 << 10

// tcpProbe runs a dialogue, optionally in TLS. Each step sends something, expects
// something, or both, or starts TLS. Without steps the handshake is all.
type tcpProbe struct {
	netpoll.Dialer
	loopProbe    *netpoll.LoopProbe // nil: with TLS
	tls          *tls.Config        // nil: none
	upgrade      bool               // a step starts TLS, and not the connection
	proxyVersion string             // of the PROXY protocol; "": none
	steps        []exchange
	limit        int // of the answer to a step, in bytes
}

// exchange is a prepared Step.
type exchange struct {
	send     []byte
	fresh    bool
	expect   expectation
	startTLS bool
}

// message returns what is sent in one probe.
func (e *exchange) message() []byte {
	if !e.fresh {
		return e.send
	}
	return bytes.ReplaceAll(e.send, []byte("{random}"), fmt.Appendf(nil, "%016x", rand.Uint64()))
}

// expectation is what an answer must contain, and what it must not; the zero value
// accepts anything.
type expectation struct {
	pattern *pattern.Pattern
	text    []byte
	not     *pattern.Pattern
	refuse  *pattern.Pattern // fails an answer that does not contain it, before its end
}

func (e *expectation) wanted() bool { return e.pattern != nil || len(e.text) > 0 }

// refuses reports whether an answer contains what it must not.
func (e *expectation) refuses(b []byte) bool { return e.not != nil && e.not.Match(b) }

// find returns the end of the first match, or -1.
func (e *expectation) find(b []byte) int {
	if e.pattern != nil {
		return e.pattern.Find(b)
	}
	if at := bytes.Index(b, e.text); at >= 0 {
		return at + len(e.text)
	}
	return -1
}

func newTCPProbe(c *Check, common *Shared) (Prober, error) {
	p := &tcpProbe{Dialer: newDialer(c), proxyVersion: c.ProxyProtocol, limit: cmp.Or(max(c.ReadLimit, 0), MaxAnswer)}
	steps := c.Steps
	if len(steps) == 0 && (c.Send != "" || c.Expect != "" || c.ExpectText != "") {
		steps = []Step{{Send: c.Send, Expect: c.Expect, ExpectText: c.ExpectText, ExpectNot: c.ExpectNot}}
	}
	if err := checkProxyVersion(c.ProxyProtocol); err != nil {
		return nil, err
	}
	for i, s := range steps {
		made, err := common.exchange(s)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		p.steps = append(p.steps, made)
		p.upgrade = p.upgrade || s.StartTLS
	}
	switch {
	case c.TLS != nil:
		var err error
		p.tls, err = common.tlsConfig(c, "")
		return p, err
	case p.upgrade:
		return nil, errors.New("a step starts TLS, which is not configured")
	}
	p.loopProbe = &netpoll.LoopProbe{Dialer: p.Dialer}
	if len(p.steps) > 0 || p.proxyVersion != "" {
		p.loopProbe.Session = p.session
	}
	return p, nil
}

// session runs the dialogue without TLS at first.
func (p *tcpProbe) session(c netpoll.Stream) outcome.Outcome {
	if out := sendProxyHeader(c, p.proxyVersion, p.To); out.Reason != "" {
		return out
	}
	d, out := p.dialogue(c, outcome.PhaseConnect)
	switch under, _ := c.(*netpoll.Conn); {
	case out.Reason != outcome.OK:
	case d.secure != nil:
		out = endTLS(under, d.secure, out)
	case p.endsWithQuit():
		c.AwaitClose()
	}
	out.CertExpiry = d.expiry
	return out
}

// endsWithQuit reports whether the dialogue ends with something that needs no answer: the
// server closes then.
func (p *tcpProbe) endsWithQuit() bool {
	n := len(p.steps)
	return n > 1 && !p.steps[n-1].expect.wanted() && !p.steps[n-1].startTLS
}

func (p *tcpProbe) LoopProbe() *netpoll.LoopProbe { return p.loopProbe }

func (s *Shared) exchange(step Step) (exchange, error) {
	expect, err1 := s.expression(step.Expect)
	not, err2 := s.expression(step.ExpectNot)
	refuse, err3 := s.expression(step.Refuse)
	return exchange{[]byte(step.Send), step.Fresh, expectation{expect, []byte(step.ExpectText), not, refuse}, step.StartTLS}, errors.Join(err1, err2, err3)
}

func (p *tcpProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, out := p.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if p.tls == nil || p.upgrade {
		return p.session(c)
	}
	if out := sendProxyHeader(c, p.proxyVersion, p.To); out.Reason != "" {
		return out
	}
	s, expiry, out := startTLS(c, p.tls)
	if s != nil {
		if _, out = p.dialogue(s, outcome.PhaseTLS); out.Reason == outcome.OK {
			out = endTLS(c, s, out)
		}
	}
	out.CertExpiry = expiry
	return out
}

// dialogue runs the steps in order.
func (p *tcpProbe) dialogue(rw io.ReadWriter, phase string) (dialogueState, outcome.Outcome) {
	d := dialogueState{rw: rw, limit: p.limit}
	out := outcome.NewOutcome(outcome.OK, phase, "")
	if len(p.steps) == 0 {
		return d, out
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	d.buf = *buf
	for i := range p.steps {
		if out = d.step(&p.steps[i], p.tls, out); out.Reason != outcome.OK {
			return d, p.atStep(i, out)
		}
	}
	return d, out
}

// atStep adds which of several steps failed.
func (p *tcpProbe) atStep(step int, out outcome.Outcome) outcome.Outcome {
	if len(p.steps) > 1 {
		out.Detail = outcome.Printable("step "+strconv.Itoa(step+1)+": "+out.Detail, outcome.MaxDetail)
	}
	return out
}

// dialogueState holds the connection, and what was received and not yet consumed by a
// step.
type dialogueState struct {
	rw     io.ReadWriter
	secure net.Conn  // rw, once a step started TLS; nil before
	expiry time.Time // of its certificate
	limit  int       // of got
	got    []byte
	buf    []byte
}

// step runs one step. out is the outcome of the one before it.
func (d *dialogueState) step(s *exchange, settings *tls.Config, out outcome.Outcome) outcome.Outcome {
	if s.startTLS {
		return d.startTLS(settings)
	}
	if len(s.send) > 0 {
		d.got = d.got[:0] // the answer cannot have arrived before
		if _, err := d.rw.Write(s.message()); err != nil {
			return outcome.FromError(outcome.PhaseSend, err, "")
		}
		out = outcome.NewOutcome(outcome.OK, outcome.PhaseSend, out.Detail)
	}
	if s.expect.wanted() {
		return d.receive(&s.expect)
	}
	return out
}

// startTLS starts TLS. What arrived before it is discarded: it must not be taken for a
// reply in TLS (RFC 3207 §5).
func (d *dialogueState) startTLS(settings *tls.Config) (out outcome.Outcome) {
	// rw is a net.Conn: the loop makes no probe with such a step.
	if d.secure, d.expiry, out = startTLS(d.rw.(net.Conn), settings); d.secure == nil {
		return out
	}
	d.rw, d.got = d.secure, nil
	return outcome.NewOutcome(outcome.OK, outcome.PhaseTLS, "")
}

// receive reads until the expected bytes arrived. Each piece is searched as it arrives: the
// server of a dialogue does not close.
func (d *dialogueState) receive(expect *expectation) outcome.Outcome {
	fresh := len(d.got) > 0 // the server may have sent more than one step expects
	for {
		if fresh {
			if expect.refuses(d.got) {
				return outcome.NewOutcome(outcome.Body, outcome.PhaseReceive, outcome.Quote(d.got))
			}
			if at := expect.find(d.got); at >= 0 {
				out := outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, outcome.Quote(d.got))
				d.got = d.got[at:]
				return out
			}
			if expect.refuse != nil && expect.refuse.Match(d.got) {
				return outcome.NewOutcome(outcome.Status, outcome.PhaseReceive, outcome.Quote(d.got))
			}
		}
		if len(d.got) >= d.limit {
			return outcome.NewOutcome(outcome.Body, outcome.PhaseReceive,
				fmt.Sprintf("not in the first %d bytes (read_limit): ", d.limit)+outcome.Printable(string(d.got), outcome.MaxDetail-80))
		}
		n, err := d.rw.Read(d.buf)
		d.got = append(d.got, d.buf[:min(n, d.limit-len(d.got))]...)
		fresh = n > 0
		if err == nil || n > 0 { // an error comes again
			continue
		}
		switch reason := outcome.ReasonOf(err); {
		case len(d.got) == 0:
			return outcome.FromError(outcome.PhaseReceive, err, "")
		case reason == outcome.Closed, reason == outcome.Timeout && bytes.HasSuffix(d.got, []byte("\n")):
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
