package operate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// The output of lvsd plan, compared with the changes that a reload makes to the kernel, as
// ipvsadm shows them.

// planned is what the tests read of lvsd plan --json.
type planned struct {
	Daemon   bool     `json:"daemon"`
	Differs  bool     `json:"differs"`
	Refused  []string `json:"refused"`
	Writes   int      `json:"kernel_writes"`
	Services []struct {
		Name        string   `json:"name"`
		Was         string   `json:"was"`
		Service     string   `json:"service"`
		Action      string   `json:"action"`
		Changes     []change `json:"changes"`
		RealServers []struct {
			Address     string   `json:"address"`
			Action      string   `json:"action"`
			Changes     []change `json:"changes"`
			InKernel    bool     `json:"in_kernel"`
			Weight      int      `json:"weight"`
			Connections struct {
				Active int `json:"active"`
			} `json:"connections"`
		} `json:"real_servers"`
		RestartedChecks int `json:"checks_anew"`
	} `json:"virtual_services"`
	Elections []struct {
		Name    string   `json:"name"`
		Action  string   `json:"action"`
		Changes []change `json:"changes"`
		Come    []string `json:"addresses_come"`
		Go      []string `json:"addresses_go"`
	} `json:"vrrp"`
	Settings []change `json:"settings"`
}

type change struct{ Field, From, To string }

// planOf requests a plan over the control socket, as lvsd plan does, but starts no
// process.
func planOf(d *lvsdtest.Director, text string) (p planned, err error) {
	resp, err := d.HTTP.Post("http://lvsd/control/v1/plan?file=lvsd.toml", "", strings.NewReader(text))
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	return p, json.NewDecoder(resp.Body).Decode(&p)
}

// farm generates random configurations of a few services and servers, so that two of them
// have much in common.
type farm struct {
	*rand.Rand
	p *lvsdtest.Pair
}

// pick returns one of all.
func (f farm) pick(all ...string) string { return all[f.IntN(len(all))] }

// file returns another configuration.
func (f farm) file() string {
	keys := []string{`address = "10.77.0.100:80"`, `address = "10.77.0.100:81"`, `address = "10.77.0.100:82"`,
		"address = \"10.77.0.100:53\"\nprotocol = \"udp\"", "fwmark = 7"}
	names := []string{"web", "api", "mail", "dns", "mark"}
	if f.IntN(3) == 0 { // two swap their names
		i, j := f.IntN(len(names)), f.IntN(len(names))
		names[i], names[j] = names[j], names[i]
	}
	var b strings.Builder
	for i, key := range keys {
		if f.IntN(4) == 0 {
			continue
		}
		forward := f.pick("dr", "nat", "tun")
		if key == "fwmark = 7" {
			forward = f.pick("dr", "tun")
		}
		fmt.Fprintf(&b, "[[virtual_service]]\nname = %q\n%s\nforward = %q\nscheduler = %q\n", names[i], key, forward, f.pick("rr", "wlc", "sh", "mh", "dh"))
		fmt.Fprintf(&b, "persistence = %q\ndrain_timeout = %q\n", f.pick("0s", "5m", "10m"), f.pick("0s", "0s", "0s", "0s", "0s", "0s", "0s", "1h"))
		if f.IntN(4) == 0 {
			fmt.Fprintf(&b, "on_failure = \"remove\"\n")
		}
		fmt.Fprintf(&b, "check = { type = \"on\" }\nreal_servers = [\n")
		for n := range 6 {
			if f.IntN(3) == 0 {
				continue
			}
			fmt.Fprintf(&b, "  { address = \"10.77.0.%d\", weight = %d, check = %s },\n", 21+n, f.IntN(4),
				f.pick(`{ type = "on" }`, `{ type = "on" }`, `{ type = "off" }`, f.silent()))
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// configurations is the number of configurations that are loaded.
const configurations = 20

// silent returns a check that does not end during the test, so that the health of the
// server stays unknown.
func (f farm) silent() string {
	return `{ type = "tcp", address = "10.77.0.2:9", interval = "1h", timeout = "1h", expect = "a word that never comes" }`
}

// savedLines returns the IPVS table as ipvsadm shows it: settings by service, and by
// service and server.
func savedLines(d *lvsdtest.Director) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(d.IPVSTable()) {
		f := strings.Fields(line) // -a -t 10.77.0.100:80 -r 10.77.0.21:80 -g -w 1
		key := map[string]string{"-t": "tcp ", "-u": "udp ", "-f": "mark "}[f[1]] + f[2]
		if f[0] == "-a" {
			key += " " + f[4]
			f = f[2:]
		}
		all[key] = strings.TrimSuffix(strings.Join(f[3:], " "), " --tun-type ipip") // the default
	}
	return all
}

// expect returns the table that the plan predicts.
func (p planned) expect(t *testing.T, before map[string]string) map[string]string {
	t.Helper()
	after := maps.Clone(before)
	for _, s := range p.Services {
		if s.Action == "remove" {
			for key := range after {
				if key == s.Service || strings.HasPrefix(key, s.Service+" ") {
					delete(after, key)
				}
			}
			continue
		}
		for _, c := range s.Changes {
			switch c.Field {
			case "settings", "scheduler", "scheduler_flags", "persistence":
				after[s.Service] = "changes"
			}
		}
		for _, rs := range s.RealServers {
			key := s.Service + " " + rs.Address
			if !rs.InKernel {
				delete(after, key)
				continue
			}
			forward := forwardOf(after[key])
			for _, c := range rs.Changes {
				if c.Field == "settings" || c.Field == "forward" {
					forward = map[string]string{"dr": "-g", "nat": "-m", "tun": "-i"}[strings.Fields(c.To)[0]]
				}
			}
			after[key] = fmt.Sprintf("%s -w %d", forward, rs.Weight)
		}
	}
	return after
}

// drains returns the entries that are removed when a drain has ended.
func (p planned) drains() (keys []string) {
	for _, s := range p.Services {
		if s.Action == "drain" {
			keys = append(keys, s.Service)
		}
		for _, rs := range s.RealServers {
			if rs.Action == "drain" {
				keys = append(keys, s.Service+" "+rs.Address)
			}
		}
	}
	return keys
}

// forwardOf returns the forwarding flag of a line of ipvsadm.
func forwardOf(saved string) string { forward, _, _ := strings.Cut(saved, " "); return forward }

// TestPlanMatchesReload loads random configurations. Each reload changes exactly what the
// plan predicts, value by value, and afterwards the plan is empty.
func TestPlanMatchesReload(t *testing.T) {
	p := lvsdtest.NewPair(t, 0)
	lb := p.LB[0]
	mute, err := p.Client.Listen("tcp", ":9") // accepts connections and sends nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := farm{rand.New(rand.NewPCG(seed, 0)), p}
	p.Services = f.file()
	for p.Services == "" {
		p.Services = f.file()
	}
	p.WriteConfig()
	lb.StartDaemon()
	lb.WaitState("master", 15*time.Second)
	waitApplied := func() { // everything is in the kernel, and no drain is left
		p.WaitUntil(10*time.Second, "nothing left to do", func() bool {
			status, err := lb.GetAPI("/api/v1/status")
			if err != nil || !strings.Contains(status, `"draining":[]`) {
				return false
			}
			now, err := planOf(lb, p.Config())
			return err == nil && !now.Differs && len(now.Refused) == 0
		})
	}
	waitApplied()
	changed := 0
	for i := range configurations {
		before := savedLines(lb)
		p.Services = f.file()
		p.WriteConfig()
		what, err := planOf(lb, p.Config())
		if err != nil || len(what.Refused) > 0 {
			t.Fatalf("file %d: %v %v\n%s", i, err, what.Refused, p.Config())
		}
		if d := cmp.Diff(before, savedLines(lb)); d != "" {
			t.Fatalf("a plan changed the kernel:\n%s", d)
		}
		if v, err := lb.PostAPI("/control/v1/reload"); err != nil || !v.OK {
			t.Fatalf("file %d: %v %v", i, err, v)
		}
		after, want := savedLines(lb), what.expect(t, before)
		for _, key := range what.drains() { // a drain without connections ends within a second or so
			if _, there := after[key]; !there {
				delete(want, key)
			}
		}
		for key, v := range want {
			if v == "changes" { // plan and ipvsadm print settings differently: compare only that it changed
				if after[key] == before[key] || after[key] == "" {
					t.Errorf("file %d: %s should change, but is %q", i, key, after[key])
				}
				want[key] = after[key]
			}
		}
		if d := cmp.Diff(want, after); d != "" {
			t.Fatalf("file %d (-planned +done):\n%s\nplan %+v\nbefore:\n%s", i, d, what, strings.Join(slices.Sorted(maps.Keys(before)), "\n"))
		}
		if len(want) > 0 && what.Writes > 0 {
			changed++
		}
		waitApplied()
	}
	if changed < configurations/2 {
		t.Errorf("only %d of %d files changed the kernel", changed, configurations)
	}
}

// TestPlanCommand: output and exit code of lvsd plan before a start, while the daemon
// runs, with a bad file, and without permission.
func TestPlanCommand(t *testing.T) {
	p := lvsdtest.NewPair(t, 3)
	p.ServeLines()
	lb := p.LB[0]
	p.Services = p.WebService(`{ type = "on" }`, 1, 1, 1)
	p.WriteConfig()
	plan := func(code int, flags ...string) string {
		t.Helper()
		out, err := lb.LVSD(append([]string{"plan", "-c", p.ConfigFile, "--director", "lb1"}, flags...)...)
		got := 0
		if err != nil {
			got = lvsdtest.ExitCode(err)
		}
		if got != code {
			t.Errorf("plan %v: exit code %d, want %d:\n%s", flags, got, code, out)
		}
		return out
	}

	// Before a start everything would be added, but nothing is.
	out := plan(3, "--exit-code")
	for _, want := range []string{"the daemon is not running: a start would", "SERVICE web tcp 10.77.0.100:80: added", "+ scheduler rr",
		"+ 10.77.0.21:80  dr weight 1", "VRRP web: starts", "net.ipv4.vs.expire_nodest_conn 0 → 1", "4 writes to the kernel's table"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b[") {
		t.Errorf("colour without a terminal:\n%q", out)
	}
	if table := lb.IPVSTable(); table != "" {
		t.Fatalf("a plan wrote:\n%s", table)
	}
	if _, err := os.Stat(p.Path("lb1.state")); !os.IsNotExist(err) {
		t.Errorf("a plan made state_dir: %v", err)
	}

	lb.StartMaster(3)
	if out := plan(0, "--exit-code"); !strings.Contains(out, "No changes.") {
		t.Errorf("after the start:\n%s", out)
	}

	// Connections for the plan to count: one to each server.
	var talks []*lab.Conversation
	for range p.Real {
		talks = append(talks, lab.Converse(p.Client, lvsdtest.VIPPort))
	}
	p.Services = lvsdtest.Replace(t, p.WebService(`{ type = "connect" }`, 1, 0, 3), "name = \"web\"", "name = \"shop\"")
	p.Services = lvsdtest.Replace(t, p.Services, "scheduler = \"rr\"", "scheduler = \"wlc\"\nquorum = 2")
	p.VRRPKeys = "preempt_delay = \"3s\""
	p.WriteConfig()
	out = plan(3, "--exit-code")
	for _, want := range []string{"is running: a reload would", "SERVICE web → shop tcp 10.77.0.100:80: changed", "renamed; its connections are kept",
		"~ scheduler rr → wlc", "~ quorum 1 → 2", "~ 10.77.0.22:80  weight 1 → 0", "~ check.type on → connect (3 real servers)",
		"the checks of 3 real servers are restarted", "VRRP web: updated in place, now master", "~ preempt_delay 0s → 3s", "weight 1 → 0, no new connections; 1 active, 0 inactive, 0 persistent continue", "no connections end"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var js planned
	if err := json.Unmarshal([]byte(plan(0, "--json")), &js); err != nil || !js.Daemon || !js.Differs || len(js.Services) != 1 || js.Services[0].Was != "web" {
		t.Errorf("%+v, %v", js, err)
	}

	// A renamed service keeps its connections.
	lb.MustReload()
	lb.WaitWeight("10.77.0.23:80", 3, 10*time.Second)
	for i, talk := range talks {
		if err := talk.Say(5 * time.Second); err != nil {
			t.Errorf("connection %d ended when its service was renamed: %v", i, err)
		}
	}
	if out := plan(0, "--exit-code"); !strings.Contains(out, "No changes.") {
		t.Errorf("after the reload:\n%s", out)
	}

	// Removing a server ends its connections; draining it first does not.
	services := p.Services
	p.Services = strings.ReplaceAll(services, `  { address = "10.77.0.23:80", weight = 3 },`+"\n", "")
	p.WriteConfig()
	if out := plan(0); !strings.Contains(out, "- 10.77.0.23:80  1 active, 0 inactive, 0 persistent END") || !strings.Contains(out, "; 1 active, 0 inactive, 0 persistent end") {
		t.Errorf("a removed server:\n%s", out)
	}
	p.Services = lvsdtest.Replace(t, p.Services, "quorum = 2", "drain_timeout = \"5m\"")
	p.WriteConfig()
	if out := plan(0); !strings.Contains(out, "- 10.77.0.23:80  weight 3 → 0, drains for 5m0s at most: 1 active") {
		t.Errorf("a drained server:\n%s", out)
	}
	p.Services = ""
	p.WriteConfig()
	if out := plan(0); !strings.Contains(out, "SERVICE shop tcp 10.77.0.100:80: removed") || !strings.Contains(out, "; 3 active, 0 inactive, 0 persistent end") {
		t.Errorf("a removed service:\n%s", out)
	}
	p.Services = services

	// Files that a reload would refuse.
	p.WriteConfigText(strings.ReplaceAll(p.Config(), `interface = "eth0"`, `interface = "eth9"`))
	if out := plan(1); !strings.Contains(out, "be REJECTED") || !strings.Contains(out, "eth9") {
		t.Errorf("a missing interface:\n%s", out)
	}
	p.WriteConfigText(p.Config() + "\n[nonsense]\n")
	if out := plan(1, "--exit-code"); !strings.Contains(out, "REJECTED") || !strings.Contains(out, "lvsd.toml:") || !strings.Contains(out, "nonsense") {
		t.Errorf("a bad file:\n%s", out)
	}
	if s, err := lb.Status(); err != nil || s.Config.ReloadError != "" || s.Services[0].Name != "shop" {
		t.Errorf("a plan changed the daemon: %+v, %v", s, err)
	}

	// The file names another socket than that of the running daemon.
	p.WriteConfigText(strings.ReplaceAll(p.Config(), lb.Socket, lb.Socket+"x"))
	if out := plan(1); !strings.Contains(out, "a running daemon uses state_dir") || !strings.Contains(out, "--socket") {
		t.Errorf("another socket:\n%s", out)
	}
	p.WriteConfig()
	if err := errors.Join(os.Chmod(filepath.Dir(p.ConfigFile), 0o755), os.Chmod(p.ConfigFile, 0o644)); err != nil {
		t.Fatal(err)
	}
	if out, err := lb.Run(t.Context(), "setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", lvsdtest.Binary(t), "plan", "-c", p.ConfigFile, "--director", "lb1"); lvsdtest.ExitCode(err) != 1 || !strings.Contains(out, "no permission") {
		t.Errorf("without permission: %v\n%s", err, out)
	}

	// Without a daemon the saved state of the last one counts: the quorum stays lost, and
	// the fallback in use.
	p.Services = lvsdtest.Replace(t, lvsdtest.Replace(t, services, `check = { type = "connect" }`, `check = { type = "off" }`), "scheduler = \"wlc\"", "scheduler = \"wlc\"\nfallback = \"127.0.0.1:80\"\npanic_threshold = 0")
	p.WriteConfig()
	lb.MustReload()
	lb.WaitWeight("127.0.0.1:80", 1, 30*time.Second)
	p.WaitUntil(30*time.Second, "the saved state", func() bool {
		text, err := os.ReadFile(p.Path("lb1.state", "decision"))
		return err == nil && strings.Contains(string(text), `"fallback":true`)
	})
	lb.KillDaemon()
	if err := json.Unmarshal([]byte(plan(0, "--json")), &js); err != nil || js.Daemon {
		t.Errorf("%+v, %v", js, err)
	}
	for _, s := range js.Services {
		if len(s.RealServers) > 0 {
			t.Errorf("a start would change the table of %s: %+v", s.Name, s.RealServers)
		}
	}
	before := lb.IPVSTable()
	lb.StartDaemon()
	lb.WaitWeight("127.0.0.1:80", 1, 30*time.Second)
	if after := lb.IPVSTable(); after != before {
		t.Errorf("the start changed the table:\n%s\nbefore:\n%s", after, before)
	}
}
