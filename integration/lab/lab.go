// The lab itself: what owns everything that was built.

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netns"
)

// TB is what the lab needs of a test: *testing.T, *testing.B, or what Run passes to
// other programs.
type TB interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Cleanup(func())
	Failed() bool
}

// Lab owns what was built: namespaces, processes, sockets, files. All of it
// ends with the test, in reverse order, each by its own id.
type Lab struct {
	tb     TB
	prefix string // of every namespace name: lvsd-PID-N
	dir    string
	origin netns.NsHandle // where this program's threads live

	mu    sync.Mutex
	undo  []func()
	procs []*Process
	hosts []*Host
}

// labs makes names unique within a process; the process ID makes them unique between
// processes.
var labs atomic.Uint32

// New starts an empty lab. It needs the permission to make network namespaces, and ends
// the test (Fatalf) without it; RequireKernel and RequireNamespaces skip the test
// instead.
func New(tb TB) *Lab {
	tb.Helper()
	tb.Cleanup(watchStalls())
	begun := time.Now()
	l := &Lab{tb: tb, prefix: fmt.Sprintf("lvsd-%d-%d", os.Getpid(), labs.Add(1))}
	var err error
	if l.origin, err = netns.Get(); err != nil {
		tb.Fatalf("failed to open this thread's network namespace: %v", err)
	}
	if l.dir, err = os.MkdirTemp("", "lvsd-lab-"); err != nil {
		tb.Fatalf("failed to make the lab's folder: %v", err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the machine stood still for %v of %v", Stalled(begun, time.Now()), time.Since(begun))
		}
	})
	tb.Cleanup(l.close)
	return l
}

// Dir is a folder for the lab's files: configurations, logs, sockets. It is
// removed at the end unless LVSD_LAB_KEEP is set.
func (l *Lab) Dir() string { return l.dir }

// Path joins elements to Dir.
func (l *Lab) Path(elem ...string) string { return filepath.Join(append([]string{l.dir}, elem...)...) }

// WriteFile writes a file under Dir and returns its path.
func (l *Lab) WriteFile(name, text string) string {
	l.tb.Helper()
	path := l.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.tb.Fatalf("failed to make the folder of %s: %v", name, err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		l.tb.Fatalf("failed to write %s: %v", name, err)
	}
	return path
}

// Hosts lists the hosts in the order in which they were built.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*Host(nil), l.hosts...)
}

// pollEvery is the polling interval of WaitUntil: short compared with what tests wait
// for, long compared with the cost of a poll in User-Mode Linux.
const pollEvery = 5 * time.Millisecond

// WaitUntil polls every few milliseconds until cond holds, and ends the test if it does
// not hold within limit. It returns how long that took.
func (l *Lab) WaitUntil(limit time.Duration, what string, cond func() bool) time.Duration {
	l.tb.Helper()
	took, ok := Poll(limit, cond)
	if !ok {
		l.tb.Fatalf("not within %v: %s", limit, what)
	}
	return took
}

// Poll polls every few milliseconds until cond holds or limit has passed.
func Poll(limit time.Duration, cond func() bool) (took time.Duration, ok bool) {
	start := time.Now()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if cond() {
			return time.Since(start), true
		}
		if time.Since(start) >= limit {
			return time.Since(start), false
		}
		<-tick.C
	}
}

// onClose registers the cleanup of what was just made.
func (l *Lab) onClose(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo = append(l.undo, f)
}

// must ends the test on an error, for operations that fail only if the lab has a bug.
func (l *Lab) must(err error, format string, args ...any) {
	if err != nil {
		l.tb.Helper()
		l.tb.Fatalf("lab: failed to %s: %v", fmt.Sprintf(format, args...), err)
	}
}

// close ends processes first, all at once, so that a director can still resign on its
// LAN; then everything else in reverse order.
func (l *Lab) close() {
	l.mu.Lock()
	procs, undo := l.procs, l.undo
	l.procs, l.undo = nil, nil
	l.mu.Unlock()

	if l.tb.Failed() {
		for _, p := range procs {
			l.tb.Logf("%s, last output:\n%s", p, p.Tail(40))
		}
	}
	var wg sync.WaitGroup
	for _, p := range procs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			p.end()
		}()
	}
	wg.Wait()
	for i := len(undo) - 1; i >= 0; i-- {
		undo[i]()
	}
	l.origin.Close()
	if os.Getenv("LVSD_LAB_KEEP") != "" {
		l.tb.Logf("files kept in %s", l.dir)
		return
	}
	if err := os.RemoveAll(l.dir); err != nil {
		l.tb.Logf("failed to remove %s: %v", l.dir, err)
	}
}

// Run gives f a TB without the testing package: for a demonstration. The first
// Fatalf ends f and becomes the error; cleanups run in every case, also when
// ctx ends first (then f's own calls fail and f is waited for).
// Logf writes to logf.
func Run(ctx context.Context, name string, logf func(format string, args ...any), f func(ctx context.Context, tb TB)) error {
	s := &standalone{name: name, logf: logf}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				s.fail(fmt.Errorf("panic: %v", r))
			}
		}()
		f(ctx, s)
	}()
	<-done
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
	if s.err == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.err
}

type standalone struct {
	name     string
	logf     func(string, ...any)
	mu       sync.Mutex
	err      error
	cleanups []func()
}

func (s *standalone) Helper()                         {}
func (s *standalone) Name() string                    { return s.name }
func (s *standalone) Logf(format string, args ...any) { s.logf(format, args...) }
func (s *standalone) Cleanup(f func())                { s.cleanups = append(s.cleanups, f) }

func (s *standalone) Fatalf(format string, args ...any) {
	s.fail(fmt.Errorf(format, args...))
	runtime.Goexit()
}

// Skipf fails: only a test can be skipped.
func (s *standalone) Skipf(format string, args ...any) { s.Fatalf(format, args...) }

func (s *standalone) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

func (s *standalone) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
}
