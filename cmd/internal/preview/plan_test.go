package preview

import (
	"context"
	"fmt"
	"log/slog"
	"lvsd/cmd/internal/instances"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvsd/checker"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/event"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
	"lvsd/vrrp"
)

// TestPlanMatchesReload: random files one after the other, with the real director,
// reconciler and checker over a kernel in memory. The plan of each is what its reload
// then does: to the kernel write by write, to each instance, and in the plan's text
// entry by entry.
func TestPlanMatchesReload(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { followed(t, farm{rand.New(rand.NewPCG(seed, 1))}, seen) })
		})
	}
	for _, what := range []string{"service add", "service change", "service remove", "service drain", "server add", "server change", "server remove", "server drain",
		"election start", "election change", "election restart", "election end", "renamed", "setting", "global", "nothing"} {
		if seen[what] < 5 {
			t.Errorf("%s: %d times: that proves nothing", what, seen[what])
		}
	}
	t.Log(seen)
}

func followed(t *testing.T, f farm, seen map[string]int) {
	kernel, elections := ipvstest.New(), &polls{}
	first := f.config(t)
	next := first
	var d *director.Director
	reconciler := ipvs.NewReconciler(kernel, ipvs.Options{Wake: func() { d.Wake() }})
	checks := checker.New(checker.Options{}) // it never runs: no socket is needed for "on" and "off"
	d = director.New(director.Deps{
		Log: slog.New(slog.DiscardHandler), Events: &event.Recorder{}, Table: reconciler, Checker: checks,
		OpenInstance: elections.open,
		Load:         func() (*config.Config, []string, error) { return next, nil, nil },
	})
	start, err := director.DryRunStart(first, kernel, ipvs.Owned{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Prepare(first); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	for _, run := range []func(context.Context) error{reconciler.Run, d.Run} {
		tasks.Go(func() { _ = run(ctx) })
	}
	defer func() { cancel(); tasks.Wait() }()
	settle := func() { time.Sleep(5 * time.Second); synctest.Wait() }
	settle()
	if d := cmp.Diff(words(start.Table.Ops), words(kernel.Ops())); d != "" {
		t.Errorf("a start (-foreseen +done):\n%s", d)
	}
	for range 4 {
		if f.IntN(3) > 0 { // else nothing changes
			next = f.config(t)
		}
		before, writes := kernel.Table(), len(kernel.Ops())
		dryRun, err := d.DryRun(ctx, next)
		if err != nil || dryRun.Refused != nil {
			t.Fatal(err, dryRun.Refused)
		}
		p := Build(dryRun, nil, nil)
		synctest.Wait()
		if len(kernel.Ops()) != writes || !maps.EqualFunc(before, kernel.Table(), sameService) {
			t.Fatal("a plan wrote")
		}
		namesAllThatLeave(t, p, dryRun)
		elections.forget()
		if o := d.Reload(ctx); o.Refused != nil || o.Pending != nil {
			t.Fatal(o)
		}
		if d := cmp.Diff(words(dryRun.Table.Ops), words(kernel.Ops()[writes:])); d != "" {
			t.Fatalf("writes (-foreseen +done):\n%s", d)
		}
		if d := cmp.Diff(inWords(p.apply(t, before)), inWords(kernel.Table())); d != "" {
			t.Fatalf("table (-planned +done):\n%s\n%+v", d, p.Services)
		}
		settle()
		compareElections(t, p, elections)
		tally(p, seen)
	}
}

func tally(p Preview, seen map[string]int) {
	for _, s := range p.Services {
		seen["service "+s.Action]++
		if s.OldName != "" {
			seen["renamed"]++
		}
		for _, rs := range s.RealServers {
			seen["server "+rs.Action]++
		}
	}
	for _, e := range p.Instances {
		seen["election "+e.Action]++
	}
	seen["setting"] += len(p.Settings)
	seen["global"] += len(p.Global)
	if !p.Differs {
		seen["nothing"]++
	}
}

func words(ops []ipvs.Op) []string {
	out := []string{}
	for _, op := range ops {
		out = append(out, fmt.Sprintf("%s: %s, %s", op, op.Service, op.Destination))
	}
	return out
}

func sameService(a, b ipvs.Service) bool {
	return a.String() == b.String() && maps.Equal(a.Destinations, b.Destinations)
}

// inWords is a table as text.
func inWords(t ipvs.Table) map[string]string {
	all := map[string]string{}
	for k, s := range t {
		all[k.String()] = s.String()
		for a, d := range s.Destinations {
			all[k.String()+" "+a.String()] = d.String()
		}
	}
	return all
}

// apply applies the plan alone to a table.
func (p Preview) apply(t *testing.T, before ipvs.Table) ipvs.Table {
	t.Helper()
	after := before.Clone()
	for _, planned := range p.Services {
		k := keyNamed(t, planned.Service)
		s, there := after[k]
		if there != (planned.Action != Add) {
			t.Errorf("%s is to be %s, and was there: %v", planned.Service, planned.Action, there)
		}
		if planned.Action == Remove {
			if len(planned.RealServers) != len(s.Destinations) {
				t.Errorf("%s goes with %d servers, the plan names %d", planned.Service, len(s.Destinations), len(planned.RealServers))
			}
			delete(after, k)
			continue
		}
		s.Key = k
		if s.Destinations == nil {
			s.Destinations = map[netip.AddrPort]ipvs.Destination{}
		}
		for _, c := range planned.Changes {
			applyToService(t, &s, c)
		}
		for _, rs := range planned.RealServers {
			a := netip.MustParseAddrPort(rs.Address)
			d, there := s.Destinations[a]
			if there && rs.Action == Add || !there && rs.Action == Drain {
				t.Errorf("%s %s is to %s, and was there: %v", planned.Service, rs.Address, rs.Action, there)
			}
			if !rs.InKernel {
				delete(s.Destinations, a)
				continue
			}
			d.Address = a
			for _, c := range rs.Changes {
				applyToDestination(t, &d, c)
			}
			if d.Weight != rs.Weight {
				t.Errorf("%s %s: weight %d by its changes, and %d", planned.Service, rs.Address, d.Weight, rs.Weight)
			}
			s.Destinations[a] = d
		}
		after[k] = s
	}
	return after
}

// namesAllThatLeave: a server that is no longer desired is in the plan, also where
// nothing is written for it yet.
func namesAllThatLeave(t *testing.T, p Preview, f director.DryRun) {
	t.Helper()
	named := map[string]bool{}
	for _, s := range p.Services {
		for _, rs := range s.RealServers {
			named[s.Service+" "+rs.Address] = true
		}
	}
	for k, s := range f.Before.Desired.Table {
		for a := range s.Destinations {
			if _, stays := f.Decided.Desired.Table[k].Destinations[a]; !stays && !named[k.String()+" "+a.String()] {
				t.Errorf("%s %s leaves, and the plan does not say so", k, a)
			}
		}
	}
}

func keyNamed(t *testing.T, name string) ipvs.ServiceKey {
	kind, where, _ := strings.Cut(name, " ")
	if kind == "mark" {
		return ipvs.ServiceKey{Mark: uint32(number(t, where))}
	}
	protocol, err := ipvs.ParseProtocol(kind)
	if err != nil {
		t.Fatal(err)
	}
	return ipvs.ServiceKey{Protocol: protocol, Address: netip.MustParseAddrPort(where)}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func applyToService(t *testing.T, s *ipvs.Service, c Change) {
	t.Helper()
	flags := func(names string) ipvs.SchedulerFlags {
		if names == "none" {
			return 0
		}
		f, err := ipvs.ParseSchedulerFlags(strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' }))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	switch c.Field {
	case "settings": // scheduler sh flags sh-fallback persistence 60s
		words := strings.Fields(c.To)
		for i := 0; i+1 < len(words); i += 2 {
			switch words[i] {
			case "scheduler":
				s.Scheduler = words[i+1]
			case "flags":
				s.Flags = flags(words[i+1])
			case "persistence":
				s.Persistence = uint32(number(t, strings.TrimSuffix(words[i+1], "s")))
			}
		}
	case "scheduler":
		s.Scheduler = c.To
	case "scheduler_flags":
		s.Flags = flags(c.To)
	case "persistence":
		d, err := time.ParseDuration(c.To)
		if err != nil {
			t.Fatal(err)
		}
		s.Persistence = uint32(d / time.Second)
	}
}

func applyToDestination(t *testing.T, d *ipvs.Destination, c Change) {
	t.Helper()
	forward := func(name string) ipvs.Forward {
		for _, f := range []ipvs.Forward{ipvs.NAT, ipvs.Local, ipvs.Tunnel, ipvs.DirectRoute} {
			if f.String() == name {
				return f
			}
		}
		t.Fatalf("unknown forwarding method %q", name)
		return 0
	}
	switch c.Field {
	case "settings": // dr weight 2 thresholds 10/5
		words := strings.Fields(c.To)
		d.Forward, d.Weight = forward(words[0]), number(t, words[2])
		if len(words) > 4 {
			_, err := fmt.Sscanf(words[4], "%d/%d", &d.UpperThreshold, &d.LowerThreshold)
			if err != nil {
				t.Fatal(err)
			}
		}
	case "weight":
		d.Weight = number(t, c.To)
	case "forward":
		d.Forward = forward(c.To)
	case "upper_threshold":
		d.UpperThreshold = uint32(number(t, c.To))
	case "lower_threshold":
		d.LowerThreshold = uint32(number(t, c.To))
	}
}

// polls are instances that record what is done to them.
type polls struct {
	mu    sync.Mutex
	lines []string
}

func (p *polls) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
}

func (p *polls) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = nil
}

type poll struct {
	*polls
	mu  sync.Mutex
	cfg vrrp.Config
}

func (p *polls) open(c vrrp.Config) (instances.Engine, error) { return &poll{polls: p, cfg: c}, nil }

func (p *poll) Run(ctx context.Context) error {
	p.note("%s runs", p.Status().Name)
	<-ctx.Done()
	p.note("%s ended", p.Status().Name)
	return nil
}

func (p *poll) Close() error { return nil }

func (p *poll) HandOver() {}

func (p *poll) SetTracked(string, int, bool) {}

func (p *poll) Update(c vrrp.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Preempt = p.cfg.Preempt // readiness may change it
	if !cmp.Equal(c, p.cfg, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
		p.note("%s updated", c.Name)
	}
	p.cfg = c
}

func (p *poll) Status() vrrp.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return vrrp.Status{Name: p.cfg.Name, State: vrrp.Master, HasVIPs: true}
}

// compareElections compares what was done to each instance with the plan.
func compareElections(t *testing.T, p Preview, done *polls) {
	t.Helper()
	want := []string{}
	for _, e := range p.Instances {
		switch e.Action {
		case Start:
			want = append(want, e.Name+" runs")
		case Restart:
			want = append(want, e.Name+" ended", e.Name+" runs")
		case End:
			want = append(want, e.Name+" ended")
		case Edit:
			want = append(want, e.Name+" updated")
		}
	}
	done.mu.Lock()
	got := append([]string{}, done.lines...)
	done.mu.Unlock()
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("elections (-planned +done):\n%s", d)
	}
}

// farm makes random files that have much in common.
type farm struct{ *rand.Rand }

func (f farm) pick(all ...string) string { return all[f.IntN(len(all))] }

func (f farm) config(t *testing.T) *config.Config {
	t.Helper()
	file, err := config.Parse("lvsd.toml", []byte(f.text()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f farm) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[director]]\nname = \"lb1\"\naddress = \"10.0.0.12\"\n[[director]]\nname = \"lb2\"\naddress = \"10.0.0.13\"\n")
	fmt.Fprintf(&b, "[global]\nlog_level = %q\n[ipvs]\ntimeout_tcp = %q\nmanage_sysctls = %s\nforeign = %q\n",
		f.pick("info", "info", "debug"), f.pick("15m", "15m", "20m"), f.pick("true", "false"), f.pick("alarm", "ignore"))
	for i, name := range []string{"front", "back", "side"} {
		if f.IntN(3) == 0 && i > 0 {
			continue
		}
		fmt.Fprintf(&b, "[[vrrp]]\nname = %q\ninterface = %q\nvirtual_router_id = %d\npriority = { lb1 = %d, lb2 = 50 }\nadvert_interval = %q\naddresses = [\"10.0.%d.88\"]\n",
			name, f.pick("eth0", "eth0", "eth0", "eth1"), 51+i, 100+100*f.IntN(2), f.pick("1s", "1s", "2s"), i)
	}
	keys := []string{`address = "10.0.0.88:80"`, `address = "10.0.0.88:81"`, "address = \"10.0.1.88:53\"\nprotocol = \"udp\"", "fwmark = 7"}
	names := []string{"web", "api", "dns", "mark"}
	f.Shuffle(f.IntN(2)*2, func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i, key := range keys {
		if f.IntN(4) == 0 {
			continue
		}
		fmt.Fprintf(&b, "[[virtual_service]]\nname = %q\n%s\nforward = %q\nscheduler = %q\npersistence = %q\ndrain_timeout = %q\nquorum = %d\n",
			names[i], key, f.pick("dr", "tun"), f.pick("rr", "wlc", "sh", "mh", "dh"), f.pick("0s", "5m", "10m"), f.pick("0s", "0s", "1h"), 1+f.IntN(2))
		if f.IntN(4) == 0 {
			b.WriteString("on_failure = \"remove\"\n")
		}
		if f.IntN(4) == 0 {
			b.WriteString("fallback = \"127.0.0.1\"\n")
		}
		if f.IntN(4) == 0 {
			b.WriteString("slow_start = \"1m\"\n")
		}
		b.WriteString("check = { type = \"on\" }\nreal_servers = [\n")
		for n := range 5 {
			if f.IntN(3) == 0 {
				continue
			}
			fmt.Fprintf(&b, "  { address = \"10.0.0.%d\", weight = %d, upper_threshold = %d, check = { type = %q } },\n", 21+n, f.IntN(4), f.IntN(2)*10, f.pick("on", "on", "off"))
		}
		b.WriteString("]\n")
	}
	return b.String()
}
