package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/instances"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
	"lvsd/vrrp"
)

// journal records the calls of the fakes, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

// take returns the entries since the last call.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

type fakeTable struct {
	*journal
	mu         sync.Mutex
	snapshot   ipvs.Snapshot
	unread     error // of a reading that is asked for
	generation uint64
}

func (f *fakeTable) SetDesired(w ipvs.Desired) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.generation++
	var weights []string
	for _, key := range w.Table.Keys() {
		for a, d := range w.Table[key].Destinations {
			weights = append(weights, fmt.Sprintf("%s=%d", a, d.Weight))
		}
	}
	slices.Sort(weights)
	f.add("want %s", strings.Join(weights, " "))
	f.snapshot.Table = w.Table
	return f.generation
}

func (f *fakeTable) Wait(context.Context, uint64) error { return nil }

func (f *fakeTable) Snapshot() ipvs.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshot
}

func (f *fakeTable) SnapshotAfter(context.Context, time.Time) (ipvs.Snapshot, error) {
	return f.Snapshot(), f.unread
}

func (f *fakeTable) Refresh(context.Context) ipvs.Snapshot { return f.Snapshot() }

func (f *fakeTable) Forecast(_ context.Context, w ipvs.Desired) (ipvs.Forecast, error) {
	return ipvs.ForecastStart(ipvstest.New(), ipvs.Owned{}, w)
}

func (f *fakeTable) read(table ipvs.Table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snapshot = ipvs.Snapshot{Valid: true, Up: true, At: time.Now(), Table: table}
}

type fakeChecker struct {
	late atomic.Int64
	*journal
	mu     sync.Mutex
	health map[checker.ID]checker.Health
}

func (f *fakeChecker) Set(targets []checker.Target) error {
	var names []string
	for _, t := range targets {
		names = append(names, fmt.Sprintf("%s known=%v", t.ID.RealServer, t.InKernel))
	}
	f.add("check %s", strings.Join(names, ", "))
	return nil
}

func (f *fakeChecker) Preview([]checker.Target) (checker.Preview, error) {
	return checker.Preview{Health: f.Health()}, nil
}

func (f *fakeChecker) Health() map[checker.ID]checker.Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.health
}

func (f *fakeChecker) Unknown() (n int) {
	for _, h := range f.Health() {
		if h.State == checker.Unknown {
			n++
		}
	}
	return n
}

func (f *fakeChecker) Explain(id checker.ID) (checker.Health, bool) {
	h, ok := f.Health()[id]
	return h, ok
}

func (f *fakeChecker) Delegate(to map[checker.ID]string, n int) {
	f.add("delegate %v, every %d", to, n)
}

func (f *fakeChecker) Overdue() time.Duration { return time.Duration(f.late.Load()) }

func (f *fakeChecker) set(h checker.Health) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.health = map[checker.ID]checker.Health{id: h}
}

func (f *fakeChecker) say(v checker.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.health = healthOf(v)
}

// fakeEngine takes a second to give its addresses up.
type fakeEngine struct {
	*journal
	mu     sync.Mutex
	config vrrp.Config
	status vrrp.Status

	handOver func() // nil: HandOver does nothing
}

func (f *fakeEngine) setState(s vrrp.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.State = s
}

// now is the configuration that the instance got last.
func (f *fakeEngine) now() vrrp.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.config
}

func (f *fakeEngine) tag() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%s@%s", f.config.Name, f.config.Interface)
}

func (f *fakeEngine) Run(ctx context.Context) error {
	f.add("%s runs", f.tag())
	<-ctx.Done()
	time.Sleep(time.Second) // in the bubble's time
	f.add("%s ended", f.tag())
	return nil
}
func (f *fakeEngine) Close() error { f.add("%s closed", f.tag()); return nil }
func (f *fakeEngine) Update(c vrrp.Config) {
	f.mu.Lock()
	f.config = c
	f.mu.Unlock()
	f.add("%s updated", f.tag())
}
func (f *fakeEngine) SetTracked(name string, delta int, fault bool) {
	f.add("%s %s %d %v", f.tag(), name, delta, fault)
}
func (f *fakeEngine) HandOver() {
	f.add("%s hands over", f.tag())
	if f.handOver != nil {
		f.handOver()
	}
}
func (f *fakeEngine) Status() vrrp.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Name = f.config.Name
	return s
}

// rig is a director between fakes, inside a bubble.
type rig struct {
	*journal
	*Director
	table   *fakeTable
	engines map[string]*fakeEngine // opened last, by instance
	checker *fakeChecker
	next    *config.Config // the next content of the file
	nextErr error
	refuse  error // the result of a participant
	stop    func()
}

func withElection(weight int, iface string) *config.Config {
	c := oneServer(weight, nil)
	c.IPVS.ResyncInterval = 10 * time.Second
	if iface != "" {
		c.Instances = []config.Instance{{Name: "web", Interface: iface, VRID: 51, Checksum: "rfc5798"}}
	}
	return c
}

// engine is the instance at a place of the file.
func (r *rig) engine(i int) *fakeEngine { return r.engines[r.config.Load().Instances[i].Name] }

func newRig(t *testing.T, first *config.Config, change ...func(*Deps)) *rig {
	t.Helper()
	r := &rig{journal: &journal{}, engines: map[string]*fakeEngine{}}
	r.table = &fakeTable{journal: r.journal}
	r.checker = &fakeChecker{journal: r.journal}
	log := slog.New(slog.DiscardHandler)
	parts := Deps{
		Log: log, Events: &event.Recorder{}, Table: r.table, Checker: r.checker,
		OpenInstance: func(c vrrp.Config) (instances.Engine, error) {
			if c.Interface == "missing" {
				return nil, errors.New("there is no interface missing")
			}
			e := &fakeEngine{journal: r.journal, config: c}
			r.engines[c.Name] = e
			r.add("%s opened", e.tag())
			return e, nil
		},
		Participants: []reload.Participant{func(old, next *config.Config) (reload.Change, error) {
			return reload.Change{Commit: func() { r.add("commit") }, Abort: func() { r.add("abort") }}, r.refuse
		}},
		Load: func() (*config.Config, []string, error) { return r.next, nil, r.nextErr },
	}
	for _, f := range change {
		f(&parts)
	}
	r.Director = New(parts)
	if err := r.Prepare(first); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = r.Run(ctx) }()
	r.stop = func() { cancel(); <-ended }
	return r
}

// saw waits until nothing happens any more and compares the journal.
func (r *rig) saw(t *testing.T, want ...string) {
	t.Helper()
	time.Sleep(2 * time.Second) // the bubble's: longer than anything here takes
	synctest.Wait()
	if got := r.take(); !slices.Equal(got, want) {
		t.Errorf("saw\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestElectionsDoNotWaitForTheKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withElection(5, "eth0"))
		defer r.stop()
		r.saw(t, "web@eth0 opened", "commit", "web@eth0 runs")
		r.table.read(kernelWith(3))
		r.Wake()
		r.saw(t, "check 10.0.1.1:80 known=true", "want 10.0.1.1:80=3")
		r.checker.say(checker.Up)
		r.Wake()
		r.saw(t, "want 10.0.1.1:80=5")
	})
}

func TestNeighboursAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withElection(5, ""))
		defer r.stop()
		r.table.read(kernelWith(5))
		r.checker.say(checker.Up)
		r.Wake()
		r.saw(t, "commit", "check 10.0.1.1:80 known=true", "want 10.0.1.1:80=5")
		for _, v := range []checker.State{checker.Down, checker.Up, checker.Down} {
			r.checker.say(v)
			r.Wake()
			time.Sleep(time.Millisecond)
		}
		r.saw(t, "want 10.0.1.1:80=0") // one write for all three
		r.Wake()
		r.saw(t) // nothing new, nothing desired
	})
}

func TestReloadKeepsWhatDidNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withElection(5, "eth0"))
		defer r.stop()
		r.table.read(kernelWith(5))
		r.checker.say(checker.Up)
		r.Wake()
		r.saw(t, "web@eth0 opened", "commit", "web@eth0 runs", "check 10.0.1.1:80 known=true", "want 10.0.1.1:80=5")

		r.next = withElection(0, "eth0")
		if err := r.Reload(t.Context()).Refused; err != nil {
			t.Fatal(err)
		}
		r.saw(t, "web@eth0 updated", "commit", "want 10.0.1.1:80=0")

		r.next = withElection(0, "eth1") // another interface: the old instance gives up before the new one looks
		if err := r.Reload(t.Context()).Refused; err != nil {
			t.Fatal(err)
		}
		r.saw(t, "web@eth1 opened", "commit", "web@eth0 ended", "web@eth1 runs")

		r.next = withElection(0, "")
		if err := r.Reload(t.Context()).Refused; err != nil {
			t.Fatal(err)
		}
		r.saw(t, "commit", "web@eth1 ended")

		r.next = withElection(0, "") // what is probed concerns the checker only
		r.next.Services[0].RealServers[0].Checks = []config.Check{{CheckSettings: &config.CheckSettings{Type: "on"}}}
		if err := r.Reload(t.Context()).Refused; err != nil {
			t.Fatal(err)
		}
		r.saw(t, "commit", "check 10.0.1.1:80 known=true")
	})
}

func TestRefusedReloadChangesNothing(t *testing.T) {
	bad := errors.New("no")
	for name, prepare := range map[string]struct {
		break_ func(*rig)
		want   []string
	}{
		"the file": {func(r *rig) { r.nextErr = bad }, nil},
		"an instance": {func(r *rig) { r.next = withElection(1, "missing") },
			[]string{"abort"}},
		"a participant": {func(r *rig) { r.next = withElection(1, "eth1"); r.refuse = bad },
			[]string{"web@eth1 opened", "web@eth1 closed"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, withElection(5, "eth0"))
				defer r.stop()
				r.table.read(kernelWith(5))
				r.checker.say(checker.Up)
				r.Wake()
				r.saw(t, "web@eth0 opened", "commit", "web@eth0 runs", "check 10.0.1.1:80 known=true", "want 10.0.1.1:80=5")
				before := r.View(t.Context())
				time.Sleep(time.Second)

				prepare.break_(r)
				if err := r.Reload(t.Context()).Refused; err == nil {
					t.Fatal("accepted")
				}
				r.saw(t, prepare.want...)
				after := r.View(t.Context())
				if after.Config != before.Config || after.LastReload.Err == nil || after.LastReload.LastSuccess != before.LastReload.LastSuccess {
					t.Errorf("configuration changed: %v, last reload %+v", after.Config != before.Config, after.LastReload)
				}

				r.next, r.nextErr, r.refuse = withElection(1, "eth0"), nil, nil // a good one follows
				if err := r.Reload(t.Context()).Refused; err != nil {
					t.Fatal(err)
				}
				if r.LastReload().Err != nil {
					t.Error("a good reload leaves the error of the bad one")
				}
			})
		})
	}
}

func TestStopWaitsForTheElections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withElection(5, "eth0"))
		r.saw(t, "web@eth0 opened", "commit", "web@eth0 runs")
		r.stop()
		if got := r.take(); !slices.Equal(got, []string{"web@eth0 ended"}) {
			t.Errorf("Run returned with %q done", got)
		}
	})
}

func TestAliveTellsAStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withElection(5, ""))
		alive := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return r.Alive(ctx)
		}
		r.table.read(kernelWith(5))
		if err := alive(); err != nil {
			t.Errorf("a running one: %v", err)
		}
		time.Sleep(time.Minute) // the fake reconciler never reads again
		if err := alive(); err == nil || !strings.Contains(err.Error(), "last read") {
			t.Errorf("a reconciler that stands still: %v", err)
		}
		r.table.read(kernelWith(5))
		r.checker.late.Store(int64(time.Minute))
		if err := alive(); err == nil || !strings.Contains(err.Error(), "no probe") {
			t.Errorf("probes that stand still: %v", err)
		}
		r.stop()
		if err := alive(); err == nil || !strings.Contains(err.Error(), "loop") {
			t.Errorf("a loop that ended: %v", err)
		}
	})
}

// TestTimeAloneMovesTheLoop: a ramp needs no wake-up, and after its end the loop is
// idle.
func TestTimeAloneMovesTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withElection(4, "")
		c.Services[0].SlowStart = 20 * time.Second
		r := newRig(t, c)
		defer r.stop()
		r.table.read(ipvs.Table{})
		r.checker.say(checker.Up)
		r.Wake()
		r.saw(t, "commit", "check 10.0.1.1:80 known=false", "want 10.0.1.1:80=1")
		time.Sleep(20 * time.Second)
		r.saw(t, "want 10.0.1.1:80=2", "want 10.0.1.1:80=3", "want 10.0.1.1:80=4")
		time.Sleep(time.Hour)
		r.saw(t)
	})
}

func TestEveryChangeIsAnEventOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withElection(5, ""))
		defer r.stop()
		r.table.read(kernelWith(5))
		for _, v := range []checker.State{checker.Up, checker.Up, checker.Down, checker.Down, checker.Up} {
			r.checker.say(v)
			r.Wake()
			time.Sleep(time.Second)
		}
		var got []string
		for _, e := range r.deps.Events.Recent() {
			got = append(got, fmt.Sprintf("%s %s%s→%s", e.Kind, e.RealServer, e.From, e.To))
		}
		r.next = withElection(5, "")
		r.next.Services[0].RealServers = nil
		if err := r.Reload(t.Context()).Refused; err != nil {
			t.Fatal(err)
		}
		r.next = withElection(5, "")
		r.next.Services = nil
		if err := r.Reload(t.Context()).Refused; err != nil {
			t.Fatal(err)
		}
		for _, e := range r.deps.Events.Recent()[len(got):] {
			got = append(got, fmt.Sprintf("%s %s%s→%s", e.Kind, e.RealServer, e.From, e.To))
		}
		want := []string{
			"quorum →up", "daemon →checked",
			"weight 10.0.1.1:805→0", "quorum up→down",
			"weight 10.0.1.1:800→5", "quorum down→up",
			"weight 10.0.1.1:805→removed", "quorum up→down", "reload →done",
			"quorum down→removed", "reload →done",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestFilesAreReadBesideTheLoop: while a disk does not reply to a reload or a dry run, the
// loop continues; what cannot be read refuses the reload.
func TestFilesAreReadBesideTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reply := make(chan error)
		var hangs atomic.Bool
		r := newRig(t, oneServer(5, nil), func(p *Deps) {
			p.Readers = []reload.Reader{func(*config.Config) reload.Participant {
				var err error
				if hangs.Load() {
					err = <-reply
				}
				return func(_, _ *config.Config) (reload.Change, error) { return reload.Change{}, err }
			}}
		})
		defer r.stop()
		r.table.read(kernelWith(5))
		r.Wake()
		hangs.Store(true)
		r.next = oneServer(7, nil)
		done := make(chan Outcome, 1)
		for _, want := range []error{errors.New("does not reply"), nil} {
			go func() { done <- r.Reload(t.Context()) }()
			synctest.Wait()
			if err := r.Alive(t.Context()); err != nil {
				t.Errorf("the loop waits for a disk: %v", err)
			}
			reply <- want
			if o := <-done; (o.Refused != nil) != (want != nil) {
				t.Errorf("refused: %v, want %v", o.Refused, want)
			}
		}
		if got := r.config.Load().Services[0].RealServers[0].Weight; got != 7 {
			t.Errorf("weight %d", got)
		}
	})
}

// TestAServiceWithConnectionsVanishes: the reload is done, and warns.
func TestAServiceWithConnectionsVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneServer(5, nil))
		defer r.stop()
		r.table.read(kernelWith(5))
		key := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: vip}
		r.table.mu.Lock()
		r.table.snapshot.Stats = map[ipvs.ServiceKey]ipvs.ServiceStats{key: {Destinations: map[netip.AddrPort]ipvs.DestinationStats{server(1): {Active: 42}}}}
		r.table.mu.Unlock()
		r.Wake()
		r.next = oneServer(7, nil)
		if o := r.Reload(t.Context()); o.Refused != nil || o.Warnings != nil {
			t.Errorf("a changed weight: %+v", o)
		}
		r.next = oneServer(7, func(svc *config.Service) { svc.Address = netip.MustParseAddrPort("10.0.0.88:81") })
		if o := r.Reload(t.Context()); o.Refused != nil || len(o.Warnings) != 1 || !strings.Contains(o.Warnings[0], "web") || !strings.Contains(o.Warnings[0], "42 active connections") {
			t.Errorf("%+v", o)
		}
	})
}
