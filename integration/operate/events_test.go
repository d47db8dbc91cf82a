package operate_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// eventLine is what the tests read of an event. The names are repeated here on purpose:
// they are part of the interface.
type eventLine struct {
	ID         uint64    `json:"id"`
	At         time.Time `json:"at"`
	Director   string    `json:"director"`
	Kind       string    `json:"kind"`
	Level      string    `json:"level"`
	Service    string    `json:"service"`
	RealServer string    `json:"real_server"`
	VRRP       string    `json:"vrrp"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	Reason     string    `json:"reason"`
}

// eventLines parses one event a line; anything else fails the test.
func eventLines(t testing.TB, text string) []eventLine {
	t.Helper()
	var all []eventLine
	for line := range strings.Lines(text) {
		var e eventLine
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// find counts the events of a kind that led to a state.
func find(all []eventLine, kind, to string) (n int) {
	for _, e := range all {
		if e.Kind == kind && e.To == to {
			n++
		}
	}
	return n
}

// TestEventsOnDisk: the history survives a kill and a line that was truncated by it, and
// can be read without a daemon. A full disk is logged once, and no event is lost by it.
func TestEventsOnDisk(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 1)
	lb := p.LB[0]
	folder := p.Path("lb1.state")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(folder, unix.MNT_DETACH) })
	one := lab.ServeLines(p.Real[0], ":80", "rs1")
	lab.ServeLines(p.Real[1], ":80", "rs2")
	lb.StartMaster(2)
	history := func() []eventLine {
		t.Helper()
		out, err := lb.LVSD("events", "--since", "1h", "--json", "-c", p.ConfigFile, "--director", "lb1")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if note, rest, ok := strings.Cut(out, "\n"); ok && strings.HasPrefix(note, "lvsd: the daemon is not running") {
			out = rest
		}
		return eventLines(t, out)
	}
	first := history()
	if find(first, "daemon", "running") != 1 || find(first, "vrrp", "master") != 1 || find(first, "health", "up") != 2 || find(first, "daemon", "checked") != 1 {
		t.Fatalf("the first run: %+v", first)
	}
	for i, e := range first {
		if e.Director != "lb1" || e.Reason == "" || e.Level == "" || i > 0 && e.ID <= first[i-1].ID {
			t.Errorf("event %d: %+v", i, e)
		}
	}

	lb.KillDaemon()
	files, _ := filepath.Glob(filepath.Join(folder, "events-*.jsonl"))
	if len(files) != 1 {
		t.Fatalf("files of the history: %q", files)
	}
	f, err := os.OpenFile(files[0], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, `{"id":1,"at":"20`)
	f.Close()
	if alone := history(); len(alone) != len(first) {
		t.Errorf("%d events without a daemon, want %d", len(alone), len(first))
	}

	lb.StartDaemon()
	lb.WaitState("master", 10*time.Second)
	follow := lb.Start(lvsdtest.Binary(t), "events", "-f", "--json", "--socket", lb.Socket)
	if _, err := follow.WaitOutput(10*time.Second, `"running"`); err != nil {
		t.Fatal(err)
	}

	full := filepath.Join(folder, "full")
	var room unix.Statfs_t
	if err := unix.Statfs(folder, &room); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, make([]byte, int64(room.Bfree)*room.Bsize), 0o600); err != nil {
		t.Fatal(err)
	}
	// More than a page of events, which do not fit into the last page of the file.
	address := p.Real[0].Addr().String() + ":80"
	for range 8 {
		one.Stop()
		lb.WaitWeight(address, 0, 10*time.Second)
		one.Start()
		lb.WaitWeight(address, 1, 10*time.Second)
	}
	problem := func() bool {
		s, err := lb.Status()
		return err == nil && strings.Contains(strings.Join(s.Problems, "\n"), "the event history cannot be written")
	}
	if !problem() {
		t.Error("the full disk is not in the status")
	}
	if got := lb.Metric("lvsd_events_dropped_total"); got != "0" {
		t.Errorf("%s events dropped", got)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	p.WaitUntil(10*time.Second, "the history to be written again", func() bool { return !problem() })
	if n := strings.Count(lb.Process.Output(), "the event history cannot be written"); n != 1 {
		t.Errorf("the full disk was logged %d times", n)
	}
	follow.Terminate()
	<-follow.Done()
	if n := find(eventLines(t, follow.Output()), "health", "down"); n != 8 {
		t.Errorf("-f printed %d failures, want 8", n)
	}
	lb.Process.Terminate()
	<-lb.Process.Done()
	all := history()
	if find(all, "daemon", "running") != 2 || find(all, "daemon", "stopped") != 1 || find(all, "health", "down") != 8 {
		t.Errorf("%d starts, %d stops, %d failures on disk, want 2, 1, 8", find(all, "daemon", "running"), find(all, "daemon", "stopped"), find(all, "health", "down"))
	}
	for i := range first {
		if all[i] != first[i] {
			t.Errorf("event %d was %+v, now %+v", i, first[i], all[i])
		}
	}
}
