package ipvs_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// memoryLedger is a Ledger that can fail and that checks the rule that it is
// written before the kernel.
type memoryLedger struct {
	mu    sync.Mutex
	owned Owned
	saves int
	fail  error
}

func (l *memoryLedger) Load() (Owned, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owned, nil
}

func (l *memoryLedger) Save(o Owned) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.owned = o
	l.saves++
	return nil
}

func (l *memoryLedger) setFail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *memoryLedger) get() (Owned, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owned.Clone(), l.saves
}

// syncBuffer takes a log from another goroutine.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) lines(part string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for line := range strings.Lines(s.b.String()) {
		if strings.Contains(line, part) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// bench is a reconciler running over a fake kernel in a bubble.
type bench struct {
	t       *testing.T
	k       *ipvstest.Kernel
	l       *memoryLedger
	log     *syncBuffer
	r       *Reconciler
	mu      sync.Mutex
	wakes   int
	changes []Change
	stop    func()
}

// inBubble runs f with a reconciler over the kernel and stops it afterwards.
func inBubble(t *testing.T, k *ipvstest.Kernel, l *memoryLedger, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, k: k, l: l, log: &syncBuffer{}}
		if b.l == nil {
			b.l = &memoryLedger{}
		}
		b.r = NewReconciler(k, Options{
			Log:    slog.New(slog.NewTextHandler(b.log, nil)),
			Ledger: b.l,
			Wake:   func() { b.mu.Lock(); b.wakes++; b.mu.Unlock() },
			OnChange: func(c Change) {
				b.mu.Lock()
				b.changes = append(b.changes, c)
				b.mu.Unlock()
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.r.Run(ctx) }()
		b.stop = func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			b.stop = func() {}
		}
		defer func() { b.stop() }()
		synctest.Wait()
		f(b)
	})
}

// want sets a desired state with these services and waits until it was processed.
func (b *bench) want(services ...Service) uint64 {
	g := b.r.SetDesired(Desired{Table: table(services...)})
	synctest.Wait()
	return g
}

func (b *bench) expectTable(services ...Service) {
	b.t.Helper()
	if d := cmp.Diff(normal(table(services...)), normal(b.k.Table()), cmpAddr); d != "" {
		b.t.Errorf("kernel table (-want +got):\n%s", d)
	}
}

// newOps returns the names of the writes since n.
func (b *bench) newOps(n int) []string { return names(b.k.Ops()[n:]) }

func (b *bench) expectOps(since int, want ...string) {
	b.t.Helper()
	if d := cmp.Diff(want, b.newOps(since)); d != "" {
		b.t.Errorf("writes (-want +got):\n%s", d)
	}
}

func (b *bench) expectLog(part string, n int) {
	b.t.Helper()
	if lines := b.log.lines(part); len(lines) != n {
		b.t.Errorf("%d log lines with %q, want %d: %q", len(lines), part, n, lines)
	}
}
