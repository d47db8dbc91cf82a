package decision

import (
	"strings"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/config"
)

func TestSettled(t *testing.T) {
	since := time.Unix(1000, 0)
	seen := func(at time.Time) []checker.CheckHealth {
		return []checker.CheckHealth{{Type: probe.TypeConnect, Last: outcome.Result{At: at}}}
	}
	before, after := since.Add(-time.Second), since.Add(time.Second)
	for name, c := range map[string]struct {
		h    checker.Health
		want bool
	}{
		"nothing known":             {checker.Health{}, false},
		"up before the fault":       {checker.Health{State: checker.Up, Checks: seen(before)}, false},
		"up, seen again":            {checker.Health{State: checker.Up, Checks: seen(after)}, true},
		"down, seen again":          {checker.Health{State: checker.Down, Checks: seen(after)}, true},
		"down, about to come back":  {checker.Health{State: checker.Down, InARow: 1, Checks: seen(after)}, false},
		"one of two not seen again": {checker.Health{State: checker.Up, Checks: append(seen(after), seen(before)...)}, false},
		"on is never probed":        {checker.Health{State: checker.Up, Checks: []checker.CheckHealth{{Type: probe.TypeOn}}}, true},
	} {
		if got := verified(since, c.h); got != c.want {
			t.Errorf("%s: settled %v, want %v", name, got, c.want)
		}
	}
	services := []Service{{Servers: []RealServer{{}}}}
	if got := WaitsForChecks(after, since, services, nil); got != "waiting for the checks of 1 real server" {
		t.Errorf("an unknown server: %q", got)
	}
	if got := WaitsForChecks(since.Add(readinessLimit), since, services, nil); got != "" {
		t.Errorf("after the limit: %q", got)
	}
}

func TestWaitsForConnections(t *testing.T) {
	since := time.Unix(1000, 0)
	e := config.Instance{Name: "web", SyncHold: time.Minute}
	master := func(connections int) Peer {
		return Peer{Name: "lb1", Up: true, Connections: connections, Instances: map[string]PeerInstance{"web": {State: "master"}}}
	}
	away, silent, idle := master(100), master(-1), master(100)
	away.Up = false
	idle.Instances["web"] = PeerInstance{State: "backup"}
	for name, c := range map[string]struct {
		after time.Duration
		own   int
		peers []Peer
		want  string
	}{
		"no exchange":              {10 * time.Second, -1, nil, "waiting for connections, 50s of sync_hold left"},
		"no exchange, later":       {time.Minute, -1, nil, ""},
		"the master knows more":    {time.Second, 94, []Peer{master(100)}, "94 of the 100 of lb1 synchronised, 59s"},
		"nearly as many":           {time.Second, 95, []Peer{master(100)}, ""},
		"the master has none":      {time.Second, 0, []Peer{master(0)}, ""},
		"more, but the time is up": {time.Hour, 0, []Peer{master(100)}, ""},
		"its peer is away":         {time.Second, 100, []Peer{away}, "sync_hold left"},
		"its peer does not say":    {time.Second, 100, []Peer{silent}, "sync_hold left"},
		"its own are not known":    {time.Second, -1, []Peer{master(0)}, "sync_hold left"},
		"the peer is no master":    {time.Second, 100, []Peer{idle}, "sync_hold left"},
		"of three":                 {time.Second, 100, []Peer{idle, master(100)}, ""},
	} {
		if got := WaitsForConnections(since.Add(c.after), since, e, c.own, c.peers); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
