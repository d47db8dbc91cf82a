package markprobe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// fakeHost routes everything by eth0 except for what it is set to refuse.
type fakeHost struct {
	unreachable netip.Addr
	accepts     []string
	refuses     error
}

func (h *fakeHost) Route(to netip.Addr) (netip.Addr, string, error) {
	if to == h.unreachable {
		return netip.Addr{}, "", errors.New("there is no route to it")
	}
	return netip.MustParseAddr("10.0.0.12"), "eth0", nil
}

func (h *fakeHost) AcceptLocal(interfaces []string) error { h.accepts = interfaces; return h.refuses }

// throughFile is two services over the same servers, probed through.
func throughFile(t *testing.T, servers ...string) *config.Config {
	t.Helper()
	var b strings.Builder
	for i, port := range []int{80, 443} {
		fmt.Fprintf(&b, "[[virtual_service]]\nname = \"s%d\"\naddress = \"10.0.0.88:%d\"\ncheck = { type = \"connect\", through = true }\nreal_servers = [\n", i, port)
		for _, s := range servers {
			fmt.Fprintf(&b, "  { address = \"%s:%d\" },\n", s, port)
		}
		b.WriteString("]\n")
	}
	f, err := config.Parse("lvsd.toml", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func commit(t *testing.T, ts *Set, c *config.Config) {
	t.Helper()
	change, err := ts.Prepare(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
}

// marks are those of the servers, by address.
func (t Paths) marks() map[string]uint32 {
	out := map[string]uint32{}
	for p, own := range t {
		out[p.server.String()] = own.Mark
	}
	return out
}

// TestPathsKeepTheirMarks: services share a path to a server; a path keeps its mark
// over reloads, and the mark of one that was removed is used again.
func TestPathsKeepTheirMarks(t *testing.T) {
	h := &fakeHost{}
	ts := New(h, slog.New(slog.DiscardHandler))
	commit(t, ts, throughFile(t, "10.0.0.9", "10.0.0.20"))
	first := ts.paths.marks()
	const base = 0x6c760000
	if len(ts.paths) != 2 || first["10.0.0.9"] != base || first["10.0.0.20"] != base+1 {
		t.Fatalf("marks %v", first)
	}
	if fmt.Sprint(h.accepts) != "[eth0]" {
		t.Errorf("interfaces %v", h.accepts)
	}
	commit(t, ts, throughFile(t, "10.0.0.7", "10.0.0.20"))
	if got := ts.paths.marks(); len(got) != 2 || got["10.0.0.20"] != base+1 || got["10.0.0.7"] != base {
		t.Errorf("after a reload: %v", got)
	}
	c := throughFile(t)
	commit(t, ts, c)
	if len(ts.paths) != 0 || len(h.accepts) != 0 {
		t.Errorf("nothing goes through any more: %v %v", ts.paths, h.accepts)
	}
}

// TestPathsAreWritten: the desired table has a service of one server for each.
func TestPathsAreWritten(t *testing.T) {
	ts := New(&fakeHost{}, slog.New(slog.DiscardHandler))
	c := throughFile(t, "10.0.0.9")
	commit(t, ts, c)
	plan := decision.Decide(decision.Inputs{Config: c, MarkServices: ts.paths.Services()})
	key := ipvs.ServiceKey{Mark: 0x6c760000}
	d, ok := plan.Desired.Table[key].Destinations[netip.MustParseAddrPort("10.0.0.9:0")]
	if len(plan.Desired.Table) != 3 || !ok || d.Weight != 1 || d.Forward != ipvs.DirectRoute || plan.Desired.Names[key] == "" {
		t.Errorf("%+v", plan.Desired.Table)
	}
	if len(plan.Services) != 2 {
		t.Error("the paths are decided like services")
	}
}

// TestUnreachableIsRefused: every server without a route is reported.
func TestUnreachableIsRefused(t *testing.T) {
	ts := New(&fakeHost{unreachable: netip.MustParseAddr("10.0.0.9")}, slog.New(slog.DiscardHandler))
	_, err := ts.Prepare(nil, throughFile(t, "10.0.0.9", "10.0.0.20"))
	if err == nil || !strings.Contains(err.Error(), "lvsd.toml:6:") || !strings.Contains(err.Error(), "no route") {
		t.Errorf("%v", err)
	}
}

// TestPathsThatStand: a path counts when the kernel has it, and had it all the time.
func TestPathsThatStand(t *testing.T) {
	const mark = 0x6c760000
	there := ipvs.Service{Key: ipvs.ServiceKey{Mark: mark}, Scheduler: "rr", PersistenceBits: 32, Destinations: map[netip.AddrPort]ipvs.Destination{netip.MustParseAddrPort("10.0.0.9:0"): {}}}
	empty := there
	empty.Destinations = nil
	for name, c := range map[string]struct {
		table   []ipvs.Service
		unread  error
		written time.Duration // before the probe began; 0: never
		want    string
	}{
		"it does":              {table: []ipvs.Service{there}},
		"for long":             {table: []ipvs.Service{there}, written: time.Second},
		"removed":              {want: "another process removed"},
		"another's":            {table: []ipvs.Service{{Key: ipvs.ServiceKey{Mark: mark + 1}, Destinations: there.Destinations}}, want: "another process removed"},
		"without its server":   {table: []ipvs.Service{empty}, want: "another process removed"},
		"made again meanwhile": {table: []ipvs.Service{there}, written: -time.Millisecond, want: "written again"},
		"not known":            {table: []ipvs.Service{there}, unread: errors.New("no answer"), want: "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour)
				kernel := ipvstest.New()
				writes := &Writes{Kernel: kernel}
				began := time.Now().Add(c.written)
				if c.written != 0 {
					if err := writes.Apply(ipvs.Op{Kind: ipvs.AddService, Service: there}); err != nil {
						t.Fatal(err)
					}
				}
				table := ipvs.Table{}
				for _, svc := range c.table {
					table[svc.Key] = svc
				}
				err := writes.Fault(t.Context(), mark, began, func(context.Context, time.Time) (ipvs.Snapshot, error) {
					return ipvs.Snapshot{Table: table}, c.unread
				})
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
			})
		})
	}
}
