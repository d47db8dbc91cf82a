package metrics

import (
	"cmp"
	"context"
	"fmt"
	"lvsd/cmd/internal/persist"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/cmd/internal/announce"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// view has one of everything.
func view(context.Context) director.View {
	key := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort("10.0.0.88:80")}
	real := netip.MustParseAddrPort("10.0.0.9:80")
	gone := netip.MustParseAddrPort("10.0.0.10:80")
	id := checker.ID{Service: "web", RealServer: real.String()}
	var totals outcome.Totals
	totals[0] = 7 // ok
	anycast := netip.MustParseAddr("192.0.2.80")
	return director.View{
		Config: &config.Config{Director: "lb1", Hash: "abc", Exchange: &config.Exchange{ProbeShare: true}, Global: config.Global{PerServerMetrics: true}, Services: []config.Service{{Name: "web", Quorum: 2}},
			Announces: []config.Announce{{Name: "any", Table: 112, Addresses: []netip.Addr{anycast, netip.MustParseAddr("192.0.2.81")}}}},
		LastReload: director.Reload{LastSuccess: time.Unix(100, 0)},
		Decision: decision.Decision{Services: []decision.Service{{Name: "web", Key: key, Up: true, AvailableWeight: 3, Servers: []decision.RealServer{
			{ID: id, Address: real, State: checker.Up, UncheckedSince: time.Unix(92, 0), DrainUntil: time.Unix(93, 0), Causes: []decision.Cause{{Kind: decision.CauseDrain, Since: time.Unix(96, 0)}}},
		}, Fallback: decision.Fallback{Active: true}, Panic: true}}, Guard: decision.Guard{State: decision.GuardFrozen}},
		Health: map[checker.ID]checker.Health{id: {Checks: []checker.CheckHealth{{Name: "http /other", State: checker.Down, UncheckedSince: time.Unix(92, 0), Last: outcome.Result{At: time.Unix(98, 0), Took: 2 * time.Second}}, {Name: "http", State: checker.Up, Totals: totals, CertificateExpiry: time.Unix(95, 0), Last: outcome.Result{At: time.Unix(99, 0), Took: time.Second}}}}},
		Kernel: ipvs.Snapshot{Valid: true, Up: true, At: time.Unix(98, 0), Foreign: 2,
			Table: ipvs.Table{key: {Destinations: map[netip.AddrPort]ipvs.Destination{real: {Weight: 3}}}},
			Stats: map[ipvs.ServiceKey]ipvs.ServiceStats{key: {Counters: ipvs.Counters{Connections: 1 << 40},
				Destinations: map[netip.AddrPort]ipvs.DestinationStats{real: {Active: 5}}}},
			Sync:       ipvs.SyncState{Master: ipvs.SyncDaemon{Running: true}},
			SyncOwned:  true,
			Draining:   []ipvs.Draining{{Entry: ipvs.Entry{Service: key, RealServer: gone}, Since: time.Unix(94, 0)}, {Entry: ipvs.Entry{Service: key, RealServer: real}}, {}},
			Drift:      map[string]uint64{"service_missing": 1},
			Operations: map[ipvs.Operation]uint64{{Op: "add_service", Result: "ok"}: 9}},
		Standby:       map[string]persist.Standby{"web": {}, director.StandbyKey("any"): {}},
		Announcements: []decision.Announcement{{Name: "any", Announced: true, Kept: true}},
		Announcing:    map[string][]string{"any": {"lb2", "lb3"}},
		Withdrawals:   map[director.Withdrawal]uint64{{Announce: "any", Reason: decision.AnnounceQuorum}: 4},
		Routes: announce.Snapshot{Repairs: 7, Foreign: make([]announce.ForeignRoute, 2),
			Daemons: map[string]bool{"": true},
			Present: map[announce.Key]announce.Route{{Table: 112, Address: anycast}: {}}},
		Instances: []vrrp.Status{{Name: "web", State: vrrp.Master, Priority: 200, LastAdvert: time.Unix(97, 0), Restored: 5, GroupWait: true,
			Configured: []netip.Prefix{netip.MustParsePrefix("10.0.0.88/32"), netip.MustParsePrefix("10.0.0.89/32")}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.89/32")},
			Conflicts: []vrrp.Holder{{Address: netip.MustParseAddr("10.0.0.88"), Detail: "is used by 02:00:00:00:00:09 on eth0 too"}},
			Dropped:   map[string]uint64{"ttl": 6}, Transitions: map[vrrp.Transition]uint64{{To: vrrp.Master, Reason: "silence"}: 1}}},
	}
}

func TestSeries(t *testing.T) {
	m := New("1.2.3", "c0ffee")
	m.Watch(view)
	m.ObserveCheckLag(time.Millisecond)
	m.ObserveTimerLag(time.Millisecond)
	if problems, err := testutil.GatherAndLint(m); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", err, problems)
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text := w.Body.String()
	for _, want := range []string{
		`lvsd_vrrp_state{state="master",vrrp="web"} 1`,
		`lvsd_vrrp_state{state="backup",vrrp="web"} 0`,
		`lvsd_vrrp_priority{vrrp="web"} 200`,
		`lvsd_vrrp_held{vrrp="web"} 1`,
		`lvsd_vrrp_restored_total{vrrp="web"} 5`,
		`lvsd_vrrp_sync_group_waiting{vrrp="web"} 1`,
		`lvsd_vrrp_address_present{address="10.0.0.88",vrrp="web"} 0`,
		`lvsd_vrrp_address_present{address="10.0.0.89",vrrp="web"} 1`,
		`lvsd_vrrp_address_conflict{address="10.0.0.88",vrrp="web"} 1`,
		`lvsd_vrrp_address_conflict{address="10.0.0.89",vrrp="web"} 0`,
		`lvsd_vrrp_transitions_total{reason="silence",to="master",vrrp="web"} 1`,
		`lvsd_vrrp_packets_dropped_total{reason="ttl",vrrp="web"} 6`,
		`lvsd_announced{address="192.0.2.80",announce="any"} 1`,
		`lvsd_announced{address="192.0.2.81",announce="any"} 0`,
		`lvsd_announce_wanted{announce="any"} 1`,
		`lvsd_announce_kept{announce="any"} 1`,
		`lvsd_announce_held{announce="any"} 1`,
		`lvsd_announce_directors{announce="any"} 3`,
		`lvsd_announce_withdrawals_total{announce="any",reason="quorum"} 4`,
		`lvsd_announce_withdrawals_total{announce="any",reason="stop"} 0`,
		`lvsd_announce_routes_restored_total 7`,
		`lvsd_announce_foreign_routes 2`,
		`lvsd_virtual_service_up{service="web"} 1`,
		`lvsd_virtual_service_quorum{service="web"} 2`,
		`lvsd_virtual_service_connections_total{service="web"} 1.099511627776e+12`,
		`lvsd_real_server_weight{real_server="10.0.0.9:80",service="web"} 3`,
		`lvsd_real_server_configured_weight{real_server="10.0.0.9:80",service="web"} 0`,
		`lvsd_real_server_unchecked{check="http",real_server="10.0.0.9:80",service="web"} 0`,
		`lvsd_real_server_unchecked{check="http /other",real_server="10.0.0.9:80",service="web"} 1`,
		`lvsd_virtual_service_real_servers_unchecked{service="web"} 1`,
		`lvsd_real_server_draining{real_server="10.0.0.9:80",service="web"} 1`,
		`lvsd_real_server_drain_until_timestamp_seconds{real_server="10.0.0.9:80",service="web"} 93`,
		`lvsd_real_server_drain_start_timestamp_seconds{real_server="10.0.0.9:80",service="web"} 96`,
		`lvsd_real_server_drain_start_timestamp_seconds{real_server="10.0.0.10:80",service="web"} 94`,
		`lvsd_check_certificate_expiry_timestamp_seconds{check="http",real_server="10.0.0.9:80",service="web"} 95`,
		`lvsd_virtual_service_panic{service="web"} 1`,
		`lvsd_virtual_service_fallback_active{service="web"} 1`,
		`lvsd_guard_active 1`,
		`lvsd_ipvs_sync_daemon{role="master"} 1`,
		`lvsd_ipvs_sync_daemon{role="backup"} 0`,
		`lvsd_director_info{director="lb1"} 1`,
		`lvsd_virtual_service_active_connections{service="web"} 5`,
		`lvsd_virtual_service_real_servers{service="web",state="up"} 0`,
		`lvsd_real_server_active_connections{real_server="10.0.0.9:80",service="web"} 5`,
		`lvsd_checks_total{check="http",real_server="10.0.0.9:80",reason="ok",service="web"} 7`,
		`lvsd_check_up{check="http",real_server="10.0.0.9:80",service="web"} 1`,
		`lvsd_check_up{check="http /other",real_server="10.0.0.9:80",service="web"} 0`,
		`lvsd_check_duration_seconds{check="http",real_server="10.0.0.9:80",service="web"} 1`,
		`lvsd_check_duration_seconds{check="http /other",real_server="10.0.0.9:80",service="web"} 2`,
		`lvsd_ipvs_operations_total{operation="add_service",result="ok"} 9`,
		`lvsd_ipvs_foreign_entries 2`,
		`lvsd_config_info{hash="abc"} 1`,
		`lvsd_config_last_reload_success_timestamp_seconds 100`,
		`lvsd_build_info{commit="c0ffee"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// TestOneCheckHasNoName: the series of a server with one check have no label for it.
func TestOneCheckHasNoName(t *testing.T) {
	m := New("", "")
	m.Watch(func(ctx context.Context) director.View {
		v := view(ctx)
		for id, h := range v.Health {
			h.Checks = h.Checks[1:]
			v.Health[id] = h
		}
		return v
	})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text := w.Body.String()
	if !strings.Contains(text, `lvsd_checks_total{real_server="10.0.0.9:80",reason="ok",service="web"} 7`) ||
		!strings.Contains(text, `lvsd_real_server_unchecked{real_server="10.0.0.9:80",service="web"} 1`) || strings.Contains(text, "check=") {
		t.Error(text)
	}
}

// BenchmarkScrape states the cost of a scrape of 10,000 real servers.
func BenchmarkScrape(b *testing.B) {
	v := view(context.Background())
	one := v.Decision.Services[0]
	v.Decision.Services, v.Config.Services = nil, nil
	for s := range 100 {
		svc := one
		svc.Name = "s" + string(rune('a'+s%26)) + string(rune('a'+s/26))
		svc.Servers = nil
		for r := range 100 {
			server := one.Servers[0]
			server.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(s), byte(r)}), 80)
			svc.Servers = append(svc.Servers, server)
		}
		v.Decision.Services = append(v.Decision.Services, svc)
		v.Config.Services = append(v.Config.Services, config.Service{Name: svc.Name})
	}
	m := New("", "")
	m.Watch(func(context.Context) director.View { return v })
	scrape := func() {
		w, ask := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
		ask.Header.Set("Accept", "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.1") // as Prometheus does
		ask.Header.Set("Accept-Encoding", "gzip")
		m.Handler().ServeHTTP(w, ask)
		if w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			m.state.families.Expire()
			m.body.Expire()
			scrape()
		}
	})
	b.Run("mostly within a second", func(b *testing.B) {
		for b.Loop() {
			scrape()
		}
	})
}

// library gives the series of a view to the library, one by one, which checks
// all that it knows.
type library struct {
	view func(context.Context) director.View
}

func (c library) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range all {
		ch <- d
	}
}

func (c library) Collect(ch chan<- prometheus.Metric) { collect(c.view, emitter{ch: ch}) }

// TestFamiliesAreTheLibrarys: what is made directly equals what the library makes of
// the same series, and is valid by its own checks.
func TestFamiliesAreTheLibrarys(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(library{view})
	want, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got, err := gatherers(&state{view: view}).Gather()
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d families, want %d, %v", len(got), len(want), err)
	}
	for i, f := range got {
		slices.SortFunc(f.Metric, func(a, b *dto.Metric) int { return cmp.Compare(fmt.Sprint(a.Label), fmt.Sprint(b.Label)) })
		slices.SortFunc(want[i].Metric, func(a, b *dto.Metric) int { return cmp.Compare(fmt.Sprint(a.Label), fmt.Sprint(b.Label)) })
		if a, b := f.String(), want[i].String(); a != b {
			t.Errorf("got\n%s\nwant\n%s", a, b)
		}
	}
}

// TestScrapesWithinASecondAreOne: two scrapers do not double the cost, and the next
// second has new values.
func TestScrapesWithinASecondAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		views := 0
		s := &state{view: func(ctx context.Context) director.View { views++; return view(ctx) }}
		for range 3 {
			if f, err := s.Gather(); err != nil || len(f) == 0 {
				t.Fatal(f, err)
			}
		}
		if views != 1 {
			t.Errorf("%d views for three scrapes at once", views)
		}
		time.Sleep(cacheTime)
		if _, _ = s.Gather(); views != 2 {
			t.Errorf("%d views after a second", views)
		}
	})
}

func TestNoNameTwice(t *testing.T) {
	var names []string
	for _, d := range all {
		names = append(names, d.String())
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(all) {
		t.Error("a series is described twice")
	}
}
