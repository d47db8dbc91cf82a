package director

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/cmd/internal/decision"
	"lvsd/config"
)

// sharing are two directors, one of which probes the only server.
func sharing() *config.Config {
	c := withElection(1, "")
	c.Director, c.Hash, c.Directors = "lb2", "h", []config.Director{{Name: "lb1"}, {Name: "lb2"}}
	c.Exchange = &config.Exchange{ProbeShare: true}
	c.Services[0].RealServers[0].Checks = []config.Check{{CheckSettings: &config.CheckSettings{Type: probe.TypeConnect, Interval: time.Second, Timeout: time.Second}}}
	return c
}

// current is the other directors while the director runs.
type current struct{ atomic.Pointer[exchange] }

func (c *current) Peers() []decision.Peer { return c.Load().Peers() }
func (c *current) OwnConnections() int    { return 0 }

// TestShare: the probes of a server are left to the peer that reports it up, and made here
// again when the peer does not reply.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One of the names is the one that probes the server: the other is this director.
		c := sharing()
		peer := decision.Peer{Name: "lb1", Up: true, Answers: true, Hash: "h", Probed: []byte{1}}
		up := func() map[checker.ID]checker.Health {
			return map[checker.ID]checker.Health{id: {State: checker.Up, Weight: 100,
				Checks: []checker.CheckHealth{{Type: probe.TypeConnect, Last: outcome.Result{At: time.Now(), Reason: outcome.OK}}}}}
		}
		if len(decision.Delegated(c, up(), time.Time{}, []decision.Peer{peer})) == 0 {
			c.Director, peer.Name = "lb1", "lb2"
		}
		var peers current
		peers.Store(&exchange{peer})
		r := newRig(t, c, func(p *Deps) { p.Peers = &peers })
		defer r.stop()
		r.table.read(kernelWith(1))
		r.Wake()
		synctest.Wait()
		delegations := func() []string {
			return slices.DeleteFunc(r.take(), func(s string) bool { return !strings.HasPrefix(s, "delegate") })
		}
		time.Sleep(time.Second) // of the bubble, as below: longer than any decision waits
		if got := delegations(); len(got) > 0 {
			t.Errorf("before the first result: %q", got)
		}
		r.checker.mu.Lock()
		r.checker.health = up()
		r.checker.mu.Unlock()
		r.Wake()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := delegations(); len(got) != 1 || !strings.Contains(got[0], peer.Name) || !strings.Contains(got[0], "every 10") {
			t.Errorf("up here and there: %q", got)
		}
		peer.Answers = false
		peers.Store(&exchange{peer})
		time.Sleep(shareInterval) // without a wake-up
		synctest.Wait()
		if got := delegations(); len(got) != 1 || got[0] != "delegate map[], every 10" {
			t.Errorf("the peer does not reply: %q", got)
		}
	})
}
