// This file is the probe of type "tcp": something is sent, something is expected.
// Both may be left out: then the banner is read, or nothing is.

package checker

import (
	"context"
	"regexp"
	"time"
)

// tcpAnswerLimit bounds what is read of an answer, in bytes.
const tcpAnswerLimit = 16 << 10

type tcpProbe struct {
	dialer
	send   []byte
	expect *regexp.Regexp // nil: nothing
}

func (p *tcpProbe) probe(ctx context.Context, deadline time.Time) outcome {
	c, out := p.open(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	phase := PhaseConnect
	if len(p.send) > 0 {
		phase = PhaseSend
		if _, err := c.Write(p.send); err != nil {
			return failed(phase, err, "")
		}
	}
	if p.expect == nil {
		return outcome{reason: OK, phase: phase}
	}
	return p.receive(c)
}

// receive reads until what is expected came. Each piece is looked at as it comes:
// a dialogue's server does not close.
func (p *tcpProbe) receive(c *conn) outcome {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var got []byte
	for {
		n, err := c.Read(*buf)
		got = append(got, (*buf)[:min(n, tcpAnswerLimit-len(got))]...)
		if n > 0 && p.expect.Match(got) {
			return outcome{OK, PhaseReceive, quoted(got)}
		}
		switch {
		case err != nil && len(got) == 0:
			return failed(PhaseReceive, err, "")
		case err != nil && reasonOf(err) == Closed:
			return outcome{Body, PhaseReceive, quoted(got)} // the answer is complete, and another
		case err != nil:
			return failed(PhaseReceive, err, quoted(got))
		case len(got) == tcpAnswerLimit:
			return outcome{Body, PhaseReceive, quoted(got)}
		}
	}
}
