package status

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/table"
	"lvsd/cmd/internal/event"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

// Times of day are those of the golden files, in whatever time zone the tests run.
func init() { time.Local = time.UTC }

var now = time.Date(2026, 11, 26, 14, 30, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func intp(n int) *int { return &n }

func upServer(address string, weight int, active uint32) api.RealServerStatus {
	return api.RealServerStatus{Address: address, Forward: "dr", Weight: intp(weight), Desired: weight, Configured: weight, Health: "up", Since: ago(time.Hour),
		Why: fmt.Sprintf("weight %d in the file, line 30", weight), Active: active, Inactive: 3 * active,
		LastProbe: &api.Probe{At: ago(time.Second), Type: "http", Reason: "ok", Took: .00123}}
}

// well is a pair without a problem.
func wellPair() api.Status {
	return api.Status{
		Version: "v1.2", Director: "lb1", At: now, Started: ago(26 * time.Hour), Healthy: true, Problems: []string{},
		Config: api.ConfigStatus{File: "/etc/lvsd/lvsd.toml", Hash: "f16e6ac6aaa34098", LoadedAt: ago(time.Hour)},
		Peers: []api.PeerStatus{{Director: "lb2", Address: "10.0.0.13:8113", Up: true, Since: ago(time.Hour), At: now, Version: "v1.2", ConfigHash: "f16e6ac6aaa34098",
			Started: ago(2 * time.Hour), Ready: true, Problems: []string{}, ConfigMatches: true, VersionMatches: true,
			VRRP:        []api.PeerInstance{{Name: "web", State: "backup", Priority: 100}},
			Connections: &api.PeerConnections{Local: 12, Synced: 1234}, Servers: 3}},
		VRRP: []api.InstanceStatus{{Name: "web", Interface: "eth0", VRID: 51, State: "master", Since: ago(90 * time.Minute), Reason: "silence", Detail: "no advertisement received for 3.609 s",
			Priority: 200, HasVIPs: true, VirtualAddresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.88/32")}}},
		Services: []api.ServiceStatus{{Name: "web", Protocol: "tcp", Address: "10.0.0.88:80", Scheduler: "wlc", Up: true, AvailableWeight: 7, Quorum: 1,
			RealServers: []api.RealServerStatus{upServer("10.0.0.9:80", 2, 41), upServer("10.0.0.20:80", 5, 103)}}},
		IPVS: api.IPVSStatus{Up: true, Sync: &api.SyncStatus{Master: &api.SyncDaemonStatus{Interface: "eth0", ID: 51}, Backup: &api.SyncDaemonStatus{Interface: "eth0", ID: 51}}},
	}
}

// illPair has one of everything that can be shown.
func illPair() api.Status {
	s := wellPair()
	s.Healthy, s.Problems = false, []string{
		"service web: real server 10.0.0.20:80 is down: http refused, 3 of 3 (connection refused)",
		"service mail: quorum lost (available weight 0, quorum 1)",
		"director lb2 runs another configuration: 0123456789abcdef there, f16e6ac6aaa34098 here; make the files the same, then run lvsd reload",
		"director lb3 does not answer at 10.0.0.14:8113: connection refused: lvsd is not running there, or [peers] is not configured",
	}
	s.ProblemDetails = []api.Problem{{Service: "web"}, {Service: "mail"}, {Director: "lb2"}, {Director: "lb3"}, {Text: "IPVS"}}
	lb2 := &s.Peers[0]
	lb2.ConfigMatches, lb2.ConfigHash, lb2.ProblemCount, lb2.DirectorProblems, lb2.Problems = false, "0123456789abcdef", 12, 1, []string{"service web: quorum lost (available weight 0, quorum 1)", "vrrp web: fault: no carrier on eth0"}
	lb2.VRRP[0].State, lb2.WaitReason = "master", "waiting for the checks of 3 real servers"
	s.Peers = append(s.Peers, api.PeerStatus{Director: "lb3", Address: "10.0.0.14:8113", Since: ago(3 * time.Minute), Error: "connection refused: lvsd is not running there, or [peers] is not configured"})
	s.VRRP = append(s.VRRP, api.InstanceStatus{Name: "mail", Interface: "eth0", State: "backup", Since: ago(time.Minute), Detail: "handover requested by operator", Priority: 200, Standby: true, StandbyUntil: now.Add(time.Hour)},
		api.InstanceStatus{Name: "dns", Interface: "eth1", State: "backup", Since: ago(time.Minute), Priority: 200, Master: "10.0.0.13", MasterPriority: 100, WaitReason: "waiting for the checks of 1 real server",
			Tracked: []api.TrackedStatus{{What: "service web", Delta: -50}, {What: "interface eth9", Fault: true}}})
	s.Guard = &api.GuardStatus{Active: true, State: "frozen", Since: ago(time.Minute), Why: "9 of 10 servers failed at once", Witnesses: []api.WitnessStatus{{Address: "10.0.0.1", LastProbe: &api.Probe{Detail: "no answer"}}}}
	down := upServer("10.0.0.20:80", 5, 7)
	down.Weight, down.Desired, down.Health, down.Why = intp(0), 0, "down", "http refused, 3 of 3 (connection refused)"
	drained := upServer("10.0.0.21:80", 0, 12)
	drained.Draining, drained.DrainingSince = true, ago(11*time.Minute)
	drained.Why = "drained: weight 0 in the file, line 31"
	s.Services[0].RealServers = append(s.Services[0].RealServers[:1], down, drained)
	s.Services = append(s.Services, api.ServiceStatus{Name: "mail", Protocol: "fwmark", FWMark: 7, Scheduler: "sh", Quorum: 1,
		Fallback:    &api.FallbackStatus{Address: "127.0.0.1:25", Active: true, Since: ago(time.Minute), Weight: intp(1), Open: 2},
		RealServers: []api.RealServerStatus{{Address: "[2001:db8:1234:5678::9]:25", Configured: 1, Health: "unknown", Why: "waiting for the first health check"}}})
	s.IPVS.Draining = []api.DrainingStatus{{Service: "web", RealServer: "10.0.0.30:80", Since: ago(time.Minute), Deadline: now.Add(9 * time.Minute), Remaining: intp(4)}}
	return s
}

func someEvents() []event.Event {
	return []event.Event{
		{At: ago(time.Minute), Kind: event.KindQuorum, Level: event.Error, Service: "mail", From: "up", To: "down", Reason: "available weight 0"},
		{At: ago(2 * time.Minute), Kind: event.KindReload, Level: event.Error, To: "refused", Reason: "lvsd.toml:9:1: web: wrong\nlvsd.toml:10:1: more"},
		{At: ago(25 * time.Hour), Kind: event.KindVRRP, Level: event.Info, VRRP: "web", From: "backup", To: "master", Reason: "no advertisement received for 3.609 s"},
	}
}

// TestPages compares the output with golden files: wide and narrow terminals, and none.
func TestPages(t *testing.T) {
	for name, s := range map[string]api.Status{"well": wellPair(), "ill": illPair()} {
		for _, on := range []table.Screen{{}, {Width: 60}, {Width: 80}, {Width: 120}, {Width: 100, Color: true}} {
			got := Draw(on, Page{Status: s, Events: someEvents()})
			file := filepath.Join("testdata", fmt.Sprintf("page-%s-%d.txt", name, on.Width))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s (go test ./cmd/internal/cli/status -run TestPages -update rewrites it):\n%s", file, got)
			}
		}
	}
}

// TestTheKeptCopyStandsAboveEverything: the running configuration is not the file.
func TestTheKeptCopyStandsAboveEverything(t *testing.T) {
	s := illPair()
	s.Config.FromLastGood = true
	s.Problems = append([]string{"STARTED FROM THE KEPT COPY of what ran since yesterday"}, s.Problems...)
	lines := strings.Split(Draw(table.Screen{}, Page{Status: s}), "\n")
	if lines[0] != "! "+s.Problems[0] || !strings.HasPrefix(lines[1], "director lb1: ") || lines[2] != "! "+s.Problems[1] {
		t.Errorf("%q", lines[:3])
	}
}

// TestPagesFit: no line is wider than the screen, from 50 columns on.
func TestPagesFit(t *testing.T) {
	for width := 50; width < 160; width++ {
		for _, s := range []api.Status{wellPair(), illPair()} {
			for line := range strings.Lines(Draw(table.Screen{Width: width}, Page{Status: s, Events: someEvents(), Note: "some are not shown"})) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
					t.Fatalf("%d columns on %d: %q", n, width, line)
				}
			}
		}
	}
}

// many is a director with services of ten servers each, one of them down in every
// hundredth.
func many(services int) api.Status {
	s := wellPair()
	s.Services = nil
	for i := range services {
		svc := api.ServiceStatus{Name: fmt.Sprintf("s%d", i), Protocol: "tcp", Up: true, Quorum: 1}
		for j := range 10 {
			rs := upServer(fmt.Sprintf("10.1.%d.%d:80", i/10, i%10*10+j), 1, uint32(i))
			if i%100 == 7 && j == 3 {
				rs.Health, rs.Weight = "down", intp(0)
			}
			svc.RealServers = append(svc.RealServers, rs)
		}
		s.Services = append(s.Services, svc)
	}
	return s
}

func TestSelection(t *testing.T) {
	for name, c := range map[string]struct {
		Selection
		of                api.Status
		services, servers int
		first, note       string
	}{
		"few, all shown":       {Selection{}, illPair(), 2, 4, "web", ""},
		"few, only unhealthy":  {Selection{unhealthy: true}, illPair(), 2, 3, "web", "1 of 4 real servers are healthy and hidden"},
		"many, only unhealthy": {Selection{}, many(1000), 10, 10, "s7", "9990 of 10000 real servers are healthy and hidden (use --all or name a service)"},
		"many, all":            {Selection{all: true}, many(1000), 1000, 10000, "s0", ""},
		"one by name":          {Selection{Services: []string{"s9"}}, many(1000), 1, 10, "s9", ""},
		"one, only unhealthy":  {Selection{Services: []string{"s7"}, unhealthy: true}, many(1000), 1, 1, "s7", "9 of 10 real servers are healthy and hidden"},
		"by connections":       {Selection{all: true, sort: "connections"}, many(20), 20, 200, "s19", ""},
		"by health":            {Selection{all: true, sort: "health"}, many(20), 20, 200, "s7", ""},
		"by name":              {Selection{all: true, sort: "name"}, many(20), 20, 200, "s0", ""},
	} {
		s := c.of
		note, err := c.Apply(&s)
		if err != nil {
			t.Fatal(err)
		}
		servers := 0
		for _, svc := range s.Services {
			servers += len(svc.RealServers)
		}
		if len(s.Services) != c.services || servers != c.servers || s.Services[0].Name != c.first || note != c.note {
			t.Errorf("%s: %d services from %s on, %d servers, %q", name, len(s.Services), s.Services[0].Name, servers, note)
		}
	}
	s := illPair()
	if _, err := (Selection{Services: []string{"wbe"}}).Apply(&s); err == nil || !strings.Contains(err.Error(), "there are: web, mail") {
		t.Error(err)
	}
	s = many(20)
	if _, err := (Selection{Services: []string{"s7"}, sort: "health"}).Apply(&s); err != nil || s.Services[0].RealServers[0].Health != "down" {
		t.Errorf("%v, %+v first", err, s.Services[0].RealServers[0])
	}
}

func TestLastOf(t *testing.T) {
	var all []event.Event
	for i := range 20 {
		all = append(all, event.Event{ID: uint64(i), Service: []string{"web", "mail", ""}[i%3]})
	}
	if got := LastOf(all, nil); len(got) != shownEvents || got[0].ID != 19 {
		t.Errorf("%+v", got)
	}
	if got := LastOf(all, []string{"mail"}); len(got) != shownEvents || got[0].ID != 19 || got[1].ID != 16 {
		t.Errorf("%+v", got)
	}
	if got := LastOf(all, []string{"we"}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
