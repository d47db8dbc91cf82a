package observe

import (
	"strings"
	"testing"
	"time"

	"lvsd/cmd/internal/api"
)

// TestWhyAnnounced: what a decision to announce depends on, from every side.
func TestWhyAnnounced(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	gone := false
	s := api.Status{At: at, Announces: []api.AnnounceStatus{{Name: "any", Table: 112, Announced: true, Metric: 4000, Kept: true, Why: "quorum lost: web; no other director serves either",
		Since: at, Services: []string{"web"}, RoutingDaemon: &gone, Addresses: []api.AnnounceVIP{{Address: "192.0.2.80", Accepted: true, Routed: true}, {Address: "2001:db8::80"}}}},
		Services: []api.ServiceStatus{{Name: "web", Quorum: 1}, {Name: "other"}},
		Guard:    &api.GuardStatus{Active: true, Why: "10.0.0.1 does not reply"},
		Peers: []api.PeerStatus{{Director: "lb2", Up: true, Announces: []api.PeerAnnounce{{Name: "any", Since: at, Why: "standby after a handover"}}},
			{Director: "lb3", Error: "no answer within 2s"}, {Director: "lb4", Up: true}},
		Routes: &api.RoutesStatus{Errors: []string{"failed to add the route"}}}
	var out strings.Builder
	if err := whyAnnounced(&out, s, "any", false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"any: announced only because no other director is serving since", "does not run", "192.0.2.80 accepted by this host, has a route in table 112 with metric 4000",
		"2001:db8::80 NOT accepted by this host, has no route in table 112", "QUORUM LOST: available weight 0, needs 1", "10.0.0.1 does not reply",
		"lb2 not announced since", "no answer within 2s", "not in its configuration", "failed to add the route"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "service other") {
		t.Errorf("a service that does not matter:\n%s", out.String())
	}
}
