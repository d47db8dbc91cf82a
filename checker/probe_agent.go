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
	Dialer
	report AgentReport // probes of one prober never overlap
}

// agentLimit bounds the line, in bytes.
const agentLimit = 1 << 10

func newAgentProbe(c *Check) Prober { return &agentProbe{newDialer(c), NoReport} }

func (p *agentProbe) ResumeReport(s AgentReport) { p.report = s }

func (p *agentProbe) Probe(ctx context.Context, deadline time.Time) Outcome {
	c, out := p.Connect(ctx, deadline)
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
			return p.parseLine(buf[:at])
		}
		switch {
		case err != nil && got > 0 && ReasonOf(err) == Closed:
			return p.parseLine(buf[:got])
		case err != nil && got > 0:
			return FromError(PhaseReceive, err, Quote(buf[:got]))
		case err != nil:
			return FromError(PhaseReceive, err, "")
		case got == len(buf):
			return NewOutcome(Protocol, PhaseReceive, "no line: "+Quote(buf))
		}
	}
}

func (p *agentProbe) parseLine(line []byte) Outcome {
	s := p.report
	if !s.Apply(string(line)) {
		return NewOutcome(Protocol, PhaseReceive, "no word of an agent: "+Quote(line))
	}
	p.report = s
	out := NewOutcome(OK, PhaseReceive, Quote(line))
	if s.Down {
		out.Reason = Agent
	}
	out.Report = &s
	return out
}
