// The sender announces connections to the peer at once. The kernel's sync master
// announces a connection after some packets and up to three seconds later, so a director
// that hands over its addresses sends the rest itself, in the kernel's format. The peer's
// kernel does not distinguish them.

package connsync

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"
	"time"

	"lvsd/ipvs"
)

const (
	// maxSent bounds one call of Send. Further connections are left to the kernel.
	maxSent = 500_000
	// burst messages, then a pause, keep the receiver's socket from overflowing.
	burst = 32
	pause = 2 * time.Millisecond
	// sentMemory is how long a handover lasts at most. After it everything is sent
	// again.
	sentMemory = time.Minute
)

// Sender sends connections to the peer. Concurrent calls of Send run one after another.
type Sender struct {
	open func() (io.ReadCloser, error)
	dial func(ipvs.SyncConfig) (io.WriteCloser, error)
	seed maphash.Seed

	mu     sync.Mutex
	sent   map[uint64]struct{} // hashes of what was sent; nil after sentMemory
	forget *time.Timer
}

// NewSender returns a sender of the connections of a kernel.
func NewSender(k ipvs.Kernel) *Sender { return newSender(k.OpenConnections, dial) }

func newSender(open func() (io.ReadCloser, error), dial func(ipvs.SyncConfig) (io.WriteCloser, error)) *Sender {
	return &Sender{open: open, dial: dial, seed: maphash.MakeSeed()}
}

// Send sends the connections for which choose returns the forwarding method of the real
// server and true. Connections that were sent in the last minute and are still in the
// same state are not sent again unless all is set. Send returns the number of those that
// it sent, at most 500,000. After an error everything is sent again.
func (s *Sender) Send(ctx context.Context, cfg ipvs.SyncConfig, all bool, choose func(ipvs.Connection) (ipvs.Forward, bool)) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all || s.sent == nil {
		s.remember()
	}
	list, err := s.open()
	if err != nil {
		return 0, fmt.Errorf("failed to open the list of connections: %w", err)
	}
	defer list.Close()
	out, err := s.dial(cfg)
	if err != nil {
		return 0, fmt.Errorf("failed to send connections to the peer: %w", err)
	}
	defer out.Close()
	m := message{id: cfg.ID, maxLen: messageLen(cfg)}
	written := 0
	flush := func() {
		b := m.flush()
		if b == nil {
			return
		}
		if _, e := out.Write(b); e != nil {
			err = errors.Join(err, e)
		}
		if written++; written%burst == 0 {
			time.Sleep(pause)
		}
	}
	_, scanErr := ipvs.ScanConnections(ctx, list, maxSent, func(c ipvs.Connection) bool {
		forward, chosen := choose(c)
		if !chosen {
			return true
		}
		e, ok := newEntry(c, forward)
		if !ok || !s.add(c) {
			return true
		}
		if n++; !m.add(e) {
			flush()
			m.add(e)
		}
		return err == nil
	})
	flush()
	if err = errors.Join(err, scanErr); err != nil {
		s.drop()
		return n, fmt.Errorf("failed to send connections to the peer: %w", err)
	}
	return n, nil
}

// add records a connection in its state and reports whether that was not sent yet. It
// keeps a hash of 8 bytes: a collision leaves one connection to the kernel.
func (s *Sender) add(c ipvs.Connection) bool {
	c.Expires = 0
	h := maphash.Comparable(s.seed, c)
	if _, known := s.sent[h]; known {
		return false
	}
	s.sent[h] = struct{}{}
	return true
}

// remember starts a new record of what was sent, which is dropped after sentMemory.
func (s *Sender) remember() {
	s.drop()
	s.sent = map[uint64]struct{}{}
	var timer *time.Timer
	timer = time.AfterFunc(sentMemory, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.forget == timer {
			s.drop()
		}
	})
	s.forget = timer
}

func (s *Sender) drop() {
	if s.forget != nil {
		s.forget.Stop()
	}
	s.sent, s.forget = nil, nil
}

// messageLen returns the length of a message in bytes.
func messageLen(c ipvs.SyncConfig) int {
	if c.MaxLen > 0 {
		return c.MaxLen
	}
	return minMTU - c.HeaderLen()
}

// minMTU lets a message pass every Ethernet and most tunnels unfragmented.
const minMTU = 1280
