package ipvs_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

var cmpAddr = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

func key(s string) ServiceKey { return ServiceKey{Protocol: TCP, Address: netip.MustParseAddrPort(s)} }

// dest is a real server by DR on port 80.
func dest(last byte, weight int) Destination {
	return Destination{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, last}), 80), Forward: DirectRoute, Weight: weight}
}

func service(k ServiceKey, dests ...Destination) Service {
	s := Service{Key: k, Scheduler: "wlc", Destinations: map[netip.AddrPort]Destination{}}
	for _, d := range dests {
		s.Destinations[d.Address] = d
	}
	return s
}

func table(services ...Service) Table {
	t := Table{}
	for _, s := range services {
		t[s.Key] = s
	}
	return t
}

func names(ops []Op) []string {
	var out []string
	for _, op := range ops {
		s := op.String()
		switch op.Kind {
		case AddDestination, EditDestination:
			s += fmt.Sprintf(" w%d", op.Destination.Weight)
		}
		out = append(out, s)
	}
	return out
}

var (
	web  = key("10.0.0.88:80")
	mail = key("10.0.0.88:25")
)

func TestDiff(t *testing.T) {
	wrr := service(web, dest(1, 1))
	wrr.Scheduler = "wrr"
	persistent := service(web, dest(1, 1))
	persistent.Persistence = 60
	hostMask := service(web, dest(1, 1))
	hostMask.PersistenceBits = 32
	nat := dest(1, 1)
	nat.Forward = NAT
	limited := dest(1, 1)
	limited.UpperThreshold = 100
	udp := service(ServiceKey{Protocol: UDP, Address: web.Address}, dest(1, 1))

	for _, c := range []struct {
		name           string
		actual, wanted Table
		owned          Table
		foreign        ForeignPolicy
		ops            []string
		entries        []string
	}{
		{name: "nothing of nothing"},
		{name: "equal", actual: table(service(web, dest(1, 1))), wanted: table(service(web, dest(1, 1)))},
		{name: "new service with its servers", wanted: table(service(web, dest(2, 2), dest(1, 0))),
			ops: []string{"add_service tcp 10.0.0.88:80", "add_destination tcp 10.0.0.88:80 10.0.0.1:80 w0", "add_destination tcp 10.0.0.88:80 10.0.0.2:80 w2"}},
		{name: "one weight is one write", actual: table(service(web, dest(1, 1), dest(2, 2))), wanted: table(service(web, dest(1, 1), dest(2, 7))),
			ops: []string{"edit_destination tcp 10.0.0.88:80 10.0.0.2:80 w7"}},
		{name: "capacity is added before it is taken", actual: table(service(web, dest(1, 1), dest(2, 5), dest(3, 0))),
			wanted: table(service(web, dest(2, 0), dest(3, 1), dest(4, 1))), owned: table(service(web, dest(1, 1))),
			ops: []string{"add_destination tcp 10.0.0.88:80 10.0.0.4:80 w1", "edit_destination tcp 10.0.0.88:80 10.0.0.3:80 w1",
				"edit_destination tcp 10.0.0.88:80 10.0.0.2:80 w0", "delete_destination tcp 10.0.0.88:80 10.0.0.1:80"}},
		{name: "another scheduler keeps the service", actual: table(service(web, dest(1, 1))), wanted: table(wrr), ops: []string{"edit_service tcp 10.0.0.88:80"}},
		{name: "persistence on", actual: table(service(web, dest(1, 1))), wanted: table(persistent), ops: []string{"edit_service tcp 10.0.0.88:80"}},
		{name: "the default mask spelled out is no change", actual: table(hostMask), wanted: table(service(web, dest(1, 1)))},
		{name: "another forwarding is one edit", actual: table(service(web, nat)), wanted: table(service(web, dest(1, 1))),
			ops: []string{"edit_destination tcp 10.0.0.88:80 10.0.0.1:80 w1"}},
		{name: "thresholds are one edit", actual: table(service(web, dest(1, 1))), wanted: table(service(web, limited)),
			ops: []string{"edit_destination tcp 10.0.0.88:80 10.0.0.1:80 w1"}},
		{name: "another protocol is another service, made before the old one goes", actual: table(service(web, dest(1, 1))), wanted: table(udp), owned: table(service(web, dest(1, 1))),
			ops: []string{"add_service udp 10.0.0.88:80", "add_destination udp 10.0.0.88:80 10.0.0.1:80 w1", "delete_service tcp 10.0.0.88:80"}},
		{name: "a service that was never ours is not touched", actual: table(service(mail, dest(9, 1)))},
		{name: "an owned one that is not wanted goes", actual: table(service(mail, dest(9, 1))), owned: table(service(mail)), ops: []string{"delete_service tcp 10.0.0.88:25"}},
		{name: "an owned one that is gone already", owned: table(service(mail))},
		{name: "a wanted one that stands is adopted", actual: table(service(web, dest(1, 3))), wanted: table(service(web, dest(1, 1))),
			ops: []string{"edit_destination tcp 10.0.0.88:80 10.0.0.1:80 w1"}},
		{name: "foreign server, alarm", actual: table(service(web, dest(1, 1), dest(7, 1))), wanted: table(service(web, dest(1, 1))), entries: []string{"tcp 10.0.0.88:80 10.0.0.7:80"}},
		{name: "foreign server, ignore", foreign: Ignore, actual: table(service(web, dest(1, 1), dest(7, 1))), wanted: table(service(web, dest(1, 1)))},
		{name: "foreign server, remove", foreign: Remove, actual: table(service(web, dest(1, 1), dest(7, 1))), wanted: table(service(web, dest(1, 1))),
			ops: []string{"delete_destination tcp 10.0.0.88:80 10.0.0.7:80"}, entries: []string{"tcp 10.0.0.88:80 10.0.0.7:80"}},
		{name: "a foreign server that is wished for is adopted", actual: table(service(web, dest(7, 1))), wanted: table(service(web, dest(7, 2))),
			ops: []string{"edit_destination tcp 10.0.0.88:80 10.0.0.7:80 w2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ops, entries := Diff(c.actual, c.wanted, Owned{}.With(c.owned), c.foreign)
			if d := cmp.Diff(c.ops, names(ops)); d != "" {
				t.Errorf("writes (-want +got):\n%s", d)
			}
			var got []string
			for _, e := range entries {
				got = append(got, e.String())
			}
			if d := cmp.Diff(c.entries, got); d != "" {
				t.Errorf("foreign entries (-want +got):\n%s", d)
			}
		})
	}
}

// randomTable has services and servers out of small sets, so that two of them
// overlap.
func randomTable(r *rand.Rand) Table {
	t := Table{}
	for port := range 4 {
		if r.IntN(3) == 0 {
			continue
		}
		k := ServiceKey{Protocol: []Protocol{TCP, UDP}[port%2], Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 88}), uint16(port))}
		if port == 3 {
			k.Address = netip.MustParseAddrPort("[2001:db8::88]:80")
		}
		s := Service{Key: k, Scheduler: []string{"rr", "wlc", "sh"}[r.IntN(3)], Persistence: uint32(r.IntN(2) * 60),
			Flags: SchedulerFlags(r.IntN(2)) * Sched1, Destinations: map[netip.AddrPort]Destination{}}
		for last := range 6 {
			if r.IntN(2) == 0 {
				continue
			}
			d := dest(byte(last+1), r.IntN(3))
			if port == 3 {
				d.Address = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0xd, 0xb8, 15: byte(last + 1)}), 80)
			}
			d.Forward = []Forward{NAT, DirectRoute, Tunnel}[r.IntN(3)]
			d.UpperThreshold = uint32(r.IntN(2) * 10)
			s.Destinations[d.Address] = d
		}
		t[k] = s
	}
	return t
}

func randomPart(r *rand.Rand, t Table) Table {
	part := t.Clone()
	for k, s := range part {
		if r.IntN(4) == 0 {
			delete(part, k)
			continue
		}
		for a := range s.Destinations {
			if r.IntN(3) == 0 {
				delete(s.Destinations, a)
			}
		}
	}
	return part
}

// TestDiffProperties: from any table to any table, the writes lead there and
// leave what is not ours alone; there are no more of them than entries that
// differ; and no prefix of them, however it was cut, leaves a service with fewer
// live servers than both tables have.
func TestDiffProperties(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		actual, wanted := randomTable(r), randomTable(r)
		owned := Owned{}.With(randomPart(r, actual))
		policy := ForeignPolicy(r.IntN(3))
		ops, entries := Diff(actual, wanted, owned, policy)

		end := endTable(actual, wanted, owned, policy)
		now := actual.Clone()
		checkPrefix(t, seed, actual, end, now)
		fake := ipvstest.New()
		fake.Change(func(t Table) { maps.Copy(t, now.Clone()) })
		for _, op := range ops {
			if err := fake.Apply(op); err != nil {
				t.Fatalf("seed %d: %s: %v", seed, op, err)
			}
			now = fake.Table()
			checkPrefix(t, seed, actual, end, now)
		}
		if d := cmp.Diff(normal(end), normal(now), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
			t.Fatalf("seed %d: not where it should lead (-want +got):\n%s", seed, d)
		}
		again, still := Diff(now, wanted, owned, policy)
		if len(again) != 0 {
			t.Fatalf("seed %d: not idempotent: %v", seed, names(again))
		}
		if policy == Alarm && !reflect.DeepEqual(entries, still) {
			t.Fatalf("seed %d: foreign entries %v, then %v", seed, entries, still)
		}
		if n := differences(actual, end); len(ops) != n {
			t.Fatalf("seed %d: %d writes for %d differences: %v", seed, len(ops), n, names(ops))
		}
	}
}

// endTable computes in another way than Diff what the table should become.
func endTable(actual, wanted Table, owned Owned, policy ForeignPolicy) Table {
	end := wanted.Clone()
	for k, s := range actual {
		w, isWanted := end[k]
		_, ours := owned[k]
		if !isWanted {
			if !ours {
				end[k] = s
			}
			continue
		}
		for a, d := range s.Destinations {
			if _, ok := w.Destinations[a]; !ok && !owned.Has(k, a) && policy != Remove {
				w.Destinations[a] = d
			}
		}
	}
	return end
}

func normal(t Table) Table {
	c := t.Clone()
	for k, s := range c {
		s.PersistenceBits = s.PersistencePrefix()
		c[k] = s
	}
	return c
}

// differences counts the entries that differ, a deleted service as one.
func differences(a, b Table) int {
	n := 0
	for k, s := range a {
		o, there := b[k]
		if !there {
			n++
			continue
		}
		if !s.SameSettings(o) {
			n++
		}
		for addr, d := range s.Destinations {
			if od, there := o.Destinations[addr]; !there || od != d {
				n++
			}
		}
	}
	for k, s := range b {
		if _, there := a[k]; !there {
			n++
		}
		for addr := range s.Destinations {
			if _, there := a[k].Destinations[addr]; !there {
				n++
			}
		}
	}
	return n
}

func checkPrefix(t *testing.T, seed uint64, old, end, now Table) {
	t.Helper()
	for k, s := range end {
		least := min(old[k].Usable(), s.Usable())
		if live := now[k].Usable(); live < least {
			t.Fatalf("seed %d: %s has %d live servers on the way, %d before and %d after", seed, k, live, old[k].Usable(), s.Usable())
		}
	}
}

func bigTable(n int) Table {
	s := service(web)
	for i := range n {
		d := Destination{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80), Forward: DirectRoute, Weight: 1}
		s.Destinations[d.Address] = d
	}
	return table(s)
}

// BenchmarkFill is the difference from an empty table.
func BenchmarkFill(b *testing.B) {
	for _, n := range []int{1000, 10_000, 40_000} {
		b.Run(fmt.Sprint("servers=", n), func(b *testing.B) {
			wanted := bigTable(n)
			b.ReportAllocs()
			for b.Loop() {
				if ops, _ := Diff(Table{}, wanted, Owned{}, Alarm); len(ops) != n+1 {
					b.Fatal(len(ops))
				}
			}
		})
	}
}

func BenchmarkDiff(b *testing.B) {
	actual, same := bigTable(10_000), bigTable(10_000)
	changed := bigTable(10_000)
	for a, d := range changed[web].Destinations {
		d.Weight = 2
		changed[web].Destinations[a] = d
		break
	}
	owned := Owned{}.With(actual)
	for _, c := range []struct {
		name   string
		wanted Table
		writes int
	}{{"10000-nothing-to-do", same, 0}, {"10000-one-weight", changed, 1}, {"10000-from-empty", same, 10_001}} {
		b.Run(c.name, func(b *testing.B) {
			from := actual
			if c.writes > 1 {
				from = Table{}
			}
			b.ReportAllocs()
			for b.Loop() {
				if ops, _ := Diff(from, c.wanted, owned, Alarm); len(ops) != c.writes {
					b.Fatal(len(ops))
				}
			}
		})
	}
}
