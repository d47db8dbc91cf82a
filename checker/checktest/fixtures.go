package checktest

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Directory is a name service of tests.
type Directory struct {
	mu      sync.Mutex
	Hosts   map[string][]netip.Addr
	Down    bool
	Delay   time.Duration
	Lookups int
	TTL     time.Duration
}

func (d *Directory) Lookup(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	t := time.NewTimer(d.Delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	d.mu.Lock() // not before: time stands still while a goroutine waits for a lock
	defer d.mu.Unlock()
	d.Lookups++
	if d.Down || d.Hosts[host] == nil {
		return nil, 0, errors.New("no such host")
	}
	return d.Hosts[host], d.TTL, nil
}

func (d *Directory) Change(f func()) {
	d.mu.Lock()
	f()
	d.mu.Unlock()
}

// Addr returns a distinct address for each i.
func Addr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)
}
