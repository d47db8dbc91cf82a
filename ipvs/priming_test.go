package ipvs_test

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// hashedBy is a service by mh with destinations of these weights.
func hashedBy(weights ...int) Service {
	s := Service{Key: ServiceKey{Protocol: TCP, Address: netip.MustParseAddrPort("10.0.0.88:80")}, Scheduler: "mh", Flags: MHFallback, Destinations: map[netip.AddrPort]Destination{}}
	for i, w := range weights {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i + 1)}), 80)
		s.Destinations[a] = Destination{Address: a, Forward: DirectRoute, Weight: w}
	}
	return s
}

// primes has the same weight for all destinations of a service.
func primes(s Service, weight int) map[Entry]int {
	all := map[Entry]int{}
	for a := range s.Destinations {
		all[Entry{Service: s.Key, RealServer: a}] = weight
	}
	return all
}

// lastWeights are the weights above 0 that each destination got last: what mh builds its
// table from.
func lastWeights(k *ipvstest.Kernel, s Service) (all []int) {
	last := map[netip.AddrPort]int{}
	for _, op := range k.Ops() {
		if (op.Kind == AddDestination || op.Kind == EditDestination) && op.Destination.Weight > 0 {
			last[op.Destination.Address] = op.Destination.Weight
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(s.Destinations), netip.AddrPort.Compare) {
		all = append(all, last[a])
	}
	return all
}

func weightsText(all []int) string {
	var b strings.Builder
	for _, w := range all {
		b.WriteByte(byte('0' + w))
	}
	return b.String()
}

// TestPriming: destinations of weight 0 get their other weight first: when they are added,
// when that weight changes, and when a run begins that finds them at 0; then they have 0.
func TestPriming(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		set := func(s Service, weight int) {
			b.r.SetDesired(Desired{Table: table(s), Prime: primes(s, weight)})
			synctest.Wait()
			b.expectTable(s)
		}
		want := func(s Service, last string) {
			t.Helper()
			if got := weightsText(lastWeights(b.k, s)); got != last {
				t.Errorf("last weights %s, want %s", got, last)
			}
		}
		set(hashedBy(0, 3, 0), 3)
		want(hashedBy(0, 3, 0), "333")
		writes := len(b.k.Ops())
		set(hashedBy(0, 3, 0), 3)
		if n := len(b.k.Ops()); n != writes {
			t.Errorf("%d writes without a change", n-writes)
		}
		set(hashedBy(0, 5, 0), 5)
		want(hashedBy(0, 5, 0), "555")
		set(hashedBy(0, 0, 0), 5) // the second failed: it has had that weight
		if last := b.k.Ops()[len(b.k.Ops())-1]; last.Destination.Weight != 0 {
			t.Errorf("%+v", last)
		}
		want(hashedBy(0, 0, 0), "555")
	})
	// Left by a run that primed nothing, or another weight.
	k := ipvstest.New()
	k.Change(func(t Table) { s := hashedBy(0, 2); t[s.Key] = s })
	inBubble(t, k, nil, func(b *bench) {
		s := hashedBy(0, 2)
		b.r.SetDesired(Desired{Table: table(s), Prime: primes(s, 2)})
		synctest.Wait()
		b.expectTable(s)
		if got := weightsText(lastWeights(b.k, s)); got[:1] != "2" {
			t.Errorf("last weights %s", got)
		}
	})
}

// TestPrimingForeign: a destination at weight 0 to which another process gave a weight, or which
// it removed and added, gets the weight that it is primed with again.
func TestPrimingForeign(t *testing.T) {
	for name, change := range map[string]func(k *ipvstest.Kernel, s Service){
		"weight": func(k *ipvstest.Kernel, s Service) {
			k.Change(func(t Table) {
				for a, d := range s.Destinations {
					d.Weight = 7
					t[s.Key].Destinations[a] = d
				}
			})
		},
		"added": func(k *ipvstest.Kernel, s Service) { // after it was read as missing
			var there Table
			k.Change(func(t Table) { there = t; clear(t[s.Key].Destinations) })
			k.Refuse(func(op Op) error {
				if op.Kind == AddDestination {
					d := op.Destination
					d.Weight = 7
					there[s.Key].Destinations[d.Address] = d
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, ipvstest.New(), nil, func(b *bench) {
				s := hashedBy(0)
				b.r.SetDesired(Desired{Table: table(s), Prime: primes(s, 3)})
				synctest.Wait()
				b.expectTable(s)
				writes := len(b.k.Ops())
				change(b.k, s)
				time.Sleep(time.Minute) // of the bubble: longer than the interval of comparisons
				synctest.Wait()
				b.expectTable(s)
				var weights []int
				for _, op := range b.k.Ops()[writes:] {
					if op.Kind == EditDestination {
						weights = append(weights, op.Destination.Weight)
					}
				}
				if !slices.Equal(weights, []int{3, 0}) {
					t.Errorf("weights written %v, want 3 and 0", weights)
				}
			})
		})
	}
}

// TestPrimingFails: a destination never stays at the weight that it was primed with.
func TestPrimingFails(t *testing.T) {
	for n := 2; n <= 3; n++ { // the service is the first write
		inBubble(t, ipvstest.New(), nil, func(b *bench) {
			s := hashedBy(0)
			b.k.FailNth(n, errors.New("no memory"))
			b.r.SetDesired(Desired{Table: table(s), Prime: primes(s, 4)})
			time.Sleep(5 * time.Second) // of the bubble
			synctest.Wait()
			b.expectTable(s)
			if got := weightsText(lastWeights(b.k, s)); got != "4" {
				t.Errorf("write %d failed: last weights %s", n, got)
			}
		})
	}
}
