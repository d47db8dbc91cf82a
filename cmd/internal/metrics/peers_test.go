package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"lvsd/cmd/internal/peers"
)

// exchange is one with a peer that differs, and one that is gone.
type exchange struct{}

func (exchange) Peers() []peers.Peer {
	return []peers.Peer{
		{Name: "lb2", Up: true, At: time.Unix(7, 0), Differences: peers.Differences{Config: true, Clock: -2 * time.Second, HealthCount: 3}},
		{Name: "lb3"},
	}
}

func (exchange) Refused() map[string]uint64 { return map[string]uint64{"proof": 5} }

func TestPeers(t *testing.T) {
	m := New("", "")
	m.WatchPeers(exchange{})
	const want = `
# HELP lvsd_peer_refused_total Rejected requests to the exchange, by reason.
# TYPE lvsd_peer_refused_total counter
lvsd_peer_refused_total{reason="proof"} 5
# HELP lvsd_peer_clock_ahead_seconds How much the other director's clock is ahead; absent while it does not reply.
# TYPE lvsd_peer_clock_ahead_seconds gauge
lvsd_peer_clock_ahead_seconds{director="lb2"} -2
# HELP lvsd_peer_config_matches 1 while both run the same configuration; absent while the other does not reply.
# TYPE lvsd_peer_config_matches gauge
lvsd_peer_config_matches{director="lb2"} 0
# HELP lvsd_peer_health_differences Real servers on whose health both disagree for longer than their checks explain; absent while the other does not reply.
# TYPE lvsd_peer_health_differences gauge
lvsd_peer_health_differences{director="lb2"} 3
# HELP lvsd_peer_last_answer_timestamp_seconds When the other director last replied; 0 for never.
# TYPE lvsd_peer_last_answer_timestamp_seconds gauge
lvsd_peer_last_answer_timestamp_seconds{director="lb2"} 7
lvsd_peer_last_answer_timestamp_seconds{director="lb3"} 0
# HELP lvsd_peer_up 1 while the other director replies in the exchange of [peers]. Series of peers exist with [peers] only.
# TYPE lvsd_peer_up gauge
lvsd_peer_up{director="lb2"} 1
lvsd_peer_up{director="lb3"} 0
# HELP lvsd_peer_version_matches 1 while both run the same version; absent while the other does not reply.
# TYPE lvsd_peer_version_matches gauge
lvsd_peer_version_matches{director="lb2"} 1
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "lvsd_peer_refused_total", "lvsd_peer_clock_ahead_seconds", "lvsd_peer_config_matches",
		"lvsd_peer_health_differences", "lvsd_peer_last_answer_timestamp_seconds", "lvsd_peer_up", "lvsd_peer_version_matches"); err != nil {
		t.Error(err)
	}
}
