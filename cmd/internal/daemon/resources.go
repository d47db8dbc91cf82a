// This file bounds what the daemon takes of the machine: the memory of garbage, and the
// file descriptors, which probes and the rest of the daemon share. By default Go collects when the
// heap has doubled. For a small director's 10 MB that is far too often: a reload makes
// as much garbage, and a collection costs most where reading the clock is a system
// call, as on some virtual machines. For a large one's 150 MB it is more memory than
// the daemon should hold.

package daemon

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/config"
)

// pacing is how much garbage there may be between two collections: so many bytes, and
// within these bounds of GOGC, which is in percent of the live heap.
type pacing struct {
	bytes       uint64
	least, most uint64
}

var (
	// At a start, all that grows the heap are pages that the kernel must map and clear
	// first: more collections are cheaper.
	startPacing = pacing{64 << 20, 40, 100}
	// While a file is loaded there is as much garbage as there are live objects, and often
	// for one service only.
	loadPacing = pacing{64 << 20, 40, 400}
	// Between loads probes and scrapes leave little garbage.
	calmPacing = pacing{16 << 20, 40, 80}
)

// current is the pacing now.
var current atomic.Pointer[pacing]

// percent returns GOGC for a heap with that many live bytes, in steps: setting it stops the
// world briefly.
func (p *pacing) percent(live uint64) int {
	percent := int(min(max(p.bytes*100/max(live, 1), p.least), p.most))
	return percent - percent%20
}

// boundGarbage adjusts GOGC after each collection. An explicit GOGC disables this.
func boundGarbage() {
	if os.Getenv("GOGC") != "" {
		return
	}
	current.Store(&startPacing)
	percent := startPacing.percent(1)
	debug.SetGCPercent(percent)
	var collected func(*sentinel)
	collected = func(*sentinel) {
		// In another goroutine: SetGCPercent waits for the collection to end, which
		// the finalizer must not.
		go func() {
			if next := current.Load().percent(liveBytes()); next != percent {
				percent = next
				debug.SetGCPercent(next)
			}
			runtime.SetFinalizer(&sentinel{}, collected)
		}()
	}
	runtime.SetFinalizer(&sentinel{}, collected)
}

// sentinel is unreachable at each collection, which runs its finalizer. It has a
// pointer: without one it would share a tiny block with others and be freed late.
type sentinel struct{ _ *byte }

// liveBytes is what the last collection left.
func liveBytes() uint64 { return runtimeMetric("/gc/heap/live:bytes") }

// runtimeMetric reads one of the runtime's metrics; 0 where it does not exist.
func runtimeMetric(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

const (
	// collectDelay is how long after a load its garbage is collected, when the reload
	// is over. The next one reuses that memory instead of growing the heap by pages
	// that the kernel must map and clear.
	collectDelay = 2 * time.Second
	// releaseDelay is how long after a load free memory is returned to the system,
	// when checks and table run with the new configuration.
	releaseDelay = 10 * time.Second
	// minRelease is how much must be free for that: less is soon used again.
	minRelease = 16 << 20
)

// releasingMemory wraps a loader so that what a load needed temporarily, several
// times the size of a large file, is collected soon after it and returned to the
// system within seconds instead of minutes.
func releasingMemory(load func() (*config.Config, []string, error)) func() (*config.Config, []string, error) {
	collect := time.AfterFunc(collectDelay, runtime.GC)
	release := time.AfterFunc(releaseDelay, func() {
		current.Store(&calmPacing)
		if runtime.GC(); freeAfterCollection() > minRelease {
			debug.FreeOSMemory()
		}
	})
	return func() (*config.Config, []string, error) {
		current.Store(&loadPacing) // from the next collection on
		collect.Reset(collectDelay)
		release.Reset(releaseDelay)
		return load()
	}
}

// freeAfterCollection is what the heap holds and does not need: dead objects and
// free spans not returned to the system.
func freeAfterCollection() uint64 {
	held := runtimeMetric("/memory/classes/heap/objects:bytes") + runtimeMetric("/memory/classes/heap/unused:bytes") + runtimeMetric("/memory/classes/heap/free:bytes")
	return held - min(held, liveBytes())
}

// ownDescriptors are for everything but probes: the connections of http_listen (64), of
// the control socket and the peers, the pipes of programs, and what is always open.
const ownDescriptors = 192

// maxProbes is how many probes may be in progress: as many as the limit of open files
// leaves, so that servers that hang never keep the daemon from replying. The Go runtime
// has raised the soft limit to the hard one.
func maxProbes() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return probesOf(limit.Cur)
}

func probesOf(descriptors uint64) int {
	descriptors = min(descriptors, 1<<30) // also of RLIM_INFINITY
	return int(max(descriptors-min(ownDescriptors, descriptors), descriptors/4, 1))
}
