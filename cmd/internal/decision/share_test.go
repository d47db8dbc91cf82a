package decision

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/config"
)

// sharers are directors that share the probes of servers: each knows what the others
// reported last.
type sharers struct {
	now time.Time
	all []*sharer
}

type sharer struct {
	name      string
	config    *config.Config
	health    map[checker.ID]checker.Health
	delegated map[checker.ID]string
	silent    bool
	peers     map[string]Peer
}

// newSharers makes n directors with this number of servers, all of which each has found
// up.
func newSharers(n, servers int) *sharers {
	s := &sharers{now: time.Unix(1000, 0)}
	svc := config.Service{Name: "web"}
	for i := range servers {
		svc.RealServers = append(svc.RealServers, config.RealServer{
			Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80),
			Checks:  []config.Check{{CheckSettings: &config.CheckSettings{Type: probe.TypeConnect, Interval: 2 * time.Second, Timeout: time.Second}}},
		})
	}
	for i := range n {
		one := &sharer{name: fmt.Sprint("lb", i+1), health: map[checker.ID]checker.Health{}, peers: map[string]Peer{}}
		one.config = &config.Config{Director: one.name, Hash: "h", Services: []config.Service{svc}, Exchange: &config.Exchange{ProbeShare: true}}
		for _, rs := range svc.RealServers {
			one.health[ServerID(svc, rs)] = checker.Health{State: checker.Up, Weight: 100,
				Checks: []checker.CheckHealth{{Type: probe.TypeConnect, Last: outcome.Result{At: s.now, Reason: outcome.OK}}}}
		}
		s.all = append(s.all, one)
	}
	return s
}

// ask makes one director request another's state.
func (s *sharers) ask(a, b *sharer) {
	if b.silent || a.silent {
		a.peers[b.name] = Peer{Name: b.name, Up: true, Hash: a.peers[b.name].Hash, Probed: a.peers[b.name].Probed}
		return
	}
	a.peers[b.name] = Peer{Name: b.name, Up: true, Answers: true, Hash: b.config.Hash, Probed: Probed(b.config, b.health, s.now)}
}

// decide lets one director decide, and its checker follow.
func (s *sharers) decide(a *sharer) {
	var peers []Peer
	for _, p := range a.peers {
		peers = append(peers, p)
	}
	a.delegated = Delegated(a.config, a.health, time.Time{}, peers)
	for id, h := range a.health {
		h.ProbedBy = a.delegated[id]
		a.health[id] = h
	}
}

// round lets all ask each other and decide, in any order.
func (s *sharers) round(r *rand.Rand) {
	var steps []func()
	for _, a := range s.all {
		for _, b := range s.all {
			if a != b {
				steps = append(steps, func() { s.ask(a, b); s.decide(a) })
			}
		}
	}
	r.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	for _, f := range steps {
		f()
	}
}

// probers counts the directors that reply and probe each server.
func (s *sharers) probers() map[checker.ID]int {
	n := map[checker.ID]int{}
	for _, a := range s.all {
		for id := range a.health {
			if a.delegated[id] == "" && !a.silent {
				n[id]++
			}
		}
	}
	return n
}

// counts returns how many servers have this number of probers.
func (s *sharers) counts() map[int]int {
	c := map[int]int{}
	for _, n := range s.probers() {
		c[n]++
	}
	return c
}

// TestShared: each of 600 servers is probed by one director after two rounds, about as many
// by each; for each of its servers a director that stops replying is replaced by another
// one, and the rest keep theirs; when it is back it has its own again.
func TestShared(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{2, 3, 8} {
		s := newSharers(n, 600)
		if c := s.counts(); c[n] != 600 {
			t.Fatalf("%d directors, before they know each other: %v", n, c)
		}
		for range 3 {
			s.round(r)
		}
		if c := s.counts(); c[1] != 600 {
			t.Fatalf("%d directors: probers: %v", n, c)
		}
		for _, a := range s.all {
			if own := 600 - len(a.delegated); own < 600/n*3/4 || own > 600/n*5/4 {
				t.Errorf("%s of %d probes %d servers", a.name, n, own)
			}
		}
		before := map[checker.ID]string{}
		for id := range s.all[0].health {
			before[id] = s.owner(id)
		}
		s.all[1].silent = true
		for range 3 {
			s.round(r)
		}
		if c := s.counts(); c[1] != 600 {
			t.Errorf("%d directors, one silent: probers: %v", n, c)
		}
		for id, was := range before {
			if is := s.owner(id); was != "lb2" && is != was {
				t.Errorf("%v moved from %s to %s, and lb2 fell silent", id, was, is)
			}
		}
		s.all[1].silent = false
		for range 3 {
			s.round(r)
		}
		for id, was := range before {
			if is := s.owner(id); is != was {
				t.Errorf("%v is probed by %s, not by %s, after lb2 came back", id, is, was)
			}
		}
	}
}

// owner is the first director that replies and probes a server.
func (s *sharers) owner(id checker.ID) string {
	i := slices.IndexFunc(s.all, func(a *sharer) bool { return !a.silent && a.delegated[id] == "" })
	if i < 0 {
		return ""
	}
	return s.all[i].name
}

// TestSharedWhenNotSteady: a server that its director does not find steadily up, or of
// whose director no current report is there, is probed by all.
func TestSharedWhenNotSteady(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := newSharers(3, 20)
	for range 3 {
		s.round(r)
	}
	svc := s.all[0].config.Services[0]
	set := func(a *sharer, id checker.ID, f func(*checker.Health)) {
		h := a.health[id]
		f(&h)
		a.health[id] = h
	}
	find := func(name string) *sharer {
		return s.all[slices.IndexFunc(s.all, func(a *sharer) bool { return a.name == name })]
	}
	id := ServerID(svc, svc.RealServers[7])
	by := find(s.owner(id))
	steady := by.health[id]
	for what, f := range map[string]func(*checker.Health){
		"down":                 func(h *checker.Health) { h.State = checker.Down },
		"unknown":              func(h *checker.Health) { h.State = checker.Unknown },
		"a failure is counted": func(h *checker.Health) { h.InARow = 1 },
		"unchecked":            func(h *checker.Health) { h.UncheckedSince = s.now },
		"an agent's report":    func(h *checker.Health) { h.Weight = 50 },
		"maintenance":          func(h *checker.Health) { h.Maint = true },
		"drain":                func(h *checker.Health) { h.Drain = true },
		"probes are late": func(h *checker.Health) {
			h.Checks = []checker.CheckHealth{{Type: probe.TypeConnect, Last: outcome.Result{At: s.now.Add(-6 * time.Second), Reason: outcome.OK}}}
		},
	} {
		set(by, id, f)
		s.round(r)
		s.round(r)
		if n := s.probers()[id]; n != 3 {
			t.Errorf("%s: %d directors probe it", what, n)
		}
		by.health[id] = steady
		for range 3 {
			s.round(r)
		}
		if n := s.probers()[id]; n != 1 {
			t.Errorf("after %s: %d directors probe it", what, n)
		}
	}
	other := s.all[0]
	if other == by {
		other = s.all[1]
	}
	set(other, id, func(h *checker.Health) { h.InARow = 1 })
	s.round(r)
	if other.delegated[id] != "" {
		t.Error("what this director does not find up is left to another one")
	}
	set(other, id, func(h *checker.Health) { h.InARow = 0 })

	by.config.Hash = "another"
	for range 3 {
		s.round(r)
	}
	if n := s.probers()[id]; n != 2 {
		t.Errorf("another configuration: %d directors probe it, want that one and one of the others", n)
	}
}

// TestNotShared: without probe_share, and of probes that test the director's own
// forwarding or probe nothing.
func TestNotShared(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for what, f := range map[string]func(*config.Config){
		"without probe_share": func(c *config.Config) { c.Exchange.ProbeShare = false },
		"without exchange":    func(c *config.Config) { c.Exchange = nil },
		"through":             func(c *config.Config) { eachCheck(c, func(k *config.Check) { k.Through = true }) },
		"on":                  func(c *config.Config) { eachCheck(c, func(k *config.Check) { k.Type = probe.TypeOn }) },
	} {
		s := newSharers(3, 20)
		for _, a := range s.all {
			f(a.config)
		}
		for range 3 {
			s.round(r)
		}
		if c := s.counts(); c[3] != 20 {
			t.Errorf("%s: probers: %v", what, c)
		}
	}
}

func eachCheck(c *config.Config, f func(*config.Check)) {
	for i := range c.Services[0].RealServers {
		f(&c.Services[0].RealServers[i].Checks[0])
	}
}

// TestSharedGuard: probes of others say nothing about this director's path: with half of
// the servers left to others, the failure of the rest is a mass failure.
func TestSharedGuard(t *testing.T) {
	c := oneServer(1, func(s *config.Service) {
		for n := 2; n <= 4; n++ {
			s.RealServers = append(s.RealServers, config.RealServer{Address: server(n), Weight: 1})
		}
	})
	c.Guard = &config.Guard{Witnesses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Share: 60}
	now := time.Unix(1000, 0)
	health := map[checker.ID]checker.Health{}
	for i, rs := range c.Services[0].RealServers {
		h := checker.Health{State: checker.Up, Weight: 100, Checks: []checker.CheckHealth{{Type: probe.TypeConnect, State: checker.Up, Last: outcome.Result{At: now, Reason: outcome.OK}}}}
		if i >= 2 {
			h.ProbedBy = "lb2"
		}
		health[ServerID(c.Services[0], rs)] = h
	}
	g := Guard{}.next(now, c, health)
	later := now.Add(2 * time.Second)
	for id, h := range health {
		if h.ProbedBy == "" {
			h.State = checker.Down
			h.Checks = []checker.CheckHealth{{Type: probe.TypeConnect, State: checker.Down, Last: outcome.Result{At: later, Reason: outcome.Timeout}}}
			health[id] = h
		}
	}
	if g = g.next(later, c, health); g.State != GuardProbing {
		t.Errorf("%s", g.State)
	}
}
