// State changes of tracked interfaces.

package link

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// observeInterval is how often the interface is checked without a notification.
const observeInterval = 5 * time.Second

// Observe calls report with whether the interface is up and has a carrier, at
// once and after every change, until ctx ends. A missing interface is down.
func Observe(ctx context.Context, name string, report func(up bool)) {
	h, err := openCache()
	if err != nil {
		return // without netlink there is no instance either
	}
	defer h.close()
	c := h.subscribe(name)
	defer h.unsubscribe(c)
	changed := make(chan struct{}, 1)
	var observing sync.WaitGroup
	defer observing.Wait()
	observing.Go(func() {
		ticker := time.NewTicker(observeInterval)
		defer ticker.Stop()
		known, last := false, false
		for {
			if up, ok := hasCarrier(h, name); ok && (!known || up != last) {
				known, last = true, up
				report(up)
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

// hasCarrier returns the state of an interface; ok is false if it could not be
// read.
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
