package timer

import (
	"testing"
	"time"
)

// TestTimer: both kinds fire once for each Set, not before their time, and not
// after Clear.
func TestTimer(t *testing.T) {
	kernel, err := newKernel()
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]Timer{"kernel": kernel, "runtime": NewRuntime()} {
		for _, in := range []time.Duration{20 * time.Millisecond, 39 * time.Microsecond, 0, -time.Second} {
			began := time.Now()
			a.Set(in)
			select {
			case <-a.C():
				if took := time.Since(began); took < in {
					t.Errorf("%s: set to %v it fired after %v", name, in, took)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s: set to %v it did not fire", name, in)
			}
		}
		a.Set(time.Hour)
		a.Set(time.Millisecond) // the last Set counts
		<-a.C()
		a.Set(time.Hour)
		a.Clear()
		select {
		case <-a.C():
			t.Errorf("%s: it fired although it was cleared", name)
		default:
		}
		a.Close()
	}
}

// BenchmarkTimer measures how late each kind fires.
func BenchmarkTimer(b *testing.B) {
	kernel, err := newKernel()
	if err != nil {
		b.Fatal(err)
	}
	for name, a := range map[string]Timer{"kernel": kernel, "runtime": NewRuntime()} {
		b.Run(name, func(b *testing.B) {
			var late time.Duration
			for b.Loop() {
				due := time.Now().Add(3300 * time.Microsecond)
				a.Set(time.Until(due))
				<-a.C()
				late += time.Since(due)
			}
			b.ReportMetric(float64(late.Microseconds())/float64(b.N), "µs-late")
		})
		a.Close()
	}
}
