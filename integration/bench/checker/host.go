// The engine alone, on this machine's own kernel: the probes per second of one core, their
// delay, and the memory. The servers are another process, which serves every loopback
// address.

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/integration/bench/measure"
)

// eachAlone measures every kind in a separate process, because of the memory.
func eachAlone(ctx context.Context, kinds []string) error {
	for _, kind := range kinds {
		one := exec.CommandContext(ctx, "/proc/self/exe", append(os.Args[1:], "-kinds", kind)...)
		one.Stdout, one.Stderr = os.Stdout, os.Stderr
		if err := one.Run(); err != nil {
			return err
		}
	}
	return nil
}

// onHost measures every kind: servers, each probed once a second.
func onHost(ctx context.Context, kinds []string, servers int, span time.Duration) error {
	other := exec.CommandContext(ctx, "/proc/self/exe", "-serve")
	stdin, err := other.StdinPipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	stdout, err := other.StdoutPipe()
	if err != nil {
		return err
	}
	if err := other.Start(); err != nil {
		return err
	}
	var port uint16
	if _, err := fmt.Fscan(stdout, &port); err != nil {
		return err
	}
	if err := oneCore(); err != nil {
		return err
	}
	fmt.Printf("this machine's own kernel, one core of %d, one probe a second of each of %d servers, measured for %v\n", runtime.NumCPU(), servers, span)
	for _, kind := range kinds {
		if err := measureHere(ctx, kind, servers, port, span); err != nil {
			return err
		}
	}
	return nil
}

// oneCore restricts this process to the last processor.
func oneCore() error {
	runtime.GOMAXPROCS(1)
	var one unix.CPUSet
	one.Set(runtime.NumCPU() - 1)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads { // later threads inherit it
		id := 0
		fmt.Sscan(t.Name(), &id)
		if err := unix.SchedSetaffinity(id, &one); err != nil {
			return err
		}
	}
	return nil
}

// hanging is HTTP, where this number of servers accept and do not respond.
const (
	hanging = "hanging"
	hang    = 500
)

func measureHere(ctx context.Context, kind string, servers int, port uint16, span time.Duration) error {
	var measuring atomic.Bool
	var lags []time.Duration // owned by the engine until it has ended
	e := checker.New(checker.Options{ObserveLag: func(d time.Duration) {
		if measuring.Load() {
			lags = append(lags, d)
		}
	}})
	if kind == hanging {
		servers = max(servers/10, 2*hang)
	}
	targets := make([]checker.Target, servers)
	path := func(int) string { return "/healthz" }
	name := kind
	if kind == hanging {
		kind, path = "http", func(i int) string {
			if i < hang {
				return "/hang"
			}
			return "/healthz"
		}
		name = fmt.Sprintf("http, %d servers of these accept and do not respond", hang)
	}
	for i := range targets {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1 + byte(i>>16), byte(i >> 8), byte(i)}), port)
		targets[i] = checker.Target{ID: checker.ID{Service: "web", RealServer: to.String()}, Checks: []probe.Check{{
			Type: kind, Address: to, Interval: time.Second, Timeout: time.Second, Rise: 1, Fall: 3, Path: path(i)}}}
	}
	if err := e.Set(targets); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second+span)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	time.Sleep(3 * time.Second) // the start and the first probes
	begin, cpu, failedBefore := time.Now(), ownTime(), failures(e)
	measuring.Store(true)
	err := <-ended
	took, used := time.Since(begin), ownTime()-cpu
	if len(lags) == 0 {
		return errors.Join(err, errors.New("no probe ended"))
	}
	slices.Sort(lags)
	at := func(share float64) time.Duration {
		return lags[int(float64(len(lags)-1)*share)].Round(time.Microsecond)
	}
	fmt.Printf("  %s: %.0f probes/s, %s, %.1f µs of cpu a probe (%.0f %% of the core); started later than due: half %v, 99 %% %v, all %v; %s\n",
		name, float64(len(lags))/took.Seconds(), failed(failures(e), failedBefore), float64(used.Nanoseconds())/1000/float64(len(lags)), 100*used.Seconds()/took.Seconds(),
		at(.5), at(.99), at(1), measure.Memory(os.Getpid()))
	return err
}

// failures counts the results other than OK, by reason.
func failures(e *checker.Engine) map[outcome.Reason]uint64 {
	all := map[outcome.Reason]uint64{}
	for _, h := range e.Health() {
		for reason, count := range h.Checks[0].Totals.All() {
			if reason != outcome.OK {
				all[reason] += count
			}
		}
	}
	return all
}

func failed(now, before map[outcome.Reason]uint64) string {
	text := "none failed"
	for reason, n := range now {
		if n -= before[reason]; n > 0 {
			text = strings.TrimPrefix(fmt.Sprintf("%s, %d %s", text, n, reason), "none failed, ")
		}
	}
	return text
}

func ownTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
