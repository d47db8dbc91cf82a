package daemon

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/persist"
	"lvsd/config"
)

func TestAbandoned(t *testing.T) {
	p := netip.MustParsePrefix
	way := config.Route{To: p("10.9.0.0/16"), Interface: "eth0"}
	rule := config.Rule{From: p("10.0.0.88/32"), Table: 100, Priority: 1000}
	election := func(name, iface string, vrid uint8, addresses ...string) persist.Instance {
		e := persist.Instance{Name: name, Interface: iface, VRID: vrid}
		for _, a := range addresses {
			e.Addresses = append(e.Addresses, p(a))
		}
		return e
	}
	withRoutes := func(e persist.Instance) persist.Instance {
		e.Routes, e.Rules = []config.Route{way}, []config.Rule{rule}
		return e
	}
	next := []persist.Instance{election("web", "eth0", 51, "10.0.0.88/32"), withRoutes(election("mail", "eth1", 52, "10.0.0.99/32"))}
	for name, c := range map[string]struct{ last, want []persist.Instance }{
		"nothing":                {nil, nil},
		"the same":               {next, nil},
		"another election":       {[]persist.Instance{election("old", "eth0", 60, "10.0.0.60/32")}, []persist.Instance{election("old", "eth0", 60, "10.0.0.60/32")}},
		"renamed":                {[]persist.Instance{election("shop", "eth0", 60, "10.0.0.88/32")}, nil},
		"an address fewer":       {[]persist.Instance{election("web", "eth0", 51, "10.0.0.88/32", "10.0.0.89/32")}, []persist.Instance{election("web", "eth0", 0, "10.0.0.89/32")}},
		"the address moved":      {[]persist.Instance{election("web", "eth2", 51, "10.0.0.88/32")}, []persist.Instance{election("web", "eth2", 51, "10.0.0.88/32")}},
		"its routes are others'": {[]persist.Instance{withRoutes(election("web", "eth0", 51, "10.0.0.88/32"))}, nil},
	} {
		if d := cmp.Diff(c.want, noLongerConfigured(c.last, next), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

// TestTheRecordCoversAReload: what the next configuration may put on this host is on disk
// before it runs, and what only the last one had is no longer there when it does.
func TestTheRecordCoversAReload(t *testing.T) {
	dir, err := persist.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	r := newAddressRecord(dir, slog.New(slog.DiscardHandler))
	recorded := func() (names []string) {
		a, err := dir.LoadAddresses()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range a.Instances {
			names = append(names, i.Name)
		}
		return names
	}
	named := func(name string) *config.Config {
		return &config.Config{Instances: []config.Instance{{Name: name, Interface: "none"}}}
	}
	first, next := named("web"), named("mail")
	for _, c := range []struct {
		do   func()
		want string
	}{
		{func() { commit(t, r, nil, first) }, "web"},
		{func() { r.cover(next) }, "web mail"},
		{func() { commit(t, r, first, next) }, "mail"},
	} {
		c.do()
		if got := strings.Join(recorded(), " "); got != c.want {
			t.Errorf("recorded %q, want %q", got, c.want)
		}
	}
}

// commit makes a configuration the running one, and waits for the record.
func commit(t *testing.T, r *addressRecord, old, next *config.Config) {
	t.Helper()
	change, err := r.prepare(old, next)
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	if err := <-r.Save(persist.Addresses{Instances: r.running}); err != nil {
		t.Error(err)
	}
}

// TestAReloadDoesNotWaitForTheRecord: not longer than for a moment, and the status says
// that it is not on disk until it is.
func TestAReloadDoesNotWaitForTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, err := persist.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		r := newAddressRecord(dir, slog.New(slog.DiscardHandler))
		reply := make(chan struct{})
		write := r.Write
		r.Write = func(a persist.Addresses) error { <-reply; return write(a) }
		begin := time.Now()
		r.cover(&config.Config{})
		change, err := r.prepare(&config.Config{}, &config.Config{})
		if err != nil {
			t.Fatal(err)
		}
		change.Commit()
		if took := time.Since(begin); took != saveTimeout {
			t.Errorf("it took %v", took)
		}
		time.Sleep(disk.Deadline)
		if p := r.problems(); len(p) != 1 || !strings.Contains(p[0], "does not reply") {
			t.Errorf("problems: %q", p)
		}
		close(reply)
		synctest.Wait()
		if p := r.problems(); p != nil {
			t.Errorf("problems afterwards: %q", p)
		}
	})
}
