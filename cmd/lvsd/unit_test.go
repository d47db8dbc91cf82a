package main

import (
	"os"
	"strings"
	"testing"
)

// TestTheUnitBacksOff: a configuration that is rejected does not cause ten starts a
// second forever, and the clock is set before adverts are authenticated by it.
func TestTheUnitBacksOff(t *testing.T) {
	text, err := os.ReadFile("package/lvsd.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"RestartSteps=8", "RestartMaxDelaySec=30s", "StartLimitIntervalSec=0"} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("the unit has no line %s", line)
		}
	}
	for line := range strings.Lines(string(text)) {
		if after, ok := strings.CutPrefix(strings.TrimSpace(line), "After="); ok && !strings.Contains(after, "time-sync.target") {
			t.Errorf("the unit starts before the clock is set: %s", line)
		}
	}
}
