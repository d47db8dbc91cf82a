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
	"sync/atomic"
	"time"

	"lvsd/config"
)

const (
	// garbage is what the heap may grow by between two collections, about.
	garbage = 64 << 20
	// The bounds of Go's GOGC, in percent of what is alive: while a file is read and
	// taken up, and in the long time between, in which probes leave little garbage.
	busyGarbage, calmGarbage, leastGarbage = 400, 80, 40
)

// mostGarbage is the bound that holds now.
var mostGarbage atomic.Uint64

// garbagePercent is GOGC for a heap with so much alive, in steps: setting it
// stops the world for a moment.
func garbagePercent(alive, most uint64) int {
	percent := int(min(max(garbage*100/max(alive, 1), leastGarbage), most))
	return percent - percent%20
}

// boundGarbage keeps the garbage at about that much from now on, by a look after
// each collection. Who sets GOGC has decided otherwise.
func boundGarbage() {
	if os.Getenv("GOGC") != "" {
		return
	}
	mostGarbage.Store(busyGarbage)
	percent := garbagePercent(1, busyGarbage)
	debug.SetGCPercent(percent)
	var look func(*sentinel)
	look = func(*sentinel) {
		// From another goroutine: setting waits for a collection to end, and the
		// one that calls us must not wait.
		go func() {
			if next := garbagePercent(aliveBytes(), mostGarbage.Load()); next != percent {
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
func aliveBytes() uint64 { return measured("/gc/heap/live:bytes") }

// measured reads one of the runtime's numbers; one that it does not have is 0.
func measured(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

const (
	// idleTime is how long after a reading of the file its garbage is collected:
	// when nobody waits for the reload any more. The next one then finds memory that
	// is there, where otherwise the heap would grow, and each new page be paid for.
	idleTime = 2 * time.Second
	// settleTime is how long after a reading of the file its garbage is given back:
	// when the checks and the table have taken it up.
	settleTime = 10 * time.Second
	// worthGiving is how much must be free for that: less is soon used again, and
	// pages that are given back are paid for when they are.
	worthGiving = 16 << 20
)

// givingBack is a loader after which the memory that reading and taking up the file
// needed for the moment is free again as soon as nobody waits, and what a large
// file needed, several times its own, is given back to the system at once instead
// of in some minutes.
func givingBack(load func() (*config.Config, []string, error)) func() (*config.Config, []string, error) {
	collect := time.AfterFunc(idleTime, runtime.GC)
	giveBack := time.AfterFunc(settleTime, func() {
		mostGarbage.Store(calmGarbage)
		if runtime.GC(); freeAfterCollection() > worthGiving {
			debug.FreeOSMemory()
		}
	})
	return func() (*config.Config, []string, error) {
		mostGarbage.Store(busyGarbage) // from the next collection on
		collect.Reset(idleTime)
		giveBack.Reset(settleTime)
		return load()
	}
}

// freeAfterCollection is what the heap has and does not need: dead, or free and
// not given back.
func freeAfterCollection() uint64 {
	held := measured("/memory/classes/heap/objects:bytes") + measured("/memory/classes/heap/unused:bytes") + measured("/memory/classes/heap/free:bytes")
	return held - min(held, aliveBytes())
}
