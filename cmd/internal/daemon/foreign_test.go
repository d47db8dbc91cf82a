package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"lvsd/cmd/internal/event"
	"lvsd/ipvs"
)

// TestForeignConnectionsAreAnAlarm: once at their beginning and once at their end, and a
// problem in between.
func TestForeignConnectionsAreAnAlarm(t *testing.T) {
	d := Daemon{events: &event.Recorder{}}
	follower, _ := d.events.Follow(8)
	o := ipvs.Origins{Foreign: 2, Example: ipvs.Connection{RealServer: netip.MustParseAddrPort("192.0.2.66:80")}}
	for range 3 {
		d.foreignConnections(o)
	}
	if p := d.foreignProblems(); len(p) != 1 || !strings.Contains(p[0], "2 connections") || !strings.Contains(p[0], "192.0.2.66:80") {
		t.Errorf("problems: %q", p)
	}
	for range 3 {
		d.foreignConnections(ipvs.Origins{})
	}
	if p := d.foreignProblems(); p != nil {
		t.Errorf("problems afterwards: %q", p)
	}
	d.events.Unfollow(follower)
	var recorded []string
	for e := range follower.C {
		recorded = append(recorded, e.To)
	}
	if strings.Join(recorded, ", ") != "foreign connections, none" {
		t.Errorf("events: %q", recorded)
	}
}
