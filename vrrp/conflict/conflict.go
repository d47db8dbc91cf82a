package conflict

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// delay is how long another host must use the address before it counts: a single
	// sighting may be the last announcement of the master that this director has just
	// preempted. A real holder is seen again soon, as it is probed every second at first. A
	// holder on this host counts after the same time.
	delay = 2 * time.Second
	// Hold is how long a host counts after it was seen last: meanwhile a master asks
	// every five seconds.
	Hold = 15 * time.Second
)

// Holder is another holder of one of our addresses.
type Holder struct {
	Address netip.Addr
	Detail  string // text: which one, and where
}

// Table has the other holders. The zero value is empty. It must not be used
// concurrently.
type Table struct {
	hosts   []entry // at most one for each address
	local   []entry // on this host
	holders []Holder
}

// entry is a holder with its times.
type entry struct {
	Holder
	from   time.Time // when it begins to count: a host that is seen again from then on
	counts bool
	until  time.Time // when a host ends; one on this host ends with its report
}

// Saw records that another host used an address, and reports whether that is new. The
// first detail of an address stays while it is seen, so that not every message of a host
// changes what is shown.
func (t *Table) Saw(now time.Time, h Holder) (first bool) {
	i := slices.IndexFunc(t.hosts, func(e entry) bool { return e.Address == h.Address })
	if i >= 0 {
		e := &t.hosts[i]
		if e.until = now.Add(Hold); !e.counts && !now.Before(e.from) {
			e.counts = true
			t.Tick(now)
		}
		return false
	}
	t.hosts = append(t.hosts, entry{Holder: h, from: now.Add(delay), until: now.Add(Hold)})
	return true
}

// SetLocal replaces the holders on this host.
func (t *Table) SetLocal(now time.Time, all []Holder) {
	before := t.local
	t.local = nil
	for _, h := range all {
		e := entry{Holder: h, from: now.Add(delay)}
		if i := slices.IndexFunc(before, func(e entry) bool { return e.Holder == h }); i >= 0 {
			e = before[i]
		}
		t.local = append(t.local, e)
	}
	t.Tick(now)
}

// Contended reports whether another host was seen recently.
func (t *Table) Contended() bool { return len(t.hosts) > 0 }

// Forget forgets the other hosts.
func (t *Table) Forget(now time.Time) {
	if len(t.hosts) > 0 {
		t.hosts = nil
		t.Tick(now)
	}
}

// Deadline returns when Tick is due; the zero Time: never.
func (t *Table) Deadline() (first time.Time) {
	earlier := func(due time.Time) {
		if first.IsZero() || due.Before(first) {
			first = due
		}
	}
	for _, e := range t.hosts {
		earlier(e.until)
	}
	for _, e := range t.local {
		if !e.counts {
			earlier(e.from)
		}
	}
	return first
}

// Tick lets hosts end, and holders on this host begin, to count.
func (t *Table) Tick(now time.Time) {
	t.hosts = slices.DeleteFunc(t.hosts, func(e entry) bool { return !now.Before(e.until) })
	for i := range t.local {
		t.local[i].counts = t.local[i].counts || !now.Before(t.local[i].from)
	}
	var holders []Holder
	for _, e := range slices.Concat(t.hosts, t.local) {
		if e.counts {
			holders = append(holders, e.Holder)
		}
	}
	slices.SortFunc(holders, func(a, b Holder) int {
		if c := a.Address.Compare(b.Address); c != 0 {
			return c
		}
		return strings.Compare(a.Detail, b.Detail)
	})
	t.holders = holders
}

// Holders returns those that count, by address. The slice is not changed later.
func (t *Table) Holders() []Holder { return t.holders }

// String describes them: some of them where they are many.
func (t *Table) String() string {
	const most = 3
	var parts []string
	for _, h := range t.holders[:min(len(t.holders), most)] {
		parts = append(parts, h.Address.String()+" "+h.Detail)
	}
	if more := len(t.holders) - most; more > 0 {
		parts = append(parts, "and more")
	}
	return strings.Join(parts, ", ")
}
