package checker

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

func tenThousand() []Target {
	targets := make([]Target, 10000)
	for i := range targets {
		targets[i] = one(i)
		c := &targets[i].Checks[0]
		c.Type, c.Path, c.Host, c.BodyExpect = TypeHTTP, "/healthz", "www.example.org", "alive"
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
			e.record(arrival{probe: p, result: Result{At: time.Now(), Reason: OK, Phase: PhaseReceive, Detail: "200 OK"}}, time.Now())
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
	defer cpuMetric(b)()
	for b.Loop() {
		if err := e.Set(targets); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSetNew(b *testing.B) {
	targets := tenThousand()
	b.ReportAllocs()
	defer cpuMetric(b)()
	for b.Loop() {
		if err := New(Options{}).Set(targets); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHealth(b *testing.B) {
	e, _ := loaded(b)
	b.ReportAllocs()
	defer cpuMetric(b)()
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

// BenchmarkMemory tells what ten thousand targets with full histories hold.
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

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuMetric tells processor time too: on a busy machine the clock tells little.
func cpuMetric(b *testing.B) func() {
	start := cpu()
	return func() { b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op") }
}

func benchProbe(b *testing.B, c Check) {
	c.Timeout = patience
	p, err := NewProber(&c, NewShared())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	defer cpuMetric(b)()
	for b.Loop() {
		if out := p.Probe(b.Context(), time.Now().Add(patience)); out.Reason != OK {
			b.Fatal(out)
		}
	}
}

// The listener never accepts more than it must: the kernel answers the
// handshakes, so the figure is nearly the probe's own.
func BenchmarkConnect(b *testing.B) {
	to := server(b, func(c net.Conn) {})
	b.Run("probe", func(b *testing.B) { benchProbe(b, Check{Type: TypeConnect, Address: to}) })
	b.Run("net.Dialer", func(b *testing.B) {
		d := net.Dialer{KeepAlive: -1}
		b.ReportAllocs()
		defer cpuMetric(b)()
		for b.Loop() {
			c, err := d.DialContext(b.Context(), "tcp", to.String())
			if err != nil {
				b.Fatal(err)
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
	b.Run("refused", func(b *testing.B) {
		p := newConnectProbe(&Check{Address: refusing(b)})
		b.ReportAllocs()
		for b.Loop() {
			p.Probe(b.Context(), time.Now().Add(patience))
		}
	})
}

func BenchmarkHTTP(b *testing.B) {
	to := server(b, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 1024)); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive")
		}
	})
	benchProbe(b, Check{Type: TypeHTTP, Address: to, BodyExpect: "alive"})
}

// BenchmarkEngine runs 2,000 connect probes at 5 Hz: ten thousand a second.
func BenchmarkEngine(b *testing.B) {
	to := server(b, func(c net.Conn) {})
	var lags []time.Duration
	e := New(Options{ObserveLag: func(d time.Duration) { lags = append(lags, d) }})
	var targets []Target
	for i := range 2000 {
		c := Check{Type: TypeConnect, Address: to, Interval: 200 * time.Millisecond, Timeout: 100*time.Millisecond + time.Duration(i), Rise: 1, Fall: 1}
		targets = append(targets, Target{ID: ID{"s", fmt.Sprint(i)}, Checks: []Check{c}})
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
		start := cpu()
		if err := e.Run(ctx); err != nil {
			b.Fatal(err)
		}
		cancel()
		all := *lags
		slices.Sort(all)
		b.ReportMetric(float64(cpu()-start)/float64(len(all)), "cpu-ns/probe")
		b.ReportMetric(float64(len(all))/3, "probes/s")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "lag-p99-µs")
	}
}
