package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"lvsd/cmd/internal/persist"
	"lvsd/config"
)

// TestWhenAddressesAreSpared: only where systemd starts the daemon again.
func TestWhenAddressesAreSpared(t *testing.T) {
	for result, want := range map[string]bool{"": false, "success": false, "timeout": false, "signal": true, "exit-code": true, "core-dump": true, "watchdog": true, "oom-kill": true} {
		if got := Restarts(result); got != want {
			t.Errorf("%q: %v, want %v", result, got, want)
		}
	}
}

// TestCleanupWithoutARecord: a record that cannot be read is replaced by the
// configuration, and addresses are spared only where that can be recorded.
func TestCleanupWithoutARecord(t *testing.T) {
	dir, err := persist.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	configured := &config.Config{Instances: []config.Instance{{Name: "web", Interface: "eth0"}}}
	if all, skipped, err := leftBehind(dir, configured, true, false); len(all) > 0 || skipped || err != nil {
		t.Errorf("without a record: %v, %v, %v", all, skipped, err)
	}
	for _, skip := range []bool{true, false} { // routes of announcements are spared once too
		if all, skipped, err := leftBehind(dir, configured, true, true); len(all) > 0 || skipped != skip || err != nil {
			t.Errorf("with announcements: %v, %v, %v", all, skipped, err)
		}
	}
	if err := dir.SaveAddresses(persist.Addresses{Instances: []persist.Instance{{Name: "mail"}}}); err != nil {
		t.Fatal(err)
	}
	if all, skipped, err := leftBehind(dir, configured, true, false); len(all) > 0 || !skipped || err != nil {
		t.Errorf("after a first crash: %v, %v, %v", all, skipped, err)
	}
	if all, skipped, err := leftBehind(dir, configured, true, false); len(all) != 1 || all[0].Name != "mail" || skipped || err != nil {
		t.Errorf("after a second: %v, %v, %v", all, skipped, err)
	}
	record := filepath.Join(dir.Path(), "addresses")
	if err := dir.SaveAddresses(persist.Addresses{Instances: []persist.Instance{{Name: "mail"}}}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(record+".new", 0o700); err != nil { // so that no record can be written
		t.Fatal(err)
	}
	if all, skipped, err := leftBehind(dir, configured, true, false); len(all) != 1 || skipped || err != nil {
		t.Errorf("where it cannot be recorded: %v, %v, %v", all, skipped, err)
	}
	if err := os.WriteFile(record, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, skipped, err := leftBehind(dir, configured, true, false); len(all) != 1 || all[0].Name != "web" || skipped || err == nil {
		t.Errorf("a record that cannot be read: %v, %v, %v", all, skipped, err)
	}
}
