// Telling the peer of connections now. The kernel's synchronisation tells of a
// connection after some packets and up to three seconds later, so a director that
// gives its addresses away tells the rest itself, in the kernel's own words: the
// peer's receiver takes them as its kernel's. It reads the list of connections and
// sends; it writes nothing in this kernel.

package connsync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"lvsd/ipvs"
)

const (
	// maxSent bounds a round: of a longer list the rest is left to the kernel.
	maxSent = 500_000
	// burst and pause keep the receiver's socket from overflowing.
	burst = 32
	pause = 2 * time.Millisecond
	// rememberFor is how long a handover lasts at most: after it all is told anew.
	rememberFor = time.Minute
)

// Sender tells the peer of connections. Its rounds are one after another.
type Sender struct {
	open func() (io.ReadCloser, error)
	dial func(ipvs.SyncConfig) (io.WriteCloser, error)

	mu    sync.Mutex
	told  map[ipvs.Connection]struct{} // in the last rounds; Expires is 0
	since time.Time
}

// NewSender makes one for a kernel's connections.
func NewSender(k ipvs.Kernel) *Sender { return &Sender{open: k.OpenConnections, dial: dial} }

// Send tells of those connections for which choose answers the way to the real
// server and true. What was told in the last minute, and is in the same state
// still, is not told again unless all is set. It answers how many it told.
func (t *Sender) Send(ctx context.Context, cfg ipvs.SyncConfig, all bool, choose func(ipvs.Connection) (ipvs.Forward, bool)) (n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if all || t.told == nil || time.Since(t.since) > rememberFor {
		t.told, t.since = map[ipvs.Connection]struct{}{}, time.Now()
	}
	list, err := t.open()
	if err != nil {
		return 0, fmt.Errorf("failed to open the list of connections: %w", err)
	}
	defer list.Close()
	out, err := t.dial(cfg)
	if err != nil {
		return 0, fmt.Errorf("failed to tell the peer of connections: %w", err)
	}
	defer out.Close()
	m := message{id: cfg.ID, most: payload(cfg)}
	sent := 0
	flush := func() {
		b := m.take()
		if b == nil {
			return
		}
		if _, e := out.Write(b); e != nil {
			err = errors.Join(err, e)
		}
		if sent++; sent%burst == 0 {
			time.Sleep(pause)
		}
	}
	_, scanErr := ipvs.ScanConnections(ctx, list, maxSent, func(c ipvs.Connection) bool {
		way, chosen := choose(c)
		if !chosen {
			return true
		}
		e, ok := newEntry(c, way)
		key := c
		key.Expires = 0
		if _, known := t.told[key]; !ok || known {
			return true
		}
		t.told[key] = struct{}{}
		if n++; !m.add(e) {
			flush()
			m.add(e)
		}
		return err == nil
	})
	flush()
	if err = errors.Join(err, scanErr); err != nil {
		t.told = nil // what did not arrive is told again
		return n, fmt.Errorf("failed to tell the peer of connections: %w", err)
	}
	return n, nil
}

// payload is how long a message may be.
func payload(c ipvs.SyncConfig) int {
	if c.MaxLen > 0 {
		return c.MaxLen
	}
	return minMTU - c.HeaderLen()
}

// minMTU lets a message through every Ethernet unfragmented, and through most
// tunnels.
const minMTU = 1280
