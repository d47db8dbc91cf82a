// Addresses on several interfaces: a Port for each, used as one.

package link

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
)

// Ports is the Port of an instance, and one for each other interface that has some of
// its addresses. Those have the interface's own MAC address.
type Ports struct {
	*Port

	mu     sync.Mutex
	on     map[netip.Addr]string // interfaces of the addresses that are not on the Port's
	others map[string]*Port
	watch  func(*Port) // watches a port that is opened later; nil: Watch was not called

	was map[netip.Addr]string // where SetAddresses put them last
}

// OpenPorts is Open for an instance with addresses on other interfaces: see SetInterfaces.
func OpenPorts(name string, family Family, router Router, on map[netip.Addr]string) (*Ports, error) {
	first, err := Open(name, family, router)
	if err != nil {
		return nil, err
	}
	p := &Ports{Port: first, others: map[string]*Port{}, was: map[netip.Addr]string{}}
	p.SetInterfaces(on)
	if _, err := p.all(); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// SetInterfaces sets the interfaces of the addresses that are not on the first Port's. It does
// not block; SetAddresses then moves the addresses.
func (p *Ports) SetInterfaces(on map[netip.Addr]string) {
	p.mu.Lock()
	p.on = maps.Clone(on)
	p.mu.Unlock()
}

// all returns the Ports in use, the first one first. It opens those that are missing.
func (p *Ports) all() (ports []*Port, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range p.on {
		if name == p.name || p.others[name] != nil {
			continue
		}
		q, err := Open(name, p.family, Router{})
		if err != nil {
			return nil, err
		}
		if p.others[name] = q; p.watch != nil {
			p.watch(q)
		}
	}
	ports = append(ports, p.Port)
	for _, name := range slices.Sorted(maps.Keys(p.others)) {
		ports = append(ports, p.others[name])
	}
	return ports, nil
}

// of returns those of the addresses that belong on a Port.
func (p *Ports) of(q *Port, addrs []netip.Prefix) []netip.Prefix {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.on) == 0 && q == p.Port {
		return addrs
	}
	var out []netip.Prefix
	for _, a := range addrs {
		if p.interfaceOf(a.Addr()) == q.name {
			out = append(out, a)
		}
	}
	return out
}

// interfaceOf returns where an address belongs. p.mu must be held.
func (p *Ports) interfaceOf(a netip.Addr) string {
	if name := p.on[a]; name != "" {
		return name
	}
	return p.name
}

// State is that of the first Port with the addresses of all. Missing names another
// interface that does not exist.
func (p *Ports) State(ours []netip.Prefix, source netip.Addr, owner bool) (State, error) {
	ports, err := p.all()
	if err != nil {
		return State{}, err
	}
	s, err := p.Port.State(p.of(p.Port, ours), source, owner)
	for _, q := range ports[1:] {
		there := p.of(q, ours)
		if err != nil || len(there) == 0 {
			continue
		}
		var more State
		more, err = q.State(there, netip.Addr{}, owner)
		if !more.Exists && err == nil {
			s.Missing = q.name
		}
		s.Present, s.Elsewhere = append(s.Present, more.Present...), append(s.Elsewhere, more.Elsewhere...)
	}
	if len(ports) > 1 {
		s.Present = slices.DeleteFunc(slices.Clone(ours), func(a netip.Prefix) bool { return !slices.Contains(s.Present, a) })
	}
	return s, err
}

// SetAddresses is that of each Port. An address that belongs elsewhere than before is
// removed where it was.
func (p *Ports) SetAddresses(ours, want []netip.Prefix, arpSilenced bool) (held, added []netip.Prefix, err error) {
	ports, err := p.all()
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	now := maps.Clone(p.was)
	for _, q := range ports {
		mine, here := p.of(q, ours), p.of(q, want)
		for _, a := range ours {
			if p.was[a.Addr()] == q.name && !slices.Contains(mine, a) {
				mine = append(slices.Clone(mine), a)
			}
		}
		if q != p.Port && len(mine) == 0 {
			continue
		}
		h, a, err := q.SetAddresses(mine, here, arpSilenced)
		for _, b := range h {
			if slices.Contains(here, b) {
				now[b.Addr()] = q.name
			}
		}
		held, added, errs = append(held, h...), append(added, a...), append(errs, err)
	}
	p.was = now
	return held, added, errors.Join(errs...)
}

// each calls do for each Port with those of the addresses that belong on it.
func (p *Ports) each(addrs []netip.Addr, do func(q *Port, addrs []netip.Addr) error) error {
	ports, err := p.all()
	errs := []error{err}
	for _, q := range ports {
		p.mu.Lock()
		mine := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return p.interfaceOf(a) != q.name })
		p.mu.Unlock()
		errs = append(errs, do(q, mine))
	}
	return errors.Join(errs...)
}

// Announce is that of each Port.
func (p *Ports) Announce(addrs []netip.Addr) (frames int, err error) {
	err = p.each(addrs, func(q *Port, mine []netip.Addr) error {
		if len(mine) == 0 {
			return nil
		}
		n, err := q.Announce(mine)
		frames += n
		return err
	})
	return frames, err
}

// Guard is that of each Port.
func (p *Ports) Guard(addrs []netip.Addr, found func(Sighting)) error {
	return p.each(addrs, func(q *Port, mine []netip.Addr) error { return q.Guard(mine, found) })
}

// Probe is that of each Port: source is of the first, and the others ask from a
// link-local address of their own.
func (p *Ports) Probe(addrs []netip.Addr, source netip.Addr) error {
	return p.each(addrs, func(q *Port, mine []netip.Addr) error {
		if len(mine) == 0 {
			return nil
		}
		from := source
		if q != p.Port && q.family == IPv6 {
			s, err := q.State(nil, netip.Addr{}, false)
			if err != nil {
				return err
			}
			from = s.Primary
		}
		return q.Probe(mine, from)
	})
}

// Watch is that of each Port.
func (p *Ports) Watch(ctx context.Context, changed func()) {
	var all sync.WaitGroup
	defer all.Wait()
	p.mu.Lock()
	p.watch = func(q *Port) { all.Go(func() { q.Watch(ctx, changed) }) }
	for _, q := range p.others {
		p.watch(q)
	}
	p.mu.Unlock()
	p.Port.Watch(ctx, changed)
	p.mu.Lock()
	p.watch = nil
	p.mu.Unlock()
}

// Close closes each Port.
func (p *Ports) Close() error {
	errs := []error{p.Port.Close()}
	for _, q := range p.others {
		errs = append(errs, q.Close())
	}
	return errors.Join(errs...)
}
