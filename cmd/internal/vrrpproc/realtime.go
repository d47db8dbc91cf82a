package vrrpproc

import (
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// realTimeLimit is how long a thread may run under the real-time policy without a
	// pause. An advertisement takes some microseconds, a takeover with thousands of
	// addresses much of it.
	realTimeLimit = 500 * time.Millisecond
	// normalTime is how long all threads then run under the normal policy.
	normalTime = 2 * time.Second
)

// boundRealTime keeps the process from starving this machine under its real-time policy,
// in a flood of packets say: a thread that never pauses gets SIGXCPU from the kernel
// (RLIMIT_RTTIME, getrlimit(2)), and all threads run under the normal policy for a while.
// It returns at once where the calling thread has no real-time policy, and else what ends
// it.
func boundRealTime(log *slog.Logger, limit, normal time.Duration) (stop func()) {
	policy, err := unix.SchedGetAttr(0, 0)
	if err != nil || policy.Policy != unix.SCHED_RR {
		return func() {}
	}
	bound := func(d uint64) error {
		return unix.Setrlimit(unix.RLIMIT_RTTIME, &unix.Rlimit{Cur: d, Max: unix.RLIM_INFINITY})
	}
	exceeded, ending, ended := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(exceeded, unix.SIGXCPU)
	if err := bound(uint64(limit.Microseconds())); err != nil {
		log.Warn("the real-time scheduling of the VRRP process has no time limit", "reason", err)
	}
	go func() {
		defer close(ended)
		logged := time.Time{}
		for {
			select {
			case <-ending:
				return
			case <-exceeded:
			}
			err := setPolicy(&unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL})
			if now := time.Now(); now.Sub(logged) > time.Minute {
				logged = now
				log.Warn("the VRRP process used a processor without a pause: real-time scheduling is suspended for a moment",
					"limit", limit, "for", normal, "err", err, "remedy", "check for a flood of VRRP packets: lvsd_vrrp_packets_dropped_total")
			}
			select {
			case <-ending:
			case <-time.After(normal):
			}
			// The kernel raises the limit by a second with each signal.
			if err := errors.Join(bound(uint64(limit.Microseconds())), setPolicy(policy)); err != nil {
				log.Warn("VRRP continues without real-time scheduling", "reason", err)
			}
		}
	}()
	return func() {
		signal.Stop(exceeded)
		close(ending)
		<-ended
		_ = bound(unix.RLIM_INFINITY)
	}
}

// setPolicy sets the policy of all threads. It looks twice: one may have been made
// meanwhile.
func setPolicy(policy *unix.SchedAttr) (err error) {
	for range 2 {
		threads, failed := os.ReadDir("/proc/self/task")
		err = failed
		for _, t := range threads {
			id, _ := strconv.Atoi(t.Name())
			if e := unix.SchedSetAttr(id, policy, 0); e != nil && !errors.Is(e, unix.ESRCH) {
				err = e
			}
		}
	}
	return err
}
