package daemon

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGarbageIsBoundedByWhatIsAlive(t *testing.T) {
	for alive, want := range map[uint64]int{0: 400, 1 << 20: 400, 16 << 20: 400, 64 << 20: 100, 128 << 20: 40, 160 << 20: 40, 4 << 30: 40} {
		if got := loadPacing.percent(alive); got != want {
			t.Errorf("%d MB alive: %d %%, want %d", alive>>20, got, want)
		}
	}
	for alive, want := range map[uint64]int{0: 80, 16 << 20: 80, 20 << 20: 80, 32 << 20: 40, 64 << 20: 40, 4 << 30: 40} {
		if got := calmPacing.percent(alive); got != want {
			t.Errorf("%d MB alive, in a calm: %d %%, want %d", alive>>20, got, want)
		}
	}
	block := make([]byte, 8<<20)
	runtime.GC()
	if alive := liveBytes(); alive < 8<<20 || alive > 4<<30 {
		t.Errorf("%d bytes alive with a block of 8 MiB", alive)
	}
	runtime.KeepAlive(block)
}

// TestFreeMemoryIsSeen: unreferenced memory counts as free, and no longer once it was
// returned to the system.
func TestFreeMemoryIsSeen(t *testing.T) {
	const size = 64 << 20
	block := make([]byte, size)
	runtime.GC()
	runtime.KeepAlive(block)
	block = nil
	_ = block
	if free := freeAfterCollection(); free > size/2 {
		t.Errorf("%d MB free while all is held", free>>20)
	}
	runtime.GC()
	if free := freeAfterCollection(); free < size/2 {
		t.Errorf("%d MB free after %d MB died", free>>20, size>>20)
	}
	debug.FreeOSMemory()
	if free := freeAfterCollection(); free > size/2 {
		t.Errorf("%d MB free after it was given back", free>>20)
	}
}

// TestDescriptorsAreReserved: the probes never get all of them.
func TestDescriptorsAreReserved(t *testing.T) {
	for descriptors, want := range map[uint64]int{1: 1, 64: 16, 256: 64, 1024: 832, 524288: 524288 - ownDescriptors, ^uint64(0): 1<<30 - ownDescriptors} {
		if got := probesOf(descriptors); got != want {
			t.Errorf("of %d descriptors %d are for probes, want %d", descriptors, got, want)
		}
	}
}
