package probe

import (
	"bytes"
	"context"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"time"
)

// agentProbe reads one line from the server's agent, which then closes the connection. What
// it reports about weight and maintenance is valid until it reports something else.
type agentProbe struct {
	netpoll.Dialer
	send   []byte              // what the agent reads first; none: nothing
	report outcome.AgentReport // probes of one prober never overlap
}

// agentLimit bounds the line, in bytes.
const agentLimit = 1 << 10

func newAgentProbe(c *Check) Prober {
	return &agentProbe{newDialer(c), []byte(c.Send), outcome.NoReport}
}

func (p *agentProbe) ResumeReport(s outcome.AgentReport) { p.report = s }

func (p *agentProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, out := p.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if len(p.send) > 0 {
		if _, err := c.Write(p.send); err != nil {
			return outcome.FromError(outcome.PhaseSend, err, "")
		}
	}
	buf := make([]byte, agentLimit)
	got := 0
	for {
		n, err := c.Read(buf[got:])
		got += n
		if at := bytes.IndexAny(buf[:got], "\r\n"); at >= 0 {
			return p.parseLine(buf[:at])
		}
		switch {
		case err != nil && got > 0 && outcome.ReasonOf(err) == outcome.Closed:
			return p.parseLine(buf[:got])
		case err != nil && got > 0:
			return outcome.FromError(outcome.PhaseReceive, err, outcome.Quote(buf[:got]))
		case err != nil:
			return outcome.FromError(outcome.PhaseReceive, err, "")
		case got == len(buf):
			return outcome.NewOutcome(outcome.Protocol, outcome.PhaseReceive, "no line: "+outcome.Quote(buf))
		}
	}
}

func (p *agentProbe) parseLine(line []byte) outcome.Outcome {
	s := p.report
	if !s.Apply(string(line)) {
		return outcome.NewOutcome(outcome.Protocol, outcome.PhaseReceive, "not an agent's response: "+outcome.Quote(line))
	}
	p.report = s
	out := outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, outcome.Quote(line))
	if s.Down {
		out.Reason = outcome.Agent
	}
	out.Report = &s
	return out
}
