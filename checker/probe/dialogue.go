package probe

import (
	"context"
	"crypto/tls"
	"io"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/dialogue"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// newDialogueProbe returns the prober of a built-in dialogue: a tcp check of its steps, or
// a session of its own.
func newDialogueProbe(c *Check, common *Shared) (Prober, error) {
	to := netpoll.UnmappedWithZone(c.Address)
	var s dialogue.Settings
	if c.Dialogue != nil {
		s = *c.Dialogue
	}
	s.Address, s.TLS = netip.AddrPortFrom(to.Addr().WithZone(""), to.Port()), c.TLS != nil
	s.Expect, s.ExpectNot = c.Expect, c.ExpectNot
	if c.Type == TypeRadius {
		question, err := dialogue.NewRadius(s)
		return &radiusProbe{newDialer(c), question}, err
	}
	mode := dialogue.Mode(c.Type)
	with := *c
	with.FIN = true // PostgreSQL, Kamailio and others log a reset as an error
	if mode == dialogue.TLSAlways && c.TLS == nil {
		with.TLS = &TLSConfig{Verify: true}
	}
	session, err := dialogue.NewSession(c.Type, s)
	if err != nil {
		return nil, err
	}
	if session != nil {
		p := &sessionProbe{Dialer: newDialer(&with), session: session, tlsFirst: mode == dialogue.TLSAlways, proxyVersion: c.ProxyProtocol}
		if err := checkProxyVersion(c.ProxyProtocol); err != nil {
			return nil, err
		}
		if with.TLS != nil {
			p.tls, err = common.tlsConfig(&with, "")
		}
		return p, err
	}
	steps, err := dialogue.Script(c.Type, s)
	if err != nil {
		return nil, err
	}
	if c.Type == TypeSIP && !c.DNSTCP && c.TLS == nil {
		made, err := common.exchange(stepOf(dialogue.SIPDatagram(s)))
		return &udpProbe{Dialer: newDialer(c), exchange: made, reply: true}, err
	}
	with.Steps, with.ReadLimit = nil, 0
	for _, step := range steps {
		with.Steps = append(with.Steps, stepOf(step))
	}
	return newTCPProbe(&with, common)
}

func stepOf(s dialogue.Step) Step {
	return Step{Send: s.Send, Expect: s.Expect, ExpectNot: s.Not, Refuse: s.Refuse, Fresh: s.Fresh, StartTLS: s.StartTLS}
}

// sessionProbe makes a dialogue that computes what it sends.
type sessionProbe struct {
	netpoll.Dialer
	tls          *tls.Config // nil: none
	tlsFirst     bool        // from the first byte; else the session asks for it
	proxyVersion string      // of the PROXY protocol; "": none
	session      dialogue.Session
}

func (p *sessionProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, out := p.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if out := sendProxyHeader(c, p.proxyVersion, p.To); out.Reason != "" {
		return out
	}
	d := &dialogue.Conn{ReadWriter: c}
	var expiry time.Time
	var secure net.Conn
	d.Upgrade = func() (io.ReadWriter, outcome.Outcome) {
		s, ends, out := startTLSLate(c, p.tls)
		expiry = ends
		if s == nil {
			return nil, out
		}
		secure = s
		return s, out
	}
	if p.tlsFirst {
		out = d.StartTLS()
	}
	if out.Reason == "" {
		out = p.session.Run(d)
	}
	switch {
	case d.Secure && out.Reason == outcome.OK:
		out = endTLS(c, secure, out)
	case d.Secure && out.Phase == outcome.PhaseTLS: // the certificate is invalid, and the server's tickets are unread
		endTLS(c, secure, outcome.Outcome{Phase: outcome.PhaseReceive})
	case d.Bye:
		c.AwaitClose()
	}
	out.CertExpiry = expiry
	return out
}

// radiusProbe asks a RADIUS server. Replies without the right signature are skipped.
type radiusProbe struct {
	netpoll.Dialer
	question *dialogue.Radius
}

func (p *radiusProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, out := p.ConnectDatagram(ctx, deadline, unix.SOCK_DGRAM, 0)
	if c == nil {
		return out
	}
	defer c.Close()
	request := p.question.Request()
	if err := c.SendDatagram(request); err != nil {
		return outcome.FromError(outcome.PhaseSend, err, "")
	}
	buf := datagramBuffers.Get().(*[]byte)
	defer datagramBuffers.Put(buf)
	skipped := ""
	for {
		n, err := c.Read(*buf)
		if err != nil && err != io.EOF { // io.EOF is an empty datagram
			out := outcome.FromError(outcome.PhaseReceive, err, skipped)
			if out.Reason == outcome.Timeout && skipped != "" {
				out.Reason = outcome.Protocol
			}
			return out
		}
		if out, ok := p.question.Evaluate(request, (*buf)[:n]); ok {
			return out
		}
		skipped = outcome.Printable("a reply without a valid signature: "+outcome.Quote((*buf)[:n]), outcome.MaxDetail)
	}
}
