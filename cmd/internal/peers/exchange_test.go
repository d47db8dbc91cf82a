package peers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"lvsd/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pairOf is two directors that run.
func pairOf(t *testing.T) (*lan, *side, *side) {
	l := newLAN()
	one, two := newSide(t, l, "lb1", goodKey, "lb2"), newSide(t, l, "lb2", goodKey, "lb1")
	run(t, one, two)
	after(10 * time.Millisecond)
	return l, one, two
}

// TestEachKnowsTheOther: the state of one is shown by the other within a second.
func TestEachKnowsTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, two := pairOf(t)
		two.become(func(s *State) {
			s.WaitReason = "waiting for the checks of 3 real servers"
			s.Connections = &Connections{Local: 3, Synced: 4}
			s.Instances = []Instance{{Name: "web", State: "master", Priority: 100, HasVIPs: true, Standby: true}}
		})
		after(interval + selfTTL)
		p := one.peer()
		if !p.Up || p.Error != "" || p.Name != "lb2" || p.State.Director != "lb2" || p.State.Ready() || p.State.Connections.Total() != 7 {
			t.Errorf("%+v", p)
		}
		if e := p.State.Instances; len(e) != 1 || !e[0].HasVIPs || !e[0].Standby || e[0].State != "master" {
			t.Errorf("%+v", e)
		}
		if p.Differences.Config || p.Differences.Version || p.HealthCount != 0 || p.ClockDiffers() {
			t.Errorf("%+v", p.Differences)
		}
		if time.Since(p.At) > interval {
			t.Errorf("its answer is %v old", time.Since(p.At))
		}
		one.wantChanges("lb2 >up")
		two.wantChanges("lb1 >up")
		if d, err := one.RequestDrain(t.Context(), "lb2", "web", "10.0.0.9:80"); err != nil || !d.Found || d.Active != 7 {
			t.Errorf("%+v, %v", d, err)
		}
		if _, err := one.RequestDrain(t.Context(), "lb9", "web", ""); err == nil {
			t.Error("it asks a director that is not there")
		}
	})
}

// TestSilence: a peer that stops replying is reported as down after five seconds, once,
// and its last state is kept; it is up with its first reply.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, one, two := pairOf(t)
		one.takeChanges()
		l.silence(two.address, true)
		began := time.Now()
		for one.peer().Up {
			if time.Since(began) > time.Minute {
				t.Fatal("it is up for ever")
			}
			after(100 * time.Millisecond)
		}
		if took := time.Since(began); took < peerTimeout-interval || took > peerTimeout+2*requestTimeout+interval {
			t.Errorf("away after %v", took)
		}
		if p := one.peer(); !strings.Contains(p.Error, "no reply within") || p.State.Hash != "abc" {
			t.Errorf("%+v", p)
		}
		after(time.Minute)
		one.wantChanges("lb2 up>down")
		l.silence(two.address, false)
		after(2*requestTimeout + interval)
		one.wantChanges("lb2 down>up")
	})
}

// TestNeverThere: a peer that is not there from the start is reported once, with why.
func TestNeverThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := newSide(t, newLAN(), "lb1", goodKey, "lb2")
		run(t, one)
		after(peerTimeout - interval)
		if p := one.peer(); p.Up || p.Unreachable(time.Now()) || !strings.Contains(p.Error, "connection refused") {
			t.Errorf("%+v", p)
		}
		one.wantChanges()
		after(time.Minute)
		one.wantChanges("lb2 >down")
	})
}

// TestDifferences: each is reported once, and its end once.
func TestDifferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, two := pairOf(t)
		one.takeChanges()
		for _, c := range []struct {
			what   string
			change func(*State)
			differ func(Peer) bool
		}{
			{"configuration", func(s *State) { s.Hash = "def" }, func(p Peer) bool { return p.Differences.Config }},
			{"version", func(s *State) { s.Version = "2" }, func(p Peer) bool { return p.Differences.Version }},
		} {
			var was State
			two.become(func(s *State) { was = *s; c.change(s) })
			after(2 * interval)
			one.wantChanges("lb2 >" + c.what + " differs")
			if !c.differ(one.peer()) {
				t.Errorf("no difference of the %s: %+v", c.what, one.peer().Differences)
			}
			two.become(func(s *State) { *s = was })
			after(2 * interval)
			one.wantChanges("lb2 " + c.what + " differs>" + c.what + " matches")
			if c.differ(one.peer()) {
				t.Errorf("still a difference of the %s", c.what)
			}
		}
	})
}

// TestHealthDiffers: only for longer than the checks take to find the same, here
// 3 × 2 s + 1 s and two rounds; a weight that the file explains is none.
func TestHealthDiffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, two := pairOf(t)
		one.takeChanges()
		two.become(func(s *State) { s.Health = health("down", 0) })
		after(9 * time.Second)
		one.wantChanges()
		if n := one.peer().HealthCount; n != 0 {
			t.Errorf("%d differ at once", n)
		}
		after(3 * time.Second)
		one.wantChanges("lb2 >health differs")
		if text := one.peer().HealthText(); text != "10.0.0.9:80 of web is up at weight 1 here and down at weight 0 there" {
			t.Error(text)
		}
		two.become(func(s *State) { s.Health = health("up", 1) })
		after(2 * interval)
		one.wantChanges("lb2 health differs>health matches")

		two.become(func(s *State) { s.Health, s.Hash = health("up", 5), "def" })
		after(time.Minute)
		one.wantChanges("lb2 >configuration differs")
		if n := one.peer().HealthCount; n != 0 {
			t.Errorf("%d weights differ besides the configuration", n)
		}
		two.become(func(s *State) { s.Hash = "abc" })
		after(time.Minute)
		one.wantChanges("lb2 configuration differs>configuration matches", "lb2 >health differs")
	})
}

// TestManyServers: many servers are sent as a digest, and in full on request;
// differences are found anyway.
func TestManyServers(t *testing.T) {
	many := func(down int) Health {
		svc := ServiceHealth{Name: "web"}
		for i := range 2 * maxHealth {
			s := ServerHealth{Address: fmt.Sprintf("10.1.%d.%d:80", i/250, i%250), Health: "up", Weight: 1}
			if i < down {
				s.Health, s.Weight = "down", 0
			}
			svc.Servers = append(svc.Servers, s)
		}
		return NewHealth([]ServiceHealth{svc})
	}
	synctest.Test(t, func(t *testing.T) {
		_, one, two := pairOf(t)
		one.become(func(s *State) { s.Health = many(0) })
		two.become(func(s *State) { s.Health = many(0) })
		after(3 * interval)
		if h := one.peer().State.Health; h.Services != nil || h.Servers != 2*maxHealth {
			t.Errorf("%d servers, %d of them listed", h.Servers, len(h.Services))
		}
		two.become(func(s *State) { s.Health = many(50) })
		after(time.Minute)
		p := one.peer()
		if p.HealthCount != 50 || len(p.Health) != maxDifferences || p.State.Health.Down != 50 {
			t.Errorf("%d differ, %d are kept, %d are down", p.HealthCount, len(p.Health), p.State.Health.Down)
		}
	})
}

// TestWrongKey: neither is up, each reports why, the server counts.
func TestWrongKey(t *testing.T) {
	for key, want := range map[string]string{
		"1 fedcba9876543210\n": "a different secret with the same number",
		"2 0123456789abcdef\n": "no key with the number",
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLAN()
			one, two := newSide(t, l, "lb1", goodKey, "lb2"), newSide(t, l, "lb2", key, "lb1")
			run(t, one, two)
			after(time.Minute)
			for _, s := range []*side{one, two} {
				if p := s.peer(); p.Up || !strings.Contains(p.Error, want) || !p.At.IsZero() {
					t.Errorf("%s: %+v", s.name, p)
				}
				n := s.Refused()["proof"] + s.Refused()["key"]
				if n < 30 {
					t.Errorf("%s counted %v", s.name, s.Refused())
				}
				s.wantChanges(map[string]string{"lb1": "lb2", "lb2": "lb1"}[s.name] + " >down")
			}
		})
	}
}

// TestKeysAreChangedInSteps: no step of docs/vrrp-authentication.md loses the peer.
func TestKeysAreChangedInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, two := pairOf(t)
		const old, next = "1 0123456789abcdef\n", "2 fedcba9876543210\n"
		for _, text := range []string{old + next, next + old, next} {
			for _, s := range []*side{one, two} {
				s.writeKey(text)
				s.reload()
				after(3 * interval)
				for _, s := range []*side{one, two} {
					if p := s.peer(); !p.Up || p.Error != "" {
						t.Errorf("%s, with %q: %+v", s.name, text, p)
					}
				}
			}
		}
	})
}

// TestReload: the exchange is turned off and on, and moves to another port, while
// it runs.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, one, two := pairOf(t)
		on := two.config.Exchange
		two.config.Exchange = nil
		two.reload()
		after(peerTimeout + 2*interval)
		if two.Peers() != nil || one.peer().Up || len(l.ports) != 1 {
			t.Errorf("off: %+v, %+v, %d ports", two.Peers(), one.peer(), len(l.ports))
		}
		moved := *on
		moved.Listen = ":9000"
		two.config.Exchange = &moved
		two.reload()
		other := *one.config.Exchange
		other.Peers = []config.Peer{{Name: "lb2", Address: netip.AddrPortFrom(two.address, 9000)}}
		one.config.Exchange = &other
		one.reload()
		after(2 * interval)
		if !two.peer().Up || !one.peer().Up || len(l.ports) != 2 {
			t.Errorf("moved: %+v, %+v", two.peer(), one.peer())
		}
	})
}

// TestRefusedStart: a port that cannot be opened refuses the configuration, and an
// abort leaves no port open.
func TestRefusedStart(t *testing.T) {
	l := newLAN()
	one := newSide(t, l, "lb1", goodKey, "lb2")
	defer one.Close()
	if err := os.Chmod(one.key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := one.Read(one.config)(); err == nil || !strings.Contains(err.Error(), "peers.key_file") || !strings.Contains(err.Error(), "chmod 0600") {
		t.Error(err)
	}
	one.writeKey("7 short\n")
	_ = os.Chmod(one.key, 0o600)
	if _, _, err := one.Read(one.config)(); err == nil || strings.Contains(err.Error(), "short\n") {
		t.Error(err)
	}
	other := newSide(t, l, "lb2", goodKey, "lb1")
	other.Close()
	stranger := New(Options{Listen: l.listen(one.address)})
	if _, _, err := stranger.Read(other.config)(); err == nil || !strings.Contains(err.Error(), "peers.listen") {
		t.Error(err)
	}
	one.writeKey(goodKey)
	moved := *one.config
	p := *moved.Exchange
	p.Listen = ":9000"
	moved.Exchange = &p
	_, abort, err := one.Read(&moved)()
	if err != nil {
		t.Fatal(err)
	}
	abort()
	if len(l.ports) != 1 {
		t.Errorf("%d ports are open", len(l.ports))
	}
}

// TestClock: clocks that are apart are reported.
func TestClock(t *testing.T) {
	var d Differences
	for ahead, want := range map[time.Duration]bool{0: false, 5 * time.Second: false, 6 * time.Second: true, -6 * time.Second: true} {
		if d.Clock = ahead; d.ClockDiffers() != want {
			t.Errorf("%v: %v", ahead, !want)
		}
	}
	a := knownPeer{Peer: Peer{Name: "lb2"}}
	a.update(&setup{}, State{}, response{clockAhead: -12 * time.Second}, time.Unix(9, 0))
	changes := a.changes(State{}, time.Unix(9, 0))
	if len(changes) != 2 || changes[1].To != "clock differs" || !strings.Contains(changes[1].Reason, "-12s") {
		t.Errorf("%+v", changes)
	}
}

// TestOnlyAChangeWakes: an unchanged peer causes no wake-up.
func TestOnlyAChangeWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, two := pairOf(t)
		after(time.Minute)
		one.mu.Lock()
		before := one.wakes
		one.mu.Unlock()
		two.become(func(s *State) { s.Connections = &Connections{Local: 1} })
		after(time.Minute)
		two.become(func(s *State) { s.WaitReason = "waits" })
		after(time.Minute)
		one.mu.Lock()
		defer one.mu.Unlock()
		if one.wakes != before+1 {
			t.Errorf("%d wakes", one.wakes-before)
		}
	})
}

// TestRealSockets: the same over TCP on loopback.
func TestRealSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).AddrPort()
	two := newSide(t, newLAN(), "lb2", goodKey, "lb1")
	two.config.Exchange.Peers[0].Address = netip.MustParseAddrPort("127.0.0.1:1")
	two.o.Listen = func(string) (net.Listener, error) { return l, nil }
	two.config.Exchange.Listen = ":1"
	two.reload()
	run(t, two)
	one := New(Options{})
	keys := map[uint8][]byte{1: []byte("0123456789abcdef")}
	s := &setup{self: "lb1", keys: NewKeys(1, keys), Exchange: config.Exchange{Address: netip.MustParseAddr("127.0.0.1")}}
	r, err := one.call(context.Background(), s, config.Peer{Name: "lb2", Address: port}, question{Want: wantState})
	if err != nil || r.State.Hash != "abc" {
		t.Errorf("%+v, %v", r, err)
	}
	s.keys = NewKeys(1, map[uint8][]byte{1: []byte("fedcba9876543210")})
	if _, err = one.call(context.Background(), s, config.Peer{Name: "lb2", Address: port}, question{Want: wantState}); err == nil || !strings.Contains(err.Error(), "different secret") {
		t.Error(err)
	}
}
