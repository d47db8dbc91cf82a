package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/cmd/internal/director"
	"lvsd/vrrp"
)

// fakeLoops are alive or not, and have read the kernel or not.
type fakeLoops struct {
	mu   sync.Mutex
	dead bool
	view director.View
}

func (f *fakeLoops) set(change func()) { f.mu.Lock(); defer f.mu.Unlock(); change() }

func (f *fakeLoops) Alive(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errors.New("stands still")
	}
	return nil
}

func (f *fakeLoops) Snapshot() director.View { f.mu.Lock(); defer f.mu.Unlock(); return f.view }

// TestWhatSystemdHears: ready once the kernel was read, watchdog messages for as long
// as the loops run, and none when they hang.
func TestWhatSystemdHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLoops{}
		var mu sync.Mutex
		var said []string
		hear := func() []string { mu.Lock(); defer mu.Unlock(); all := said; said = nil; return all }
		m := newSystemd(f)
		m.watchdog = 3 * time.Second
		m.notify = func(s string) { mu.Lock(); defer mu.Unlock(); said = append(said, s) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()

		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if all := hear(); slices.Contains(all, "READY=1") || !slices.Contains(all, "WATCHDOG=1") {
			t.Errorf("before the kernel was read: %q", all)
		}
		f.set(func() {
			f.view.Kernel.At = time.Now()
			f.view.Instances = []vrrp.Status{{Name: "web", State: vrrp.Master}}
		})
		time.Sleep(time.Second)
		synctest.Wait()
		if all := hear(); !slices.Contains(all, "READY=1") || !slices.Contains(all, "STATUS=web master") {
			t.Errorf("when it was: %q", all)
		}
		f.set(func() { f.dead = true })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if all := hear(); len(all) != 0 {
			t.Errorf("while the loops stand still: %q", all)
		}
		f.set(func() { f.dead = false; f.view.LastReload.Err = errors.New("lvsd.toml:1:1: wrong\nand more") })
		time.Sleep(time.Second)
		synctest.Wait()
		if all := hear(); !slices.Contains(all, "WATCHDOG=1") || slices.Contains(all, "READY=1") || !strings.Contains(strings.Join(all, "|"), "STATUS=FILE REJECTED: lvsd.toml:1:1: wrong, web master") {
			t.Errorf("when they run again: %q", all)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if all := hear(); !slices.Equal(all, []string{"STOPPING=1"}) {
			t.Errorf("at the end: %q", all)
		}
	})
}
