package daemon

import (
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/cmd/internal/configfile"
	"lvsd/cmd/internal/peers"
	"lvsd/config"
	"lvsd/config/edit"
)

// TestEditForAPeer: the file is edited and reloaded where it is what the other director
// edited and what runs; else, and where the reload is refused, it stays as it is.
func TestEditForAPeer(t *testing.T) {
	folder := t.TempDir()
	server := "127.0.0.1:9"
	source := write(t, folder, server, "")
	d, ctx := running(t, source), t.Context()
	await(t, 10*time.Second, "configuration that runs", func() bool { return d.runningHash() != "" })
	text := func() string {
		t.Helper()
		text, err := os.ReadFile(source.Path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	hash := func() string {
		t.Helper()
		file, err := config.Parse(source.Path, []byte(text()))
		if err != nil {
			t.Fatal(err)
		}
		return file.Hash
	}
	weight := func(before string, n int) peers.Edited {
		return d.edit(ctx, "web", server, peers.Edit{Change: edit.Change{Do: "weight", Weight: n}, Before: before})
	}
	refused := func(before string, n int, reason string) {
		t.Helper()
		file, running := text(), d.runningHash()
		if e := weight(before, n); !strings.Contains(e.Error, reason) || e.Hash != running || text() != file || d.runningHash() != running {
			t.Errorf("%+v, want %q; %s runs, the file is\n%s", e, reason, d.runningHash(), text())
		}
	}
	refused("0123456789abcdef", 5, "a different configuration")
	refused(hash(), 70000, "65535")
	before := text()
	if e := weight(hash(), 5); e.Error != "" || e.Hash != hash() || e.Hash != d.runningHash() || text() != strings.Replace(before, "weight = 3", "weight = 5", 1) {
		t.Errorf("%+v; %s runs, the file is\n%s", e, d.runningHash(), text())
	}
	if e := weight(hash(), 5); e.Error != "" || e.Hash != d.runningHash() {
		t.Errorf("an edit that changes nothing: %+v", e)
	}
	source.Director = "lb9"
	refused(hash(), 6, "the reload was rejected: ")
	source.Director = "lb1"
	if err := configfile.WriteAll([]configfile.Change{{Path: source.Path, Before: text(), After: strings.Replace(text(), "weight = 5", "weight = 9", 1)}}); err != nil {
		t.Fatal(err)
	}
	refused(hash(), 6, "running "+d.runningHash())
}
