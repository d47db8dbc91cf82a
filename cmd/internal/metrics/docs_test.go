package metrics

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"lvsd/checker"
	"lvsd/cmd/internal/director"
	"lvsd/ipvs"
	"lvsd/ipvs/connsync"
)

var update = flag.Bool("update", false, "write docs/metrics.md below its head")

const (
	document = "../../../docs/metrics.md"
	mark     = "<!-- What follows is written by: go test ./cmd/internal/metrics -run TestTheDocument -update -->\n"
)

// everything has every series.
func everything(view func(context.Context) director.View) *Metrics {
	m := New("1", "c0ffee")
	m.Watch(view)
	m.WatchOrigins(func(context.Context) (ipvs.Origins, error) { return ipvs.Origins{Local: 1, Synced: 2}, nil })
	m.WatchPeers(exchange{})
	m.WatchReceivedSync(func() connsync.Received { return connsync.Received{Listening: true} })
	m.Count(EventsDropped, func() uint64 { return 1 })
	m.Count(NotifyFailures, func() uint64 { return 1 })
	return m
}

// TestTheDocument compares docs/metrics.md with the descriptions, word by word.
func TestTheDocument(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, stands, ok := strings.Cut(string(text), mark)
	if !ok {
		t.Fatalf("%s has no line %s", document, mark)
	}
	var b strings.Builder
	b.WriteString("\n| name | type | labels | unit | description |\n|---|---|---|---|---|\n")
	for _, d := range Descriptions() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", d.Name, d.Type, strings.Join(d.Labels, ", "), d.Unit, strings.TrimSuffix(d.Help, "."))
	}
	if *update {
		if err := os.WriteFile(document, []byte(head+mark+b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b.String() != stands {
		t.Errorf("%s is not what the series say of themselves: go test ./cmd/internal/metrics -run TestTheDocument -update", document)
	}
}

// TestEverySeriesIsAsDescribed: what is gathered are the described series, of the
// described kinds, with the described labels, and nothing that Prometheus's own
// rules of names object to.
func TestEverySeriesIsAsDescribed(t *testing.T) {
	m := everything(view)
	problems, err := testutil.GatherAndLint(m)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", err, problems)
	}
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]Description{}
	for _, d := range Descriptions() {
		described[d.Name] = d
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "lvsd_") {
			continue
		}
		d, ok := described[f.GetName()]
		if !ok {
			t.Errorf("%s is not described", f.GetName())
			continue
		}
		delete(described, d.Name)
		if got := strings.ToLower(f.GetType().String()); got != d.Type || f.GetHelp() != d.Help {
			t.Errorf("%s is a %s, described as a %s", d.Name, got, d.Type)
		}
		want := slices.Sorted(slices.Values(d.Labels))
		for _, s := range f.Metric {
			var labels []string
			for _, l := range s.Label {
				labels = append(labels, l.GetName())
			}
			slices.SortFunc(labels, cmp.Compare)
			if !slices.Equal(labels, want) {
				t.Errorf("%s has the labels %q, described are %q", d.Name, labels, want)
			}
		}
	}
	for name := range described {
		t.Errorf("%s is described and not there", name)
	}
}

// bounded names what bounds the values of each label.
var bounded = map[string]string{
	"vrrp": "the file", "service": "the file", "real_server": "the file", "address": "the file", "director": "the file", "announce": "the file", "check": "the file",
	"hash": "one at a time", "version": "one", "commit": "one", "go_version": "one",
	"state": "four states, three states of health", "to": "four states", "reason": "the reasons in the code",
	"operation": "the code", "result": "ok, error", "kind": "the code", "role": "master, backup", "origin": "own, synced",
}

// TestLabelsAreBounded: no packet from the network makes series, and what a daemon
// forgets leaves no series behind, which the one view a scrape already says.
func TestLabelsAreBounded(t *testing.T) {
	for _, d := range Descriptions() {
		for _, l := range d.Labels {
			if bounded[l] == "" {
				t.Errorf("%s: what bounds the label %s?", d.Name, l)
			}
		}
	}
}

// contract are the names that users' rules and dashboards depend on: names may be
// added, and never changed.
const contract = `
lvsd_build_info{version,commit,go_version} lvsd_config_info{hash} lvsd_config_last_reload_successful lvsd_config_last_reload_success_timestamp_seconds
lvsd_vrrp_state{vrrp,state} lvsd_vrrp_priority{vrrp} lvsd_vrrp_transitions_total{vrrp,to,reason} lvsd_vrrp_adverts_sent_total{vrrp}
lvsd_vrrp_adverts_received_total{vrrp} lvsd_vrrp_packets_dropped_total{vrrp,reason} lvsd_vrrp_contested{vrrp} lvsd_vrrp_last_advert_timestamp_seconds{vrrp}
lvsd_vrrp_timer_lag_seconds lvsd_vrrp_gratuitous_announcements_total{vrrp} lvsd_vrrp_address_present{vrrp,address} lvsd_vrrp_address_conflict{vrrp,address} lvsd_vrrp_held{vrrp}
lvsd_virtual_service_up{service} lvsd_virtual_service_connections_total{service} lvsd_virtual_service_packets_in_total{service}
lvsd_virtual_service_packets_out_total{service} lvsd_virtual_service_bytes_in_total{service} lvsd_virtual_service_bytes_out_total{service}
lvsd_virtual_service_weight_alive{service} lvsd_virtual_service_quorum{service} lvsd_virtual_service_panic{service} lvsd_virtual_service_fallback_active{service}
lvsd_real_server_up{service,real_server} lvsd_real_server_weight{service,real_server} lvsd_real_server_configured_weight{service,real_server}
lvsd_real_server_draining{service,real_server} lvsd_real_server_drain_start_timestamp_seconds{service,real_server}
lvsd_real_server_active_connections{service,real_server} lvsd_real_server_inactive_connections{service,real_server} lvsd_real_server_persistent_connections{service,real_server}
lvsd_real_server_connections_total{service,real_server} lvsd_real_server_packets_in_total{service,real_server} lvsd_real_server_packets_out_total{service,real_server}
lvsd_real_server_bytes_in_total{service,real_server} lvsd_real_server_bytes_out_total{service,real_server}
lvsd_checks_total{service,real_server,reason,check} lvsd_check_duration_seconds{service,real_server,check} lvsd_check_lag_seconds
lvsd_check_certificate_expiry_timestamp_seconds{service,real_server,check} lvsd_guard_active
lvsd_ipvs_operations_total{operation,result} lvsd_ipvs_drift_total{kind} lvsd_ipvs_foreign_entries lvsd_ipvs_last_resync_timestamp_seconds
lvsd_ipvs_sync_daemon{role} lvsd_ipvs_up lvsd_ipvs_connections{origin} lvsd_events_dropped_total lvsd_notify_failures_total
lvsd_peer_up{director} lvsd_peer_config_matches{director}`

func TestTheContract(t *testing.T) {
	have := map[string]bool{}
	for _, d := range Descriptions() {
		name := d.Name
		if len(d.Labels) > 0 {
			name += "{" + strings.Join(d.Labels, ",") + "}"
		}
		have[name] = true
	}
	for _, name := range strings.Fields(contract) {
		if !have[name] {
			t.Errorf("%s is not there as it was promised", name)
		}
	}
}

// TestWithoutSeriesOfServers: with per_server_metrics = false no series has a real
// server's label, and the sums of its service are there.
func TestWithoutSeriesOfServers(t *testing.T) {
	m := everything(func(ctx context.Context) director.View {
		v := view(ctx)
		c := *v.Config
		c.Global.PerServerMetrics = false
		v.Config = &c
		server := &v.Decision.Services[0].Servers[0]
		server.Configured, server.Agent.Weight, server.DrainUntil = 1, 100, time.Time{}
		return v
	})
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	up := -1.0
	for _, f := range families {
		for _, s := range f.Metric {
			for _, l := range s.Label {
				if l.GetName() == "real_server" {
					t.Fatalf("%s has series of servers", f.GetName())
				}
				if f.GetName() == "lvsd_virtual_service_real_servers" && l.GetValue() == checker.Up.String() {
					up = s.Gauge.GetValue()
				}
			}
		}
	}
	if up != 1 {
		t.Errorf("%v servers are up by the sum", up)
	}
}
