package resolver

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

const (
	// A name is looked up again when its time to live has passed, within these bounds, or
	// after refreshInterval where it is not known, as of names in /etc/hosts.
	refreshInterval = 30 * time.Second
	minRefresh      = 5 * time.Second
	maxRefresh      = 5 * time.Minute
	retryInterval   = 5 * time.Second // after a failed lookup
	lookupTimeout   = 5 * time.Second
	maxLookups      = 8 // concurrent
)

// Resolver looks up a set of host names.
type Resolver struct {
	// LookupFunc returns the addresses of a name and their time to live, 0 if that is not
	// known.
	LookupFunc func(ctx context.Context, host string) ([]netip.Addr, time.Duration, error)
	wake       chan struct{}

	mu      sync.Mutex
	entries map[string]*resolverEntry
}

// resolverEntry is one host name.
type resolverEntry struct {
	addresses []netip.Addr // of the last successful lookup; empty: none yet
	err       error        // of the last lookup
	due       time.Time
	pending   bool
	resolved  chan struct{} // closed after the first lookup
}

// NewResolver returns a resolver without names.
func NewResolver() *Resolver {
	return &Resolver{
		LookupFunc: systemLookup,
		wake:       make(chan struct{}, 1),
		entries:    map[string]*resolverEntry{},
	}
}

// SetHosts replaces the set of names. Names that stay keep their addresses.
func (n *Resolver) SetHosts(hosts map[string]struct{}) {
	n.mu.Lock()
	for host := range n.entries {
		if _, still := hosts[host]; !still {
			delete(n.entries, host)
		}
	}
	for host := range hosts {
		if n.entries[host] == nil {
			n.entries[host] = &resolverEntry{resolved: make(chan struct{})}
		}
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Run looks names up until ctx ends.
func (n *Resolver) Run(ctx context.Context) {
	var looking sync.WaitGroup
	defer looking.Wait()
	places := make(chan struct{}, maxLookups)
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
		case <-n.wake:
		case <-timer.C:
		}
	}
}

// due returns the names to look up now, and the time until the next one is due.
func (n *Resolver) due(now time.Time) (hosts []string, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wait = time.Hour
	for host, one := range n.entries {
		switch ahead := one.due.Sub(now); {
		case one.pending:
		case ahead <= 0:
			one.pending = true
			hosts = append(hosts, host)
		default:
			wait = min(wait, ahead)
		}
	}
	return hosts, wait
}

// Lookup looks a name up once, within lookupTimeout. The result is not cached.
func (n *Resolver) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses, _, err := n.lookupOnce(ctx, host)
	return addresses, err
}

func (n *Resolver) lookupOnce(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	limited, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addresses, ttl, err := n.LookupFunc(limited, host)
	if err == nil && len(addresses) == 0 {
		err = errors.New("no addresses")
	}
	return addresses, ttl, err
}

// refreshAfter is when a name with a time to live is looked up again.
func refreshAfter(ttl time.Duration) time.Duration {
	if ttl == 0 {
		return refreshInterval
	}
	return min(max(ttl, minRefresh), maxRefresh)
}

// lookup looks up one of the names and caches the result.
func (n *Resolver) lookup(ctx context.Context, host string) {
	addresses, ttl, err := n.lookupOnce(ctx, host)
	if ctx.Err() != nil {
		return
	}
	n.mu.Lock()
	if one := n.entries[host]; one != nil && one.pending {
		one.pending, one.err = false, err
		one.due = time.Now().Add(retryInterval)
		if err == nil {
			one.addresses, one.due = addresses, time.Now().Add(refreshAfter(ttl))
		}
		select {
		case <-one.resolved:
		default:
			close(one.resolved)
		}
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}: // the next due time changed
	default:
	}
}

// Addresses returns the cached addresses of a name, or the error of the last lookup. It
// waits, until the deadline, only for the first lookup of a name.
func (n *Resolver) Addresses(ctx context.Context, host string, deadline time.Time) ([]netip.Addr, error) {
	n.mu.Lock()
	one := n.entries[host]
	n.mu.Unlock()
	if one == nil {
		return nil, errors.New("no longer resolved")
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-one.resolved:
	case <-timer.C:
		return nil, errors.New("no reply from a name server yet")
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

// Cached returns the cached addresses of a name, nil if there are none.
func (n *Resolver) Cached(host string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if one := n.entries[host]; one != nil {
		return one.addresses
	}
	return nil
}
