package vrrpproc

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
)

// A thread that runs without a pause loses its real-time policy, and regains it later.
func TestRealTimeIsBounded(t *testing.T) {
	runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
	normal := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
	rr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
	if err := unix.SchedSetAttr(0, rr, 0); err != nil {
		lab.Require(t, fmt.Errorf("no right to a real-time policy: %w", err))
	}
	policy := func() uint32 {
		p, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return p.Policy
	}
	stop := boundRealTime(slog.New(slog.DiscardHandler), 20*time.Millisecond, 50*time.Millisecond)
	for range 2 {
		began := time.Now()
		for policy() == unix.SCHED_RR { // this never sleeps
			if time.Since(began) > 10*time.Second {
				t.Fatal("it runs for ever")
			}
		}
		for policy() != unix.SCHED_RR {
			time.Sleep(time.Millisecond)
		}
	}
	stop()
	if err := setPolicy(normal); err != nil {
		t.Error(err)
	}
}
