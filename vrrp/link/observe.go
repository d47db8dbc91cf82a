// This file watches interfaces that an election only heeds. It never changes one.

package link

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// observeInterval is how often it looks even if nothing was told.
const observeInterval = 5 * time.Second

// Observe tells whether the interface of that name is up and carries packets: at
// once, and after every change, until ctx ends. One that is missing is down.
func Observe(ctx context.Context, name string, tell func(up bool)) {
	h, err := openCache()
	if err != nil {
		return // no netlink, and so no election
	}
	defer h.close()
	c := h.subscribe(name)
	defer h.unsubscribe(c)
	changed := make(chan struct{}, 1)
	var look sync.WaitGroup
	defer look.Wait()
	look.Go(func() {
		ticker := time.NewTicker(observeInterval)
		defer ticker.Stop()
		known, last := false, false
		for {
			if up, ok := hasCarrier(h, name); ok && (!known || up != last) {
				known, last = true, up
				tell(up)
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			case <-ticker.C:
			}
		}
	})
	h.watch(ctx, c, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
}

// hasCarrier looks at an interface; ok is false when the kernel did not say.
func hasCarrier(h *addrCache, name string) (up, ok bool) {
	l, err := h.linkByName(name)
	if isMissing(err) {
		return false, true
	}
	if err != nil {
		return false, false
	}
	const carrying = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	return l.Attrs().RawFlags&carrying == carrying, true
}
