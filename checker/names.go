// This file looks names up in the background, so that no probe waits for a name
// server: it uses the answer that is there. While name servers fail, the old
// answer holds. It never probes.

package checker

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// Answers are used for a while whatever their time to live says: the
	// system's resolver does not tell it.
	namePeriod  = 30 * time.Second
	nameAgain   = 5 * time.Second // after a failure
	nameTimeout = 5 * time.Second
	nameLookups = 8 // at once
)

// names is every name that checks want.
type names struct {
	look func(ctx context.Context, host string) ([]netip.Addr, error)
	kick chan struct{}

	mu  sync.Mutex
	all map[string]*name
}

// name is one of them.
type name struct {
	addresses []netip.Addr // the last answer; empty: none yet
	err       error        // of the last lookup
	due       time.Time
	looking   bool
	first     chan struct{} // closed after the first lookup
}

func newNames() *names {
	return &names{
		look: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		kick: make(chan struct{}, 1),
		all:  map[string]*name{},
	}
}

// want states all names that are wanted. Those that were wanted before keep their
// answers.
func (n *names) want(hosts map[string]struct{}) {
	n.mu.Lock()
	for host := range n.all {
		if _, still := hosts[host]; !still {
			delete(n.all, host)
		}
	}
	for host := range hosts {
		if n.all[host] == nil {
			n.all[host] = &name{first: make(chan struct{})}
		}
	}
	n.mu.Unlock()
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// run looks names up until ctx ends.
func (n *names) run(ctx context.Context) {
	var looking sync.WaitGroup
	defer looking.Wait()
	places := make(chan struct{}, nameLookups)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, wait := n.due(time.Now())
		for _, host := range due {
			looking.Go(func() {
				select {
				case places <- struct{}{}:
				case <-ctx.Done():
					return
				}
				n.lookup(ctx, host)
				<-places
			})
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-n.kick:
		case <-timer.C:
		}
	}
}

// due takes the names that are due, and says how long none will be.
func (n *names) due(now time.Time) (hosts []string, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wait = time.Hour
	for host, one := range n.all {
		switch ahead := one.due.Sub(now); {
		case one.looking:
		case ahead <= 0:
			one.looking = true
			hosts = append(hosts, host)
		default:
			wait = min(wait, ahead)
		}
	}
	return hosts, wait
}

func (n *names) lookup(ctx context.Context, host string) {
	limited, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	addresses, err := n.look(limited, host)
	if ctx.Err() != nil {
		return
	}
	if err == nil && len(addresses) == 0 {
		err = errors.New("no addresses")
	}
	n.mu.Lock()
	if one := n.all[host]; one != nil && one.looking {
		one.looking, one.err = false, err
		one.due = time.Now().Add(nameAgain)
		if err == nil {
			one.addresses, one.due = addresses, time.Now().Add(namePeriod)
		}
		select {
		case <-one.first:
		default:
			close(one.first)
		}
	}
	n.mu.Unlock()
	select {
	case n.kick <- struct{}{}: // there is another due time
	default:
	}
}

// addresses is the answer of a name, or why there is none. Only where none was
// ever asked for it waits, until the deadline.
func (n *names) addresses(ctx context.Context, host string, deadline time.Time) ([]netip.Addr, error) {
	n.mu.Lock()
	one := n.all[host]
	n.mu.Unlock()
	if one == nil {
		return nil, errors.New("it is not looked up any more")
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-one.first:
	case <-timer.C:
		return nil, errors.New("no answer of a name server yet")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(one.addresses) > 0 {
		return one.addresses, nil
	}
	return nil, one.err
}

// known is the answer of a name that there is.
func (n *names) known(host string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if one := n.all[host]; one != nil {
		return one.addresses
	}
	return nil
}

// namedProbe is a probe of what a name stands for. It stays with an address for as
// long as the name has it.
type namedProbe struct {
	check  Check
	names  *names
	common *shared // its own: it makes probers while others run
	at     netip.Addr
	run    prober // for at
	told   *said
}

func newNamedProbe(c *Check, common *shared) (prober, error) {
	p := &namedProbe{check: *c, names: common.names, common: newShared()}
	// What is wrong with the check shows now, with any address.
	_, err := p.prober(netip.IPv4Unspecified())
	return p, err
}

func (p *namedProbe) prober(a netip.Addr) (prober, error) {
	c := p.check
	c.Address = netip.AddrPortFrom(a, c.Address.Port())
	return newAddressProber(&c, p.common)
}

func (p *namedProbe) resume(s said) { p.told = &s }

// light is that of the address, where a name server answered before.
func (p *namedProbe) light() *light {
	all := p.names.known(p.check.HostName)
	if len(all) == 0 {
		return nil
	}
	if out := p.choose(all); out.reason != "" {
		return nil
	}
	if run, ok := p.run.(lighter); ok {
		return run.light()
	}
	return nil
}

func (p *namedProbe) probe(ctx context.Context, deadline time.Time) outcome {
	all, err := p.names.addresses(ctx, p.check.HostName, deadline)
	if err != nil {
		return end(DNS, PhaseName, printable(p.check.HostName+": "+err.Error(), detailLimit))
	}
	penOf(ctx).note(PhaseName, "%s is %v", p.check.HostName, all)
	if out := p.choose(all); out.reason != "" {
		return out
	}
	out := p.run.probe(ctx, deadline)
	if out.said != nil {
		p.told = out.said
	}
	return out
}

// choose makes a prober of one of the addresses.
func (p *namedProbe) choose(all []netip.Addr) outcome {
	if from := p.check.From.Unmap(); from.IsValid() {
		all = slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return a.Unmap().Is4() != from.Is4() })
	}
	if len(all) == 0 {
		return end(DNS, PhaseName, printable(p.check.HostName+": no address of the family of "+p.check.From.String(), detailLimit))
	}
	if p.run != nil && slices.Contains(all, p.at) {
		return outcome{}
	}
	run, err := p.prober(all[0])
	if err != nil {
		return end(Local, PhaseName, printable(err.Error(), detailLimit))
	}
	if r, ok := run.(resumer); ok && p.told != nil {
		r.resume(*p.told)
	}
	p.at, p.run = all[0], run
	return outcome{}
}
