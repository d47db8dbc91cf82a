package checker

import (
	"context"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/checker/resolver"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// A name's probes go to its address; the old address is used while no name server
// replies; a new one is followed; a name that never had an address changes no state.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d := &checktest.Directory{Hosts: map[string][]netip.Addr{"web": {checktest.Addr(1).Addr(), checktest.Addr(2).Addr()}}, Delay: 300 * time.Millisecond}
		r.resolver.LookupFunc = d.Lookup
		r.Engine.newProber = func(c *probe.Check, common *probe.Shared) (probe.Prober, error) {
			return &fakeNamed{c.HostName, common.Resolver, &fakeProber{r.net, c.Address}}, nil
		}
		of := func(i int, host string) Target {
			x := one(i)
			x.Checks[0].HostName = host
			x.Checks[0].Address = netip.AddrPortFrom(netip.Addr{}, 80)
			return x
		}
		unknown := of(2, "nowhere")
		unknown.InKernel = true
		r.set(t, of(1, "web"), unknown)
		r.start(t)
		wait(time.Second)
		if h := r.Health()[id(1)]; h.State != Up {
			t.Errorf("the first probe did not wait for the first answer: %+v", h)
		}
		if h := r.Health()[id(2)]; h.State != Unknown || h.Checks[0].Last.Reason != outcome.DNS || h.InARow != 0 {
			t.Errorf("a name without an address: %+v", h)
		}
		d.Change(func() { d.Down = true })
		wait(5 * time.Minute)
		if h := r.Health()[id(1)]; h.State != Up || h.Checks[0].Last.Reason != outcome.OK {
			t.Errorf("the old answer does not hold: %+v", h)
		}
		d.Change(func() { d.Down, d.TTL, d.Hosts["web"] = false, 8*time.Second, []netip.Addr{checktest.Addr(2).Addr()} })
		r.net.set(checktest.Addr(2), outcome.Refused)
		wait(time.Minute)
		if h := r.Health()[id(1)]; h.State != Down {
			t.Errorf("the new answer is not followed: %+v", h)
		}
		// It is followed when its time to live has passed.
		d.Change(func() { d.Hosts["web"] = []netip.Addr{checktest.Addr(1).Addr()} })
		wait(16 * time.Second)
		if h := r.Health()[id(1)]; h.State != Up {
			t.Errorf("the answer is not followed after its time to live: %+v", h)
		}
		// A name that is not needed is not looked up.
		r.set(t, one(3))
		wait(time.Minute)
		before := 0
		d.Change(func() { before = d.Lookups })
		wait(10 * time.Minute)
		d.Change(func() {
			if d.Lookups != before {
				t.Errorf("asked %d times for names that are not needed", d.Lookups-before)
			}
		})
		r.stop()
	})
}

// fakeNamed probes the address of a name over the fake network.
type fakeNamed struct {
	host  string
	names *resolver.Resolver
	plain *fakeProber
}

func (p *fakeNamed) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	if p.host == "" {
		return p.plain.Probe(ctx, deadline)
	}
	all, err := p.names.Addresses(ctx, p.host, deadline)
	if err != nil {
		return outcome.NewOutcome(outcome.DNS, outcome.PhaseName, err.Error())
	}
	return (&fakeProber{p.plain.n, netip.AddrPortFrom(all[0], 80)}).Probe(ctx, deadline)
}
