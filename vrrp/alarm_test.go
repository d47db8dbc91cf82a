package vrrp

import (
	"testing"
	"time"
)

// TestAlarm: both clocks ring once for each Set, not before their time, and not
// after Clear.
func TestAlarm(t *testing.T) {
	kernel, err := newKernelAlarm()
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]alarm{"kernel": kernel, "runtime": newRuntimeAlarm()} {
		for _, in := range []time.Duration{20 * time.Millisecond, 39 * time.Microsecond, 0, -time.Second} {
			began := time.Now()
			a.Set(in)
			select {
			case <-a.Rings():
				if took := time.Since(began); took < in {
					t.Errorf("%s: set to %v it rang after %v", name, in, took)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s: set to %v it did not ring", name, in)
			}
		}
		a.Set(time.Hour)
		a.Set(time.Millisecond) // the last Set counts
		<-a.Rings()
		a.Set(time.Hour)
		a.Clear()
		select {
		case <-a.Rings():
			t.Errorf("%s: it rang though it was cleared", name)
		default:
		}
		a.Close()
	}
}

// BenchmarkAlarm tells how late each is.
func BenchmarkAlarm(b *testing.B) {
	kernel, err := newKernelAlarm()
	if err != nil {
		b.Fatal(err)
	}
	for name, a := range map[string]alarm{"kernel": kernel, "runtime": newRuntimeAlarm()} {
		b.Run(name, func(b *testing.B) {
			var late time.Duration
			for b.Loop() {
				due := time.Now().Add(3300 * time.Microsecond)
				a.Set(time.Until(due))
				<-a.Rings()
				late += time.Since(due)
			}
			b.ReportMetric(float64(late.Microseconds())/float64(b.N), "µs-late")
		})
		a.Close()
	}
}
