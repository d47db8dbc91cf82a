package notify

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/cmd/internal/event"
	"lvsd/config"
	"lvsd/config/schema"
)

// TestKindsAreKnown: the kinds of the configuration are those of events.
func TestKindsAreKnown(t *testing.T) {
	kinds := []event.Kind{event.KindDaemon, event.KindReload, event.KindVRRP, event.KindHealth, event.KindWeight, event.KindQuorum, event.KindGuard,
		event.KindPanic, event.KindFallback, event.KindHandover, event.KindAnnounce, event.KindIPVS, event.KindPeer}
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	if want := strings.Join(schema.EventKinds, " "); strings.Join(names, " ") != want {
		t.Errorf("%q, configuration %q", names, want)
	}
}

func TestSlackMessage(t *testing.T) {
	body, err := slackMessage([]event.Event{
		{Director: "lb1", Kind: event.KindVRRP, Level: event.Info, VRRP: "web", From: "backup", To: "master", Reason: "3.609 s <silence>"},
		{Director: "lb1", Kind: event.KindDaemon, Level: event.Info, To: "running", Reason: "start\n& more"},
	})
	var got struct{ Text string }
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want := "*lb1* info: vrrp web changed from backup to master: 3.609 s &lt;silence&gt;\n*lb1* info: daemon is running: start &amp; more"
	if err != nil || got.Text != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got.Text, want)
	}
}

func TestAlertmanagerAlerts(t *testing.T) {
	at := time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)
	down := event.Event{At: at, Director: "lb1", Kind: event.KindHealth, Service: "web", RealServer: "10.0.0.9:80", From: "up", To: "down", Reason: "http refused"}
	up := down
	up.At, up.From, up.To, up.Reason = at.Add(time.Minute), "down", "up", ""
	for name, c := range map[string]struct {
		events []event.Event
		want   string
	}{
		"raised": {[]event.Event{down}, `[{"labels":{"alertname":"LvsdRealServerDown","director":"lb1","real_server":"10.0.0.9:80","service":"web","severity":"ticket"},` +
			`"annotations":{"summary":"health web 10.0.0.9:80 changed from up to down: http refused"},"startsAt":"2026-11-26T06:00:00Z","endsAt":"2026-11-27T06:00:00Z"}]`},
		"resolved, the newest alone": {[]event.Event{down, up}, `[{"labels":{"alertname":"LvsdRealServerDown","director":"lb1","real_server":"10.0.0.9:80","service":"web","severity":"ticket"},` +
			`"annotations":{"summary":"health web 10.0.0.9:80 changed from down to up"},"endsAt":"2026-11-26T06:01:00Z"}]`},
		"nothing to post": {[]event.Event{weight("0"), {Kind: event.KindPeer, Peer: "lb2", To: "version differs"}}, ""},
	} {
		body, err := alertmanagerAlerts(c.events)
		if err != nil || string(body) != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, body, c.want)
		}
	}
}

// TestGathering: what happens within the time of gathering is one message, and what waits
// at the end is sent.
func TestGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, &config.Config{})
		all := targets(&config.Config{Global: config.Global{Webhook: "http://alerts.example.com/x", WebhookFormat: "slack"}})
		var got batches
		all[0].sender = &got
		s.apply(all, groups{})
		s.Record(weight("0"))
		time.Sleep(time.Second / 2)
		s.Record(weight("1"))
		time.Sleep(time.Second)
		s.Record(weight("2"))
		s.stop()
		if len(got) != 2 || len(got[0]) != 2 || len(got[1]) != 1 || got[1][0].To != "2" {
			t.Errorf("sent %v", got)
		}
	})
}

type batches [][]event.Event

func (b *batches) send(_ context.Context, events []event.Event) error {
	*b = append(*b, events)
	return nil
}
