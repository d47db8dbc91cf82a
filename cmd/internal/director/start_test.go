package director

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/ipvs"
)

// At a start each server is written once, when it has a result, and one line of the log
// reports all; what fails has a line of its own.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := oneServer(5, func(s *config.Service) {
			s.RealServers = append(s.RealServers, config.RealServer{Address: server(2), Weight: 7, Forward: "dr"},
				config.RealServer{Address: server(3), Weight: 1, Forward: "dr"})
		})
		r := newRig(t, c, func(d *Deps) { d.Events.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		defer r.stop()
		health := func(states ...checker.State) {
			all := map[checker.ID]checker.Health{}
			for i, v := range states {
				all[checker.ID{Service: "web", RealServer: server(i + 1).String()}] = checker.Health{State: v, Weight: 100, Cause: "http refused"}
			}
			r.checker.mu.Lock()
			r.checker.health = all
			r.checker.mu.Unlock()
			r.Wake()
		}
		r.table.read(ipvs.Table{})
		health(checker.Unknown, checker.Unknown, checker.Unknown)
		r.saw(t, "commit", "check 10.0.1.1:80 known=false, 10.0.1.2:80 known=false, 10.0.1.3:80 known=false", "want ")
		health(checker.Unknown, checker.Up, checker.Unknown)
		r.saw(t, "want 10.0.1.2:80=7")
		health(checker.Down, checker.Up, checker.Unknown)
		r.saw(t, "want 10.0.1.1:80=0 10.0.1.2:80=7")
		health(checker.Down, checker.Up, checker.Up)
		r.saw(t, "want 10.0.1.1:80=0 10.0.1.2:80=7 10.0.1.3:80=1")
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="first health checks ended"`) ||
			!strings.Contains(got, "2 of 3 real servers are up, 1 down; 1 of 1 services have their quorum") {
			t.Errorf("logged:\n%s", got)
		}
		log.Reset()
		health(checker.Up, checker.Up, checker.Up)
		r.saw(t, "want 10.0.1.1:80=5 10.0.1.2:80=7 10.0.1.3:80=1")
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "weight of a real server changed") {
			t.Errorf("logged later:\n%s", got)
		}
	})
}

// While first results come in, a large configuration is decided again rarely, and at once
// when the last has come.
func TestStartGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := oneServer(5, func(s *config.Service) {
			s.RealServers = append(s.RealServers, config.RealServer{Address: server(2), Weight: 7, Forward: "dr"},
				config.RealServer{Address: server(3), Weight: 1, Forward: "dr"})
		})
		r := newRig(t, c)
		defer r.stop()
		health := func(states ...checker.State) {
			all := map[checker.ID]checker.Health{}
			for i, v := range states {
				all[checker.ID{Service: "web", RealServer: server(i + 1).String()}] = checker.Health{State: v, Weight: 100}
			}
			r.checker.mu.Lock()
			r.checker.health = all
			r.checker.mu.Unlock()
			r.Wake()
			synctest.Wait()
		}
		r.table.read(ipvs.Table{})
		health(checker.Unknown, checker.Unknown, checker.Unknown)
		r.saw(t, "commit", "check 10.0.1.1:80 known=false, 10.0.1.2:80 known=false, 10.0.1.3:80 known=false", "want ")
		at := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := r.take(); !slices.Equal(got, want) {
				t.Errorf("saw %q, want %q", got, want)
			}
		}
		r.start.took = time.Second // of a decision about many servers
		health(checker.Up, checker.Unknown, checker.Unknown)
		time.Sleep(gatherMost - time.Nanosecond) // of the bubble: the last moment without a decision
		at()
		time.Sleep(time.Nanosecond) // of the bubble: the decision is due
		at("want 10.0.1.1:80=5")
		r.start.took = time.Second
		health(checker.Up, checker.Up, checker.Unknown)
		at()
		health(checker.Up, checker.Up, checker.Up)
		at("want 10.0.1.1:80=5 10.0.1.2:80=7 10.0.1.3:80=1")
	})
}

// A first result that does not come is waited for startLimit long.
func TestStartEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withElection(5, ""))
		defer r.stop()
		r.checker.say(checker.Unknown)
		r.table.read(ipvs.Table{})
		r.Wake()
		r.saw(t, "commit", "check 10.0.1.1:80 known=false", "want ")
		time.Sleep(startLimit) // of the bubble: longer it does not wait for the first result
		r.saw(t, "want 10.0.1.1:80=0")
		var got []string
		for _, e := range r.deps.Events.Recent() {
			got = append(got, fmt.Sprintf("%s %s", e.Kind, e.To))
		}
		if want := []string{"quorum down", "daemon checked"}; !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
	})
}

// A reload ends a start: it does what lvsd plan showed, which waits for nothing.
func TestReloadEndsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withElection(5, ""))
		defer r.stop()
		r.checker.say(checker.Unknown)
		r.table.read(ipvs.Table{})
		r.Wake()
		r.saw(t, "commit", "check 10.0.1.1:80 known=false", "want ")
		r.next = withElection(3, "")
		if err := r.Reload(t.Context()).Refused; err != nil {
			t.Fatal(err)
		}
		r.saw(t, "commit", "want 10.0.1.1:80=0")
	})
}
