package daemon

import "testing"

// TestWhenAddressesAreSpared: only where systemd starts the daemon again.
func TestWhenAddressesAreSpared(t *testing.T) {
	for result, want := range map[string]bool{"": false, "success": false, "timeout": false, "signal": true, "exit-code": true, "core-dump": true, "watchdog": true, "oom-kill": true} {
		if got := Restarts(result); got != want {
			t.Errorf("%q: %v, want %v", result, got, want)
		}
	}
}
