package probe

import (
	"context"
	"fmt"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/resolver"
	"lvsd/checker/trace"
	"net/netip"
	"slices"
	"time"
)

// namedProbe probes an address of a host name. It stays with an address for as long as
// the name has it.
type namedProbe struct {
	check    Check
	resolver *resolver.Resolver
	common   *Shared // its own: it makes probers while others are in use
	addr     netip.Addr
	current  Prober // for at
	report   *outcome.AgentReport
}

func newNamedProbe(c *Check, common *Shared) (Prober, error) {
	p := &namedProbe{check: *c, resolver: common.Resolver, common: NewShared()}
	// Validate the check now, with any address.
	_, err := p.prober(netip.IPv4Unspecified())
	return p, err
}

func (p *namedProbe) prober(a netip.Addr) (Prober, error) {
	c := p.check
	c.Address = netip.AddrPortFrom(a, c.Address.Port())
	return newAddressProber(&c, p.common)
}

func (p *namedProbe) ResumeReport(s outcome.AgentReport) { p.report = &s }

// LoopProbe returns that of the address, nil before the first successful lookup.
func (p *namedProbe) LoopProbe() *netpoll.LoopProbe {
	all := p.resolver.Cached(p.check.HostName)
	if len(all) == 0 {
		return nil
	}
	if out := p.choose(all); out.Reason != "" {
		return nil
	}
	if run, ok := p.current.(LoopProber); ok {
		return run.LoopProbe()
	}
	return nil
}

func (p *namedProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	all, err := p.resolver.Addresses(ctx, p.check.HostName, deadline)
	if err != nil {
		return outcome.NewOutcome(outcome.DNS, outcome.PhaseName, outcome.Printable(p.check.HostName+": "+err.Error(), outcome.MaxDetail))
	}
	trace.TracerOf(ctx).Note(outcome.PhaseName, "%s is %v", p.check.HostName, all)
	if out := p.choose(all); out.Reason != "" {
		return out
	}
	out := p.current.Probe(ctx, deadline)
	if out.Report != nil {
		p.report = out.Report
	}
	return out
}

// choose selects an address and makes its prober. The outcome is zero on success.
func (p *namedProbe) choose(all []netip.Addr) outcome.Outcome {
	first, err := firstOf(all, p.check.From)
	if err != nil {
		return outcome.NewOutcome(outcome.DNS, outcome.PhaseName, outcome.Printable(p.check.HostName+": "+err.Error(), outcome.MaxDetail))
	}
	if p.current != nil && slices.Contains(all, p.addr) {
		return outcome.Outcome{}
	}
	run, err := p.prober(first)
	if err != nil {
		return outcome.NewOutcome(outcome.Local, outcome.PhaseName, outcome.Printable(err.Error(), outcome.MaxDetail))
	}
	if r, ok := run.(ReportResumer); ok && p.report != nil {
		r.ResumeReport(*p.report)
	}
	p.addr, p.current = first, run
	return outcome.Outcome{}
}

// firstOf returns the first address of the family of a source address, if there is one.
func firstOf(all []netip.Addr, from netip.Addr) (netip.Addr, error) {
	for _, a := range all {
		if !from.IsValid() || a.Unmap().Is4() == from.Unmap().Is4() {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address of the family of %v", from)
}
