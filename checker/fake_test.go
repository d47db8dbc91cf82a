package checker

import (
	"context"
	"fmt"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// fakeNet is a network behind the engine: the response of each address, and when it was
// probed.
type fakeNet struct {
	mu      sync.Mutex
	answer  map[netip.AddrPort]func(context.Context, time.Time) outcome.Outcome
	asked   map[netip.AddrPort][]time.Time
	running map[netip.AddrPort]int
	overlap bool
}

type fakeProber struct {
	n  *fakeNet
	to netip.AddrPort
}

func newFakeNet() *fakeNet {
	return &fakeNet{answer: map[netip.AddrPort]func(context.Context, time.Time) outcome.Outcome{},
		asked: map[netip.AddrPort][]time.Time{}, running: map[netip.AddrPort]int{}}
}

func (n *fakeNet) prepare(c *probe.Check, _ *probe.Shared) (probe.Prober, error) {
	if c.Host == "bad" {
		return nil, fmt.Errorf("bad host")
	}
	return &fakeProber{n, c.Address}, nil
}

func (p *fakeProber) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	p.n.mu.Lock()
	p.n.asked[p.to] = append(p.n.asked[p.to], time.Now())
	p.n.overlap = p.n.overlap || p.n.running[p.to] > 0
	p.n.running[p.to]++
	answer := p.n.answer[p.to]
	p.n.mu.Unlock()
	defer func() {
		p.n.mu.Lock()
		p.n.running[p.to]--
		p.n.mu.Unlock()
	}()
	if answer == nil {
		return outcome.NewOutcome(outcome.OK, outcome.PhaseConnect, "")
	}
	return answer(ctx, deadline)
}

// set makes a server answer at once, with one reason.
func (n *fakeNet) set(to netip.AddrPort, reason outcome.Reason) {
	n.script(to, func(context.Context, time.Time) outcome.Outcome {
		return outcome.NewOutcome(reason, outcome.PhaseConnect, string(reason)+" it is")
	})
}

// hang makes a server never answer.
func (n *fakeNet) hang(to netip.AddrPort) {
	n.script(to, func(ctx context.Context, deadline time.Time) outcome.Outcome {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		return outcome.NewOutcome(outcome.Timeout, outcome.PhaseReceive, "no answer")
	})
}

func (n *fakeNet) script(to netip.AddrPort, f func(context.Context, time.Time) outcome.Outcome) {
	n.mu.Lock()
	n.answer[to] = f
	n.mu.Unlock()
}

func (n *fakeNet) times(to netip.AddrPort) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.asked[to])
}

func (p *fakeProber) ResumeReport(outcome.AgentReport) {}

// setReport makes a server respond with a report about its weight.
func (n *fakeNet) setReport(to netip.AddrPort, s outcome.AgentReport) {
	n.script(to, func(context.Context, time.Time) outcome.Outcome {
		out := outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, "")
		out.Report = &s
		return out
	})
}
