package program

import (
	"context"
	"slices"
	"sync"
)

// Slots bound how many programs run at once. Its methods are safe for concurrent use.
type Slots struct {
	mu      sync.Mutex
	limit   int
	used    int
	waiting []chan struct{} // in the order of Acquire; closed with a slot
}

// NewSlots returns a number of slots, at least 1.
func NewSlots(n int) *Slots { return &Slots{limit: max(n, 1)} }

// Resize changes the number of slots. Programs that run beyond it end by themselves.
func (s *Slots) Resize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = max(n, 1)
	s.grant()
}

// Used returns how many slots are taken.
func (s *Slots) Used() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Acquire waits for a slot. It returns the error of ctx if that ends first.
func (s *Slots) Acquire(ctx context.Context) error {
	granted := make(chan struct{})
	s.mu.Lock()
	s.waiting = append(s.waiting, granted)
	s.grant()
	s.mu.Unlock()
	select {
	case <-granted:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, granted); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else { // granted at the same time
		s.used--
		s.grant()
	}
	return ctx.Err()
}

// Release gives a slot back.
func (s *Slots) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	s.grant()
}

func (s *Slots) grant() {
	for s.used < s.limit && len(s.waiting) > 0 {
		close(s.waiting[0])
		s.waiting = s.waiting[1:]
		s.used++
	}
}
