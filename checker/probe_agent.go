// This file is the probe of type "agent": a connection on which the server's agent
// says one line and closes. What it says about weight and maintenance holds until
// it says otherwise.

package checker

import (
	"bytes"
	"context"
	"time"
)

type agentProbe struct {
	dialer
	said said // probes of one prober never overlap
}

// agentLimit bounds the line, in bytes.
const agentLimit = 1 << 10

func newAgentProbe(c *Check) prober { return &agentProbe{newDialer(c), nothingSaid} }

func (p *agentProbe) resume(s said) { p.said = s }

func (p *agentProbe) probe(ctx context.Context, deadline time.Time) outcome {
	c, out := p.open(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	buf := make([]byte, agentLimit)
	got := 0
	for {
		n, err := c.Read(buf[got:])
		got += n
		if at := bytes.IndexAny(buf[:got], "\r\n"); at >= 0 {
			return p.hear(buf[:at])
		}
		switch {
		case err != nil && got > 0 && reasonOf(err) == Closed:
			return p.hear(buf[:got])
		case err != nil && got > 0:
			return failed(PhaseReceive, err, quoted(buf[:got]))
		case err != nil:
			return failed(PhaseReceive, err, "")
		case got == len(buf):
			return end(Protocol, PhaseReceive, "no line: "+quoted(buf))
		}
	}
}

func (p *agentProbe) hear(line []byte) outcome {
	s := p.said
	if !s.hear(string(line)) {
		return end(Protocol, PhaseReceive, "no word of an agent: "+quoted(line))
	}
	p.said = s
	out := end(OK, PhaseReceive, quoted(line))
	if s.down {
		out.reason = Agent
	}
	out.said = &s
	return out
}
