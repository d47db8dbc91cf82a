package preview

import (
	"flag"
	"lvsd/cmd/internal/instances"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
	"lvsd/vrrp"
)

var update = flag.Bool("update", false, "write what is printed into testdata")

const before = `
[[vrrp]]
name = "front"
interface = "eth0"
virtual_router_id = 51
addresses = ["10.0.0.88"]
[[vrrp]]
name = "back"
interface = "eth1"
virtual_router_id = 52
addresses = ["10.0.1.88"]
[[announce]]
name = "anycast"
addresses = ["192.0.2.80", "192.0.2.81"]
services = ["web"]
[[announce]]
name = "old"
addresses = ["192.0.2.83"]
services = ["web"]
[[virtual_service]]
name = "web"
address = "10.0.0.88:80"
scheduler = "rr"
check = { type = "http", path = "/healthz", headers = { Authorization = "secret" } }
real_servers = [{ address = "10.0.0.9:80", weight = 2 }, { address = "10.0.0.20:80" }, { address = "10.0.0.21:80" }]
[[virtual_service]]
name = "old"
address = "10.0.0.88:81"
real_servers = [{ address = "10.0.0.9:81" }]
`

const after = `
[global]
log_level = "debug"
[ipvs]
timeout_tcp = "20m"
[[vrrp]]
name = "front"
interface = "eth0"
virtual_router_id = 51
priority = 150
addresses = ["10.0.0.88", "10.0.0.89"]
[[vrrp]]
name = "back"
interface = "eth2"
virtual_router_id = 52
addresses = ["10.0.1.88"]
[[announce]]
name = "anycast"
addresses = ["192.0.2.80", "192.0.2.82"]
metric = { serving = 50 }
services = ["shop"]
[[announce]]
name = "new"
addresses = ["192.0.2.81"]
services = ["shop"]
[[virtual_service]]
name = "shop"
address = "10.0.0.88:80"
scheduler = "mh"
quorum = 2
drain_timeout = "5m"
check = { type = "http", path = "/", headers = { Authorization = "other" } }
real_servers = [{ address = "10.0.0.9:80", weight = 0 }, { address = "10.0.0.20:80", weight = 4 }, { address = "10.0.0.22:80", weight = 7 }]
`

// TestText: one plan with something of everything, as people read it.
func TestText(t *testing.T) {
	p := Build(something(t), nil, []string{"lvsd.toml:3:1: a warning"})
	p.Daemon, p.RunningHash = true, "0123456789abcdef"
	var b strings.Builder
	if err := Print(&b, p, false); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/plan.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if strings.Contains(b.String(), "secret") {
		t.Error("a header's value is shown")
	}
	var c strings.Builder
	if err := Print(&c, p, true); err != nil || !strings.Contains(c.String(), "\x1b[32m+\x1b[0m") {
		t.Errorf("no colour: %v", err)
	}
	plain := strings.NewReplacer(green, "", red, "", yellow, "", bold, "", "\x1b[0m", "").Replace(c.String())
	if d := cmp.Diff(b.String(), plain); d != "" {
		t.Errorf("with colour it says something else:\n%s", d)
	}
}

// something is a reload from before to after, with connections.
func something(t *testing.T) director.DryRun {
	t.Helper()
	load := func(text string) *config.Config {
		file, err := config.Parse("lvsd.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c, err := file.For("lb1")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	was, next := load(before), load(after)
	kernel := ipvstest.New()
	started, err := director.DryRunStart(was, kernel, ipvs.Owned{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	owned := ipvs.Owned{}
	table := started.Decided.Desired.Table
	for k, s := range table {
		stats := ipvs.ServiceStats{Destinations: map[netip.AddrPort]ipvs.DestinationStats{}}
		owned[k] = map[netip.AddrPort]struct{}{}
		for a, d := range s.Destinations {
			d.Weight = 1
			s.Destinations[a] = d
			owned[k][a] = struct{}{}
			stats.Destinations[a] = ipvs.DestinationStats{Active: 12, Inactive: 3, Persistent: 1}
		}
		kernel.SetStats(k, stats)
	}
	kernel.Change(func(t ipvs.Table) {
		for k, s := range table.Clone() {
			t[k] = s
		}
	})
	f, err := director.DryRunStart(next, kernel, owned, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Running, f.At = was, time.Unix(0, 0)
	f.Before = started.Decided
	f.Announced = []decision.Announcement{{Name: "anycast", Announced: true}, {Name: "old", Announced: true}}
	f.Instances = nil
	for i, e := range was.Instances {
		old, new := instances.EngineConfig(e, was), instances.EngineConfig(next.Instances[i], next)
		f.Instances = append(f.Instances, instances.Change{Name: e.Name, Old: &old, New: &new, Restarts: vrrp.NeedsRestart(old, new),
			Status: vrrp.Status{State: vrrp.Master, HasVIPs: true}})
	}
	return f
}

// TestAnotherVersion: the plan of a master whose version changes says that its peer does not
// understand it until it has reloaded as well.
func TestAnotherVersion(t *testing.T) {
	for from, to := range map[uint8]uint8{3: 2, 2: 3, 0: 0} {
		f := something(t)
		old, new := *f.Instances[0].Old, *f.Instances[0].Old
		old.Version, new.Version, new.VRID = from, to, old.VRID+1
		f.Instances = []instances.Change{{Name: old.Name, Old: &old, New: &new, Restarts: vrrp.NeedsRestart(old, new), Status: vrrp.Status{State: vrrp.Master, HasVIPs: true}}}
		got := Build(f, nil, nil).Instances[0]
		if warned := strings.Contains(got.Takeover, "another version refuse its adverts"); got.Action != Restart || warned != (from != to) {
			t.Errorf("version %d to %d: %+v", from, to, got)
		}
	}
}
