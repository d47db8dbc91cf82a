package director

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/persist"
	"lvsd/config"
	"lvsd/vrrp"
)

// keeper is the disk.
type keeper struct {
	mu     sync.Mutex
	kept   map[string]persist.Standby
	broken error
	hangs  <-chan struct{} // until it is closed; nil: it does not hang
}

func (k *keeper) hang(until <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hangs = until
}

func (k *keeper) LoadStandby() (map[string]persist.Standby, error) { return k.now(), nil }
func (k *keeper) SaveStandby(h map[string]persist.Standby) error {
	k.mu.Lock()
	hangs := k.hangs
	k.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken == nil {
		k.kept = h
	}
	return k.broken
}

func (k *keeper) now() map[string]persist.Standby {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.kept)
}

// exchange is the other directors.
type exchange []decision.Peer

func (e exchange) Peers() []decision.Peer { return e }
func (e exchange) OwnConnections() int    { return 90 }

// hand makes the instance a master that hands its addresses over to a peer after a
// while, or has no successor.
func (f *fakeEngine) hand(took time.Duration, to netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = vrrp.Status{State: vrrp.Master, Since: time.Now(), HasVIPs: true}
	f.handOver = func() {
		time.AfterFunc(took, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if to.IsValid() {
				f.status = vrrp.Status{State: vrrp.Backup, Master: to, Reason: vrrp.ReasonHandover, LastAdvert: time.Now(), HasVIPs: true}
				time.AfterFunc(time.Second, func() { f.mu.Lock(); f.status.HasVIPs = false; f.mu.Unlock() })
				return
			}
			f.status = vrrp.Status{State: vrrp.Master, Since: time.Now(), HasVIPs: true}
		})
	}
}

func ready(elections ...string) decision.Peer {
	p := decision.Peer{Name: "lb2", Up: true, Instances: map[string]decision.PeerInstance{}}
	for _, e := range elections {
		p.Instances[e] = decision.PeerInstance{State: "backup"}
	}
	return p
}

// threeElections are one instance alone and two of a group.
func threeElections() *config.Config {
	c := withElection(5, "eth0")
	for i, name := range []string{"in", "out"} {
		c.Exchange = &config.Exchange{}
		c.Instances = append(c.Instances, config.Instance{Name: name, Interface: "eth1", VRID: uint8(60 + i), SyncGroup: "both", AdvertInterval: time.Second})
	}
	return c
}

func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{}
		r := newRig(t, threeElections(), func(p *Deps) { p.StandbyStore, p.Peers = k, exchange{ready("web", "in", "out")} })
		defer r.stop()
		r.table.read(kernelWith(5))
		r.Wake()
		time.Sleep(time.Second)
		peer := netip.MustParseAddr("10.0.0.13")
		for i, took := range []time.Duration{0, 600 * time.Millisecond, 700 * time.Millisecond} {
			if took > 0 {
				r.engine(i).hand(took, peer)
			}
		}
		synctest.Wait()
		r.take()
		out, err := r.HandOver(t.Context(), Handover{Instance: "in", For: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != 2 || out[0].Instance != "in" || out[1].Instance != "out" {
			t.Fatalf("a sync group moves as one: %+v", out)
		}
		for i, o := range out {
			if !o.Master || o.To != peer || o.Failed != "" || o.Took != time.Duration(6+i)*100*time.Millisecond || o.Removed < time.Second || o.Removed > 2*time.Second {
				t.Errorf("%+v", o)
			}
		}
		// On standby before it resigns: else it could preempt at once.
		if got := r.take(); !slices.Equal(got[:4], []string{"in@eth1 updated", "out@eth1 updated", "in@eth1 hands over", "out@eth1 hands over"}) {
			t.Errorf("%q", got)
		}
		if !r.engine(1).now().Standby || r.engine(0).now().Standby {
			t.Error("not held, or too many are")
		}
		if kept := k.now(); len(kept) != 2 || kept["in"].Until.Sub(kept["in"].Since) != time.Hour {
			t.Errorf("on disk: %v", kept)
		}
		if v := r.View(t.Context()); len(v.Standby) != 2 {
			t.Errorf("shown: %v", v.Standby)
		}
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if !r.engine(1).now().Standby {
			t.Error("released too early")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if r.engine(1).now().Standby || r.engine(2).now().Standby || len(k.now()) != 0 {
			t.Errorf("held after the time: %v", k.now())
		}
	})
}

func TestHandOverWithoutSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{}
		r := newRig(t, withElection(5, "eth0"), func(p *Deps) { p.StandbyStore = k })
		defer r.stop()
		r.engine(0).hand(2*time.Second, netip.Addr{})
		_, err := r.HandOver(t.Context(), Handover{})
		if err == nil || !strings.Contains(err.Error(), "[peers] is not configured") || !strings.Contains(err.Error(), "--force") || len(k.now()) != 0 {
			t.Errorf("without a peer: %v, held %v", err, k.now())
		}
		out, err := r.HandOver(t.Context(), Handover{Force: true})
		if err != nil || len(out) != 1 || !strings.Contains(out[0].Failed, "no peer took") {
			t.Fatalf("%+v, %v", out, err)
		}
		if r.engine(0).now().Standby || len(k.now()) != 0 {
			t.Error("held, though it serves on")
		}
		if _, err := r.HandOver(t.Context(), Handover{Instance: "wbe", Force: true}); err == nil || !strings.Contains(err.Error(), "there are: web") {
			t.Errorf("%v", err)
		}
		k.broken = errors.New("disk full")
		if _, err := r.HandOver(t.Context(), Handover{Force: true}); err == nil || !strings.Contains(err.Error(), "nothing was changed: disk full") || r.engine(0).now().Standby {
			t.Errorf("%v", err)
		}
	})
}

// A backup enters standby without a check of its peers; a restart keeps it, --end does not.
func TestHoldOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{}
		keep := func(p *Deps) { p.StandbyStore = k }
		r := newRig(t, withElection(5, "eth0"), keep)
		if out, err := r.HandOver(t.Context(), Handover{}); err != nil || out[0].Master || !r.engine(0).now().Standby {
			t.Errorf("%+v, %v", out, err)
		}
		r.stop()
		r = newRig(t, withElection(5, "eth0"), keep)
		defer func() { r.stop() }()
		if !r.engine(0).now().Standby {
			t.Error("not held after a restart")
		}
		ended, err := r.EndHandover(t.Context(), "web")
		if err != nil || !slices.Equal(ended, []string{"web"}) || r.engine(0).now().Standby || len(k.now()) != 0 {
			t.Errorf("%v, %v, %v", ended, err, k.now())
		}
		if ended, err := r.EndHandover(t.Context(), ""); err != nil || len(ended) != 0 {
			t.Errorf("again: %v, %v", ended, err)
		}
		// The standby of an instance that leaves the file ends.
		if _, err := r.HandOver(t.Context(), Handover{}); err != nil {
			t.Fatal(err)
		}
		r.next = withElection(5, "")
		o := r.Reload(t.Context())
		synctest.Wait() // the disk is written to beside the loop
		if o.Refused != nil || len(k.now()) != 0 {
			t.Errorf("%v, %v", o.Refused, k.now())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.EndHandover(ctx, ""); err == nil {
			t.Error("an end without an election")
		}
	})
}

func TestReadyPeer(t *testing.T) {
	change := func(f func(*decision.Peer)) Peers { p := ready("web"); f(&p); return exchange{p} }
	for want, peers := range map[string]Peers{
		"":                          exchange{ready("web")},
		"[peers] is not configured": nil,
		"no other director":         exchange{},
		"does not answer: hung":     change(func(p *decision.Peer) { p.Up, p.Error = false, "hung" }),
		"no such VRRP instance":     exchange{ready("mail")},
		"is fault itself":           change(func(p *decision.Peer) { p.Instances["web"] = decision.PeerInstance{State: "fault"} }),
		"is on standby":             change(func(p *decision.Peer) { p.Instances["web"] = decision.PeerInstance{State: "backup", Standby: true} }),
		"waits for":                 change(func(p *decision.Peer) { p.WaitReason = "waits for the checks" }),
	} {
		d := New(Deps{Peers: peers})
		if d.config.Store(&config.Config{}); peers != nil {
			d.config.Store(&config.Config{Exchange: &config.Exchange{}})
		}
		if got := d.noReadyPeer("web"); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%q, want %q", got, want)
		}
	}
	// One of several is enough.
	d := New(Deps{Peers: exchange{{Name: "lb3"}, ready("web")}})
	d.config.Store(&config.Config{Exchange: &config.Exchange{}})
	if got := d.noReadyPeer("web"); got != "" {
		t.Errorf("%q", got)
	}
}

// A disk that hangs blocks neither the loop nor the end of a standby; a handover that
// cannot be recorded is not started.
func TestStandbyOnADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{}
		r := newRig(t, withElection(5, "eth0"), func(p *Deps) { p.StandbyStore = k })
		defer r.stop()
		r.table.read(kernelWith(5))
		r.Wake()
		if _, err := r.HandOver(t.Context(), Handover{For: time.Minute}); err != nil || !r.engine(0).now().Standby {
			t.Fatalf("%v", err)
		}
		resume := make(chan struct{})
		k.hang(resume)
		time.Sleep(2 * time.Minute) // the standby expires, which is written
		synctest.Wait()
		r.table.read(kernelWith(5))
		if err := r.Alive(t.Context()); err != nil || r.engine(0).now().Standby {
			t.Errorf("%v", err)
		}
		began := time.Now()
		if _, err := r.HandOver(t.Context(), Handover{Force: true}); err == nil || !strings.Contains(err.Error(), "nothing was changed") || r.engine(0).now().Standby {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took != saveLimit {
			t.Errorf("took %v", took)
		}
		close(resume)
	})
}
