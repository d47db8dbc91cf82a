package checker

import (
	"context"
	"fmt"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"
)

func tenThousand() []Target { return many(10_000) }

func many(n int) []Target {
	targets := make([]Target, n)
	for i := range targets {
		targets[i] = one(i)
		c := &targets[i].Checks[0]
		c.Type, c.Path, c.Host, c.BodyExpect = probe.TypeHTTP, "/healthz", "www.example.org", "alive"
	}
	return targets
}

// loaded is an engine whose ten thousand targets each have results.
func loaded(b testing.TB) (*Engine, []Target) {
	e, targets := New(Options{}), tenThousand()
	if err := e.Set(targets); err != nil {
		b.Fatal(err)
	}
	e.mu.Lock()
	e.scheduleAdded(time.Now())
	e.due = nil
	for _, p := range e.probes {
		for range 40 {
			p.due = time.Now()
			e.record(arrival{probe: p, result: outcome.Result{At: time.Now(), Reason: outcome.OK, Phase: outcome.PhaseReceive, Detail: "200 OK"}}, time.Now())
			e.due.pop()
		}
	}
	for _, p := range e.probes {
		e.due.push(p)
	}
	e.mu.Unlock()
	return e, targets
}

func BenchmarkSetUnchanged(b *testing.B) {
	e, targets := loaded(b)
	b.ReportAllocs()
	defer checktest.ReportCPU(b)()
	for b.Loop() {
		if err := e.Set(targets); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSetNew(b *testing.B) {
	for _, n := range []int{1000, 10_000, 40_000} {
		b.Run(fmt.Sprint("servers=", n), func(b *testing.B) {
			targets := many(n)
			b.ReportAllocs()
			defer checktest.ReportCPU(b)()
			for b.Loop() {
				if err := New(Options{}).Set(targets); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHealth(b *testing.B) {
	e, _ := loaded(b)
	b.ReportAllocs()
	defer checktest.ReportCPU(b)()
	for b.Loop() {
		e.mu.Lock()
		e.snapshot = nil // as if a result had come
		e.mu.Unlock()
		if len(e.Health()) != 10000 {
			b.Fatal("lost targets")
		}
	}
}

func BenchmarkHealthUnchanged(b *testing.B) {
	e, _ := loaded(b)
	for b.Loop() {
		e.Health()
	}
}

// BenchmarkMemory measures what ten thousand targets with full histories hold.
func BenchmarkMemory(b *testing.B) {
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		e, targets := loaded(b)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/10000, "B/target")
		runtime.KeepAlive(targets)
		runtime.KeepAlive(e)
	}
}

// BenchmarkEngine runs 2,000 connect probes at 5 Hz: ten thousand a second.
func BenchmarkEngine(b *testing.B) {
	to := checktest.Serve(b, func(c net.Conn) {})
	var lags []time.Duration
	e := New(Options{ObserveLag: func(d time.Duration) { lags = append(lags, d) }})
	var targets []Target
	for i := range 2000 {
		c := probe.Check{Type: probe.TypeConnect, Address: to, Interval: 200 * time.Millisecond, Timeout: 100*time.Millisecond + time.Duration(i), Rise: 1, Fall: 1}
		targets = append(targets, Target{ID: ID{"s", fmt.Sprint(i)}, Checks: []probe.Check{c}})
	}
	if err := e.Set(targets); err != nil {
		b.Fatal(err)
	}
	runEngine(b, e, &lags)
}

func runEngine(b *testing.B, e *Engine, lags *[]time.Duration) {
	for b.Loop() {
		*lags = nil
		e.started.Store(false)
		ctx, cancel := context.WithTimeout(b.Context(), 3*time.Second)
		start := checktest.CPUTime()
		if err := e.Run(ctx); err != nil {
			b.Fatal(err)
		}
		cancel()
		all := *lags
		slices.Sort(all)
		b.ReportMetric(float64(checktest.CPUTime()-start)/float64(len(all)), "cpu-ns/probe")
		b.ReportMetric(float64(len(all))/3, "probes/s")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "lag-p99-µs")
	}
}
