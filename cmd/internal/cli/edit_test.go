package cli

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/operate"
	"lvsd/cmd/internal/configfile"
	"lvsd/cmd/internal/peers"
	"lvsd/config"
)

const editedFile = `[[director]]
name = "lb1"
[[director]]
name = "lb2"
[[vrrp]]
name = "web"
interface = "eth0"
virtual_router_id = 51
priority = { lb1 = 200, lb2 = 100 }
addresses = ["10.0.0.88"]

[[virtual_service]]
name = "web"
address = "10.0.0.88:80"
real_servers = [
  { address = "10.0.0.9:80", weight = 2 }, # the old one
  { address = "10.0.0.20:80", weight = 5 },
]
`

// fakeDaemon serves a control socket. Each reload applies the file, or is refused.
type fakeDaemon struct {
	file, socket string
	running      *config.File
	refuses      string
	peers        []api.PeerDrain
	edits        []api.PeerEdit
	reloads      int
}

func newFakeDaemon(t *testing.T) *fakeDaemon {
	t.Helper()
	d := &fakeDaemon{file: filepath.Join(t.TempDir(), "lvsd.toml"), socket: filepath.Join(t.TempDir(), "socket")}
	d.write(t, editedFile)
	d.running = d.parse(t)
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	reply := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		c, err := d.running.For("lb1")
		if err != nil {
			t.Error(err)
			return
		}
		s := api.Status{Config: api.ConfigStatus{File: d.file, Hash: d.running.Hash}}
		for _, svc := range c.Services {
			x := api.ServiceStatus{Name: svc.Name}
			for _, r := range svc.RealServers {
				x.RealServers = append(x.RealServers, api.RealServerStatus{Address: r.Address.String(), Configured: r.Weight, Draining: r.Weight == 0 || !r.DrainUntil.IsZero()})
			}
			s.Services = append(s.Services, x)
		}
		reply(w, s)
	})
	mux.HandleFunc("/control/v1/reload", func(w http.ResponseWriter, _ *http.Request) {
		d.reloads++
		if d.refuses != "" {
			reply(w, api.ReloadResult{Hash: d.running.Hash, Errors: []string{d.refuses}})
			return
		}
		d.running = d.parse(t)
		reply(w, api.ReloadResult{OK: true, Hash: d.running.Hash})
	})
	mux.HandleFunc("/control/v1/peers/drain", func(w http.ResponseWriter, _ *http.Request) { reply(w, d.peers) })
	mux.HandleFunc("POST /control/v1/peers/edit", func(w http.ResponseWriter, r *http.Request) {
		var e api.PeerEdit
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		d.edits = append(d.edits, e)
		reply(w, []api.PeerEdited{{Director: "lb2", Error: "[peers] edits is not true there"}})
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return d
}

func (d *fakeDaemon) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(d.file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func (d *fakeDaemon) parse(t *testing.T) *config.File {
	t.Helper()
	f, err := (&configfile.Source{Path: d.file}).Parse()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// is fails unless the file has this text and its mode.
func (d *fakeDaemon) is(t *testing.T, want string) {
	t.Helper()
	text, err := os.ReadFile(d.file)
	if err != nil || string(text) != want {
		t.Errorf("%v: the file is\n%s\nwant\n%s", err, text, want)
	}
	if info, err := os.Stat(d.file); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if all, _ := filepath.Glob(filepath.Join(filepath.Dir(d.file), ".*")); len(all) > 0 {
		t.Errorf("left behind: %q", all)
	}
}

func (d *fakeDaemon) ran(t *testing.T, line string) (code int, out, errOut string) {
	t.Helper()
	return ran(t, append(strings.Fields(line), "-c", d.file, "--director", "lb1", "--socket", d.socket)...)
}

// TestDrainAndUndrain: the file is edited, the diff shown, the daemon reloaded, and the
// director named that has another value.
func TestDrainAndUndrain(t *testing.T) {
	d := newFakeDaemon(t)
	d.peers = []api.PeerDrain{{Director: "lb2", Drain: &peers.Drain{Found: true, Configured: 2}}}
	drained := strings.Replace(editedFile, "weight = 2 }", "weight = 2, drain = true }", 1)
	code, out, errOut := d.ran(t, "drain web 10.0.0.9:80 --dry-run")
	diff := "--- " + d.file + "\n+++ " + d.file + "\n@@ -14,5 +14,5 @@\n" +
		" address = \"10.0.0.88:80\"\n real_servers = [\n-  { address = \"10.0.0.9:80\", weight = 2 }, # the old one\n" +
		"+  { address = \"10.0.0.9:80\", weight = 2, drain = true }, # the old one\n   { address = \"10.0.0.20:80\", weight = 5 },\n ]\n"
	if code != command.Done || out != diff || d.reloads != 0 {
		t.Errorf("exit code %d, %d reloads, stderr %q\n%s\nwant\n%s", code, d.reloads, errOut, out, diff)
	}
	d.is(t, editedFile)
	code, out, errOut = d.ran(t, "drain web 10.0.0.9:80")
	want := diff + "reloaded; running configuration " + d.running.Hash + "\nlb2 still has weight 2 for it: make the same change there\n"
	if code != command.Done || out != want || d.reloads != 1 {
		t.Errorf("exit code %d, %d reloads, stderr %q\n%s\nwant\n%s", code, d.reloads, errOut, out, want)
	}
	d.is(t, drained)
	if code, out, _ := d.ran(t, "drain web 10.0.0.9:80"); code != command.Done || !strings.HasPrefix(out, "no change: the file has this value already") || d.reloads != 1 {
		t.Errorf("exit code %d, %d reloads\n%s", code, d.reloads, out)
	}
	if code, out, _ := d.ran(t, "weight web 10.0.0.9:80 4 --dry-run"); code != command.Done || !strings.HasSuffix(out, "10.0.0.9:80 is drained, whatever its weight: lvsd undrain web 10.0.0.9:80 ends that\n") {
		t.Errorf("the weight of a drained server: exit code %d\n%s", code, out)
	}
	code, out, _ = d.ran(t, "undrain web 10.0.0.9:80 --json")
	var v operate.Edited
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != command.Done || !v.Reloaded || v.Drained || len(v.Files) != 1 || len(v.Peers) != 1 || !v.Peers[0].Matches {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
	d.is(t, editedFile)
	before := d.running.Hash
	code, out, _ = d.ran(t, "weight web 10.0.0.9:80 9 --peers")
	if len(d.edits) != 1 || d.edits[0].Do != "weight" || d.edits[0].Weight != 9 || d.edits[0].Before != before || d.edits[0].RealServer != "10.0.0.9:80" ||
		code != command.Done || !strings.HasSuffix(out, "lb2: [peers] edits is not true there\n") {
		t.Errorf("exit code %d, asked %+v\n%s", code, d.edits, out)
	}
}

// TestEditsAreRefused: nothing is written where the file differs from what runs, and the
// file is restored where the reload is refused.
func TestEditsAreRefused(t *testing.T) {
	d := newFakeDaemon(t)
	d.refuses = "no such thing"
	if code, out, errOut := d.ran(t, "weight web 10.0.0.9:80 7"); code != command.Failed || !strings.Contains(errOut, "no such thing\nthe reload was rejected; the file is restored") || !strings.Contains(out, "weight = 7") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	d.is(t, editedFile)
	d.refuses = ""
	other := strings.Replace(editedFile, "weight = 5", "weight = 6", 1)
	d.write(t, other)
	if code, out, errOut := d.ran(t, "weight web 10.0.0.9:80 7"); code != command.Failed || out != "" || !strings.Contains(errOut, "--force") || d.reloads != 1 {
		t.Errorf("exit code %d, %d reloads\n%s%s", code, d.reloads, out, errOut)
	}
	d.is(t, other)
	if code, out, errOut := d.ran(t, "weight web 10.0.0.9:80 7 --force"); code != command.Done || d.reloads != 2 || !strings.Contains(out, "were not queried") {
		t.Errorf("exit code %d, %d reloads\n%s%s", code, d.reloads, out, errOut)
	}
	d.is(t, strings.Replace(other, "weight = 2", "weight = 7", 1))
	for line, want := range map[string]string{
		"weight web 10.0.0.9:80 x": "not a number", "weight web 10.0.0.9:80 65536": "0 to 65535", "weight web 10.0.0.99:80 1": "no real server",
		"drain web 10.0.0.9:80 --until tomorrow": "duration", "drain web 10.0.0.9:80 --until 2020-01-01T00:00:00Z": "in the past",
	} {
		if code, _, errOut := d.ran(t, line); code == command.Done || !strings.Contains(errOut, want) {
			t.Errorf("%s: exit code %d: %s", line, code, errOut)
		}
	}
}
