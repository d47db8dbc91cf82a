package main

// How much memory garbage may take. Go collects when the heap has doubled: of a
// small director's 10 MB that is far too often (a reload makes as much garbage,
// and a collection costs most where the clock is a system call, as on some
// virtual machines), of a large one's 150 MB more than anybody likes to give.

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// garbage is what the heap may grow by between two collections, about.
	garbage = 64 << 20
	// The bounds of Go's GOGC, in percent of what is alive.
	mostGarbage, leastGarbage = 400, 40
)

// garbagePercent is GOGC for a heap with so much alive.
func garbagePercent(alive uint64) int {
	return int(min(max(garbage*100/max(alive, 1), leastGarbage), mostGarbage))
}

// boundGarbage keeps the garbage at about that much from now on, by a look after
// each collection. Who sets GOGC has decided otherwise.
func boundGarbage() {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := garbagePercent(1)
	debug.SetGCPercent(percent)
	var look func(*sentinel)
	look = func(*sentinel) {
		// From another goroutine: setting waits for a collection to end, and the
		// one that calls us must not wait.
		go func() {
			if next := garbagePercent(aliveBytes()); next != percent {
				percent = next
				debug.SetGCPercent(next)
			}
			runtime.SetFinalizer(&sentinel{}, look)
		}()
	}
	runtime.SetFinalizer(&sentinel{}, look)
}

// sentinel is what each collection finds dead. It has a pointer, or it would
// share its memory with others and be found late.
type sentinel struct{ _ *byte }

// aliveBytes is what the last collection left.
func aliveBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return garbage
	}
	return sample[0].Value.Uint64()
}
