// This file looks names up in the background, so that no probe waits for a name
// server: it uses the answer that is there. While name servers fail, the old
// answer holds. It never probes.

package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// Answers are used for a while whatever their time to live says: the
	// system's resolver does not tell it.
	refreshInterval = 30 * time.Second
	retryInterval   = 5 * time.Second // after a failure
	lookupTimeout   = 5 * time.Second
	maxLookups      = 8 // at once
)

// Resolver is every name that checks want.
type Resolver struct {
	LookupFunc func(ctx context.Context, host string) ([]netip.Addr, error)
	wake       chan struct{}

	mu      sync.Mutex
	entries map[string]*resolverEntry
}

// resolverEntry is one of them.
type resolverEntry struct {
	addresses []netip.Addr // the last answer; empty: none yet
	err       error        // of the last lookup
	due       time.Time
	pending   bool
	resolved  chan struct{} // closed after the first lookup
}

func NewResolver() *Resolver {
	return &Resolver{
		LookupFunc: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		wake:    make(chan struct{}, 1),
		entries: map[string]*resolverEntry{},
	}
}

// SetHosts states all names that are wanted. Those that were wanted before keep their
// answers.
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

// due takes the names that are due, and says how long none will be.
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

func (n *Resolver) lookup(ctx context.Context, host string) {
	limited, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addresses, err := n.LookupFunc(limited, host)
	if ctx.Err() != nil {
		return
	}
	if err == nil && len(addresses) == 0 {
		err = errors.New("no addresses")
	}
	n.mu.Lock()
	if one := n.entries[host]; one != nil && one.pending {
		one.pending, one.err = false, err
		one.due = time.Now().Add(retryInterval)
		if err == nil {
			one.addresses, one.due = addresses, time.Now().Add(refreshInterval)
		}
		select {
		case <-one.resolved:
		default:
			close(one.resolved)
		}
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}: // there is another due time
	default:
	}
}

// Addresses is the answer of a name, or why there is none. Only where none was
// ever asked for it waits, until the deadline.
func (n *Resolver) Addresses(ctx context.Context, host string, deadline time.Time) ([]netip.Addr, error) {
	n.mu.Lock()
	one := n.entries[host]
	n.mu.Unlock()
	if one == nil {
		return nil, errors.New("it is not looked up any more")
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-one.resolved:
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

// Cached is the answer of a name that there is.
func (n *Resolver) Cached(host string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if one := n.entries[host]; one != nil {
		return one.addresses
	}
	return nil
}
