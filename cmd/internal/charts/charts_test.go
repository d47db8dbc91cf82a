package charts

import (
	"context"
	"net/netip"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/ipvs"
)

var (
	web  = ipvs.ServiceKey{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort("10.0.0.88:80")}
	nine = netip.MustParseAddrPort("10.0.0.9:80")
	ten  = netip.MustParseAddrPort("10.0.0.10:80")
)

// seen is a view some seconds after the beginning: a service with servers, each of
// which has so many active connections and has had so many in all.
func seen(second int, connections uint64, active uint32, servers ...netip.AddrPort) director.View {
	at := time.Unix(1_700_000_000+int64(second), 0)
	stats := ipvs.ServiceStats{Counters: ipvs.Counters{Connections: connections, BytesIn: connections * 100, BytesOut: connections * 900}, Destinations: map[netip.AddrPort]ipvs.DestinationStats{}}
	plan := decision.Service{Name: "web", Key: web}
	for _, s := range servers {
		stats.Destinations[s] = ipvs.DestinationStats{Active: active, Counters: ipvs.Counters{Connections: connections}}
		plan.Servers = append(plan.Servers, decision.RealServer{ID: checker.ID{Service: "web", RealServer: s.String()}, Address: s})
	}
	return director.View{At: at, Decision: decision.Decision{Services: []decision.Service{plan}},
		Kernel: ipvs.Snapshot{Valid: true, At: at, Stats: map[ipvs.ServiceKey]ipvs.ServiceStats{web: stats}}}
}

func TestWhatIsKept(t *testing.T) {
	var r Ring
	r.Sample(seen(0, 100, 3, nine))
	r.Sample(seen(10, 150, 4, nine))
	r.Sample(seen(10, 150, 4, nine)) // the kernel was not read since
	r.Sample(seen(30, 50, 5, nine, ten))
	last := seen(40, 51, 6, nine, ten)
	r.Sample(last)
	got := r.Charts(last, "web")
	if len(got.At) != 4 || !got.At[3].Equal(last.At) {
		t.Errorf("at %v", got.At)
	}
	want := []Service{{Name: "web",
		Chart: Chart{Active: []float64{3, 4, 10, 12}, Connections: []float64{Unknown, 5, Unknown, .1}, Bytes: []float64{Unknown, 5000, Unknown, 100}},
		Servers: []Server{
			{nine.String(), Chart{Active: []float64{3, 4, 5, 6}, Connections: []float64{Unknown, 5, Unknown, .1}, Bytes: []float64{Unknown, 0, Unknown, 0}}},
			{ten.String(), Chart{Active: []float64{Unknown, Unknown, 5, 6}, Connections: []float64{Unknown, Unknown, Unknown, .1}, Bytes: []float64{Unknown, Unknown, Unknown, 0}}},
		}}}
	if !reflect.DeepEqual(got.Services, want) {
		t.Errorf("\n%+v\nwant\n%+v", got.Services, want)
	}
	if all := r.Charts(last); len(all.Services) != 1 || len(all.Services[0].Servers) != 0 || len(all.Services[0].Active) != 4 {
		t.Errorf("all services: %+v", all)
	}
	if none := r.Charts(last, "mail"); len(none.Services) != 0 {
		t.Errorf("%+v", none)
	}
}

// TestTheRingIsBounded: in time, and in the number of series; a server that is removed
// and added again has a gap, one that stays removed is forgotten.
func TestTheRingIsBounded(t *testing.T) {
	var r Ring
	for i := range 3 * Points {
		servers := []netip.AddrPort{nine, ten}
		if i > Points && i < 3*Points-5 {
			servers = servers[:1]
		}
		r.Sample(seen(10*i, uint64(i), uint32(i), servers...))
	}
	got := r.Charts(seen(0, 0, 0, nine, ten), "web")
	if len(got.At) != Points {
		t.Errorf("%d times", len(got.At))
	}
	for _, s := range got.Services[0].Servers {
		if len(s.Active) != Points {
			t.Errorf("%s has %d values", s.Address, len(s.Active))
		}
		for i, a := range s.Active {
			want := float64(2*Points + i)
			if s.Address == ten.String() && i < Points-5 {
				want = Unknown
			}
			if a != want {
				t.Errorf("%s at %d: %v, want %v", s.Address, i, a, want)
			}
		}
	}
	for i := range Points {
		r.Sample(seen(10_000+i, 0, 0, nine))
	}
	if len(r.series) != 2 {
		t.Errorf("%d series of a service with one server", len(r.series))
	}
	var many []netip.AddrPort
	for i := range seriesLimit + 50 {
		many = append(many, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80))
	}
	r.Sample(seen(20_000, 0, 0, many...))
	if len(r.series) != seriesLimit {
		t.Errorf("%d series, the limit is %d", len(r.series), seriesLimit)
	}
}

// TestRun reads the kernel only when no other reader has lately.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var r Ring
		start := time.Now()
		var asked atomic.Int32
		var stale atomic.Bool
		taken := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.samples
		}
		look := func() director.View {
			v := seen(0, 0, 0, nine)
			if v.At, v.Kernel.At = time.Now(), start; !stale.Load() {
				v.Kernel.At = time.Now()
			}
			return v
		}
		view := func(context.Context) director.View {
			asked.Add(1)
			v := seen(0, 0, 0, nine)
			v.At, v.Kernel.At = time.Now(), time.Now()
			return v
		}
		done := make(chan error)
		go func() { done <- r.Run(ctx, look, view) }()
		time.Sleep(5*Every + time.Second) // of the bubble's time, as below
		synctest.Wait()
		if asked.Load() != 0 || taken() != 5 {
			t.Errorf("asked %d times, %d samples", asked.Load(), taken())
		}
		stale.Store(true)
		time.Sleep(3 * Every)
		synctest.Wait()
		if asked.Load() != 3 || taken() != 8 {
			t.Errorf("asked %d times, %d samples", asked.Load(), taken())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkTake(b *testing.B) {
	var servers []netip.AddrPort
	for i := range 10_000 {
		servers = append(servers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80))
	}
	var r Ring
	v := seen(0, 0, 0, servers...)
	for i := 0; b.Loop(); i++ {
		v.Kernel.At = time.Unix(int64(i+1), 0)
		r.Sample(v)
	}
	b.ReportMetric(float64(len(r.series)), "series")
}
