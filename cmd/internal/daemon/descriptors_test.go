package daemon

import "testing"

// TestDescriptorsAreReserved: the probes never get all of them.
func TestDescriptorsAreReserved(t *testing.T) {
	for descriptors, want := range map[uint64]int{1: 1, 64: 16, 256: 64, 1024: 832, 524288: 524288 - ownDescriptors, ^uint64(0): 1<<30 - ownDescriptors} {
		if got := probesOf(descriptors); got != want {
			t.Errorf("of %d descriptors %d are for probes, want %d", descriptors, got, want)
		}
	}
}
