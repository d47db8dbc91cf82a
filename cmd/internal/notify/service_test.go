package notify

import (
	"net/netip"
	"path/filepath"
	"testing"

	"lvsd/cmd/internal/event"
	"lvsd/config"
)

// TestServicePrograms: the programs of a service and of its servers are run with their own
// arguments, in the order of the changes, and other events run none.
func TestServicePrograms(t *testing.T) {
	got := filepath.Join(t.TempDir(), "got")
	command := script(t, `echo "$* $LVSD_SERVICE $LVSD_REAL_SERVER $LVSD_TO" >> `+got)
	with := func(word string) []string { return append(command[:len(command):len(command)], word) }
	server := func(a string) config.RealServer {
		return config.RealServer{Address: netip.MustParseAddrPort(a), NotifyUp: with("came"), NotifyDown: with("went")}
	}
	s := newStand(t, &config.Config{Services: []config.Service{
		{Name: "web", QuorumUp: with("gained"), QuorumDown: with("lost"), RealServers: []config.RealServer{server("10.0.0.9:80"), {Address: netip.MustParseAddrPort("10.0.0.20:80")}}},
		{Name: "dns"},
	}})
	quorum := func(service, from, to string) event.Event {
		return event.Event{Kind: event.KindQuorum, Service: service, From: from, To: to}
	}
	health := func(server, from, to string) event.Event {
		return event.Event{Kind: event.KindHealth, Service: "web", RealServer: server, From: from, To: to}
	}
	for _, e := range []event.Event{
		quorum("web", "", "down"), // before the first checks
		quorum("dns", "", "up"), health("10.0.0.20:80", "unknown", "up"),
		health("10.0.0.9:80", "unknown", "up"), quorum("web", "down", "up"),
		health("10.0.0.9:80", "checked", "unchecked"), health("10.0.0.9:80", "unchecked", "checked"), weight("0"),
		{Kind: event.KindWeight, Service: "web", RealServer: "10.0.0.9:80", From: "1", To: "0"},
		health("10.0.0.9:80", "up", "down"), quorum("web", "up", "down"), quorum("web", "down", "removed"),
	} {
		s.Record(e)
	}
	s.written(got, "came web 10.0.0.9:80 up", "gained web  up", "went web 10.0.0.9:80 down", "lost web  down")
	s.stop()
	if s.Failures() != 0 {
		t.Errorf("%d failures:\n%s", s.Failures(), &s.log)
	}
}
