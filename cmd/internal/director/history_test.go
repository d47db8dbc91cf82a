package director

import (
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/event"
)

// TestUncheckedEvent: one event when a server cannot be checked any more, and one when it
// can again.
func TestUncheckedEvent(t *testing.T) {
	checked := decision.RealServer{ID: checker.ID{Service: "web", RealServer: "10.0.0.9:80"}}
	unchecked := checked
	unchecked.UncheckedSince, unchecked.UncheckedWhy = time.Unix(1, 0), "http: EADDRNOTAVAIL"
	for _, c := range []struct {
		name    string
		from    *decision.RealServer
		to      decision.RealServer
		want    bool
		toState string
		reason  string
	}{
		{"new", nil, checked, false, "", ""},
		{"new, and unchecked", nil, unchecked, true, "unchecked", "http: EADDRNOTAVAIL"},
		{"no longer checked", &checked, unchecked, true, "unchecked", "http: EADDRNOTAVAIL"},
		{"still not", &unchecked, unchecked, false, "", ""},
		{"again", &unchecked, checked, true, "checked", "its checks work again"},
	} {
		e, changed := uncheckedEvent(c.from, c.to)
		if changed != c.want || changed && (e.Kind != event.KindHealth || e.To != c.toState || e.Reason != c.reason || e.Service != "web") {
			t.Errorf("%s: %+v, %v", c.name, e, changed)
		}
	}
}
