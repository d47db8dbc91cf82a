package conflict

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	start = time.Unix(1_000_000, 0)
	web   = Holder{netip.MustParseAddr("10.0.0.88"), "is used by 02:00:00:00:00:09 too"}
	mail  = Holder{netip.MustParseAddr("10.0.0.89"), "is on eth1 of this director too"}
)

func TestHosts(t *testing.T) {
	var table Table
	if table.Deadline() != (time.Time{}) || table.String() != "" {
		t.Error("an empty table is due")
	}
	if !table.Saw(start, web) {
		t.Error("not new")
	}
	// The last announcement of a master that was just preempted comes late, and once.
	table.Saw(start.Add(delay-1), web)
	table.Tick(start.Add(delay))
	if d := table.Deadline(); len(table.Holders()) > 0 || d != start.Add(delay-1+Hold) {
		t.Errorf("at once: %v, due in %v", table.Holders(), d.Sub(start))
	}
	table.Saw(start.Add(delay), web)
	if d := table.Deadline(); !slices.Equal(table.Holders(), []Holder{web}) || d != start.Add(delay+Hold) {
		t.Errorf("seen again: %v, due in %v", table.Holders(), d.Sub(start))
	}
	other := web
	other.Detail = "is used by 02:00:00:00:00:0a too"
	if table.Saw(start.Add(time.Minute), other) || table.String() != "10.0.0.88 is used by 02:00:00:00:00:09 too" {
		t.Errorf("a second host: %v", table.Holders())
	}
	end := start.Add(time.Minute + Hold)
	if d := table.Deadline(); d != end {
		t.Errorf("seen again, it ends in %v", d.Sub(start))
	}
	table.Tick(end)
	if len(table.Holders()) > 0 || !table.Deadline().IsZero() {
		t.Errorf("after its end: %v", table.Holders())
	}
	table.Saw(end, web)
	table.Forget(end.Add(time.Minute))
	if len(table.Holders()) > 0 || !table.Deadline().IsZero() {
		t.Error("not forgotten")
	}
}

func TestLocal(t *testing.T) {
	var table Table
	table.SetLocal(start, []Holder{mail})
	if d := table.Deadline(); d != start.Add(delay) {
		t.Errorf("due in %v", d.Sub(start))
	}
	table.SetLocal(start.Add(delay), []Holder{mail})
	table.Saw(start, web)
	table.Saw(start.Add(delay), web)
	if !slices.Equal(table.Holders(), []Holder{web, mail}) {
		t.Errorf("%v", table.Holders())
	}
	table.Forget(start.Add(time.Minute))
	if !slices.Equal(table.Holders(), []Holder{mail}) || !table.Deadline().IsZero() {
		t.Errorf("%v, due at %v", table.Holders(), table.Deadline())
	}
	table.SetLocal(start.Add(time.Minute), nil)
	if len(table.Holders()) > 0 {
		t.Errorf("%v", table.Holders())
	}
}

func TestManyHolders(t *testing.T) {
	var table Table
	for i := range 5 {
		for _, at := range []time.Time{start, start.Add(delay)} {
			table.Saw(at, Holder{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), "is"})
		}
	}
	if s := table.String(); s != "10.0.0.0 is, 10.0.0.1 is, 10.0.0.2 is, and more" {
		t.Error(s)
	}
}
