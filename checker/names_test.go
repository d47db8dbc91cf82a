package checker

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// directory is a name service of tests.
type directory struct {
	mu    sync.Mutex
	has   map[string][]netip.Addr
	down  bool
	slow  time.Duration
	asked int
}

func (d *directory) look(ctx context.Context, host string) ([]netip.Addr, error) {
	t := time.NewTimer(d.slow)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d.mu.Lock() // not before: time stands still while somebody waits for a lock
	defer d.mu.Unlock()
	d.asked++
	if d.down || d.has[host] == nil {
		return nil, errors.New("no such host")
	}
	return d.has[host], nil
}

func (d *directory) change(f func()) {
	d.mu.Lock()
	f()
	d.mu.Unlock()
}

// A name's probes go to its address; the old answer holds while nobody answers;
// a new one is followed; a name that never had an address says nothing.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d := &directory{has: map[string][]netip.Addr{"web": {addr(1).Addr(), addr(2).Addr()}}, slow: 300 * time.Millisecond}
		r.resolver.lookupFunc = d.look
		r.Engine.newProber_ = func(c *Check, common *Shared) (Prober, error) {
			return &fakeNamed{c.HostName, common.Resolver, &fakeProber{r.net, c.Address}}, nil
		}
		of := func(i int, host string) Target {
			x := one(i)
			x.Checks[0].HostName = host
			x.Checks[0].Address = netip.AddrPortFrom(netip.Addr{}, 80)
			return x
		}
		unknown := of(2, "nowhere")
		unknown.Known = true
		r.set(t, of(1, "web"), unknown)
		r.start(t)
		wait(time.Second)
		if h := r.Health()[id(1)]; h.Verdict != Up {
			t.Errorf("the first probe did not wait for the first answer: %+v", h)
		}
		if h := r.Health()[id(2)]; h.Verdict != Unknown || h.Checks[0].Last.Reason != DNS || h.InARow != 0 {
			t.Errorf("a name without an address: %+v", h)
		}
		d.change(func() { d.down = true })
		wait(5 * time.Minute)
		if h := r.Health()[id(1)]; h.Verdict != Up || h.Checks[0].Last.Reason != OK {
			t.Errorf("the old answer does not hold: %+v", h)
		}
		d.change(func() { d.down, d.has["web"] = false, []netip.Addr{addr(2).Addr()} })
		r.net.set(addr(2), Refused)
		wait(time.Minute)
		if h := r.Health()[id(1)]; h.Verdict != Down {
			t.Errorf("the new answer is not followed: %+v", h)
		}
		// What nobody wants is not asked for.
		r.set(t, one(3))
		wait(time.Minute)
		before := 0
		d.change(func() { before = d.asked })
		wait(10 * time.Minute)
		d.change(func() {
			if d.asked != before {
				t.Errorf("asked %d times for names that nobody wants", d.asked-before)
			}
		})
		r.stop()
	})
}

// fakeNamed probes what a name stands for over the fake network.
type fakeNamed struct {
	host  string
	names *Resolver
	plain *fakeProber
}

func (p *fakeNamed) Probe(ctx context.Context, deadline time.Time) Outcome {
	if p.host == "" {
		return p.plain.Probe(ctx, deadline)
	}
	all, err := p.names.Addresses(ctx, p.host, deadline)
	if err != nil {
		return NewOutcome(DNS, PhaseName, err.Error())
	}
	return (&fakeProber{p.plain.n, netip.AddrPortFrom(all[0], 80)}).Probe(ctx, deadline)
}

func TestNamedProbe(t *testing.T) {
	open := server(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	common := NewShared()
	d := &directory{has: map[string][]netip.Addr{"web": {netip.MustParseAddr("::1"), open.Addr()}}}
	common.Resolver.lookupFunc = d.look
	common.Resolver.SetHosts(map[string]struct{}{"web": {}, "nowhere": {}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { common.Resolver.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	probe := func(c Check) Outcome {
		c.Type = TypeConnect
		p, err := NewProber(&c, common)
		if err != nil {
			t.Fatal(err)
		}
		return p.Probe(ctx, time.Now().Add(patience))
	}
	port := netip.AddrPortFrom(netip.Addr{}, open.Port())
	// The source address says which family it is.
	want(t, probe(Check{HostName: "web", Address: port, From: open.Addr()}), OK, PhaseConnect, "")
	want(t, probe(Check{HostName: "web", Address: port}), Refused, PhaseConnect, "")
	want(t, probe(Check{HostName: "nowhere", Address: port}), DNS, PhaseName, "nowhere: no such host")
	if _, err := NewProber(&Check{Type: TypeHTTP, HostName: "web", Address: port, BodyExpect: "("}, common); err == nil {
		t.Error("a mistake of a check by name is not seen")
	}
}
