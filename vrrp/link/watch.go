// This file tells that something about an interface or its addresses changed. It
// never says what: whoever is told looks again.

package link

import (
	"context"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	// watchBuffer holds a burst of netlink messages, in octets.
	watchBuffer = 256 << 10
	// resubscribeAfter is the wait after a subscription ended, by an overrun say.
	resubscribeAfter = 500 * time.Millisecond
)

// Watch calls changed after everything that may concern the interface, or may
// have been missed, until ctx ends. changed must not block. Who needs certainty
// looks from time to time besides.
func (p *Port) Watch(ctx context.Context, changed func()) {
	for ctx.Err() == nil {
		p.subscribe(ctx, changed)
		select {
		case <-ctx.Done():
		case <-time.After(resubscribeAfter):
		}
		changed() // whatever happened in between
	}
}

// subscribe follows both kinds of messages until one of them ends.
func (p *Port) subscribe(ctx context.Context, changed func()) {
	done := make(chan struct{})
	links, addrs := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate)
	linksOpen := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ReceiveBufferSize: watchBuffer}) == nil
	addrsOpen := netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ReceiveBufferSize: watchBuffer}) == nil
	// Nobody but this loop reads the channels, and their writers block: they are
	// drained until closed, or the writers would stay for ever.
	defer func() {
		close(done)
		for linksOpen {
			_, linksOpen = <-links
		}
		for addrsOpen {
			_, addrsOpen = <-addrs
		}
	}()
	if !linksOpen || !addrsOpen {
		return
	}
	changed() // it may have changed before the subscription
	var index int32
	for {
		select {
		case <-ctx.Done():
			return
		case u, ok := <-links:
			if !ok {
				linksOpen = false
				return
			}
			if u.Link.Attrs().Name == p.name {
				index = u.Index
			} else if u.Index != index && !p.isStation(int(u.Index)) {
				continue
			}
			changed()
		case u, ok := <-addrs:
			if !ok {
				addrsOpen = false
				return
			}
			if index == 0 || int32(u.LinkIndex) == index || p.isStation(u.LinkIndex) {
				changed()
			}
		}
	}
}

// isStation reports whether the index is our macvlan's.
func (p *Port) isStation(index int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stationIndex == index
}
