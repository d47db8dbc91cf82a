// This file writes events as those who receive them read them: JSON, a message of Slack,
// alerts of Alertmanager, text.

package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"lvsd/cmd/internal/event"
)

// format is what a webhook posts.
type format struct {
	gather time.Duration // see target
	// encode returns the body; nil: there is nothing to post.
	encode func([]event.Event) ([]byte, error)
}

// formats are those of webhook_format. "" is of a configuration that was not read from a
// file.
var formats = map[string]format{
	"":             {0, plainJSON},
	"json":         {0, plainJSON},
	"slack":        {time.Second, slackMessage},
	"alertmanager": {time.Second, alertmanagerAlerts},
}

func plainJSON(events []event.Event) ([]byte, error) { return json.Marshal(events[0]) }

// describe is an event as one line, without its time and director.
func describe(e event.Event) string {
	var b strings.Builder
	b.WriteString(string(e.Kind))
	for _, name := range []string{e.Service, e.RealServer, e.VRRP, e.Announce, e.Peer} {
		if name != "" {
			b.WriteString(" " + name)
		}
	}
	switch {
	case e.From != "" && e.To != "":
		b.WriteString(" changed from " + e.From + " to " + e.To)
	case e.To != "":
		b.WriteString(" is " + e.To)
	}
	if e.Reason != "" {
		b.WriteString(": " + strings.Join(strings.Fields(e.Reason), " "))
	}
	return b.String()
}

// slackEscapes are the characters that Slack gives a meaning to
// (https://docs.slack.dev/messaging/formatting-message-text).
var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackMessage is a message for an incoming webhook: a line for each event.
func slackMessage(events []event.Event) ([]byte, error) {
	lines := make([]string, len(events))
	for i, e := range events {
		lines[i] = fmt.Sprintf("*%s* %s: %s", slackEscapes.Replace(e.Director), e.Level, slackEscapes.Replace(describe(e)))
	}
	return json.Marshal(map[string]string{"text": strings.Join(lines, "\n")})
}

// alertLifetime ends an alert that is never resolved, such as that of a server that was
// taken out of the file while it was down. Without an end Alertmanager would resolve it
// after its resolve_timeout, as it expects alerts to be posted repeatedly.
const alertLifetime = 24 * time.Hour

// alert is an element of what /api/v2/alerts takes (postableAlert of Alertmanager's
// OpenAPI document).
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    *time.Time        `json:"startsAt,omitempty"`
	EndsAt      time.Time         `json:"endsAt"`
}

// alertKinds are the events that raise and resolve alerts: a change to the state that
// fires, and any other of the same kind and object.
var alertKinds = []struct {
	kind           event.Kind
	fires          string
	name, severity string // page: clients are affected; ticket: redundancy is lost
}{
	{event.KindVRRP, "fault", "LvsdElectionFault", "ticket"},
	{event.KindVRRP, event.Contested, "LvsdElectionContested", "page"},
	{event.KindHealth, "down", "LvsdRealServerDown", "ticket"},
	{event.KindQuorum, "down", "LvsdServiceBelowQuorum", "page"},
	{event.KindPanic, "on", "LvsdPanicMode", "page"},
	{event.KindFallback, "on", "LvsdFallbackActive", "page"},
	{event.KindGuard, "frozen", "LvsdHealthFrozen", "page"},
	{event.KindPeer, "down", "LvsdPeerGone", "ticket"},
	{event.KindReload, "refused", "LvsdReloadFailed", "ticket"},
}

// alertmanagerAlerts are the alerts that the events raise and resolve. Of several about
// the same the newest counts.
func alertmanagerAlerts(events []event.Event) ([]byte, error) {
	var all []alert
	seen := map[string]int{}
	for _, e := range events {
		for _, k := range alertKinds {
			if e.Kind != k.kind || e.Kind == event.KindPeer && e.To != "up" && e.To != "down" {
				continue
			}
			a := alert{Labels: map[string]string{"alertname": k.name, "severity": k.severity, "director": cmp.Or(e.Director, "unknown")},
				Annotations: map[string]string{"summary": describe(e)}, EndsAt: e.At}
			for name, value := range map[string]string{"service": e.Service, "real_server": e.RealServer, "vrrp": e.VRRP, "announce": e.Announce, "peer": e.Peer} {
				if value != "" {
					a.Labels[name] = value
				}
			}
			if e.To == k.fires {
				a.StartsAt, a.EndsAt = &e.At, e.At.Add(alertLifetime)
			}
			id := fmt.Sprint(a.Labels) // in the order of the keys
			if i, again := seen[id]; again {
				all[i] = a
				continue
			}
			seen[id] = len(all)
			all = append(all, a)
		}
	}
	if all == nil {
		return nil, nil
	}
	return json.Marshal(all)
}
