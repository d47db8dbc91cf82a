package anycast

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeWatch records how many directors the router has a route through, whenever that
// changes.
type routeWatch struct {
	mu   sync.Mutex
	hops []hopsAt
}

type hopsAt struct {
	at time.Time
	n  int
}

// watchRoute begins to record the router's route to the VIP.
func (s *site) watchRoute() *routeWatch {
	s.t.Helper()
	w := &routeWatch{}
	updates, done := make(chan netlink.RouteUpdate), make(chan struct{})
	if err := s.router.Do(func() error { return netlink.RouteSubscribe(updates, done) }); err != nil {
		s.t.Fatalf("subscribe to the router's routes: %v", err)
	}
	s.t.Cleanup(func() { close(done) })
	go func() {
		for u := range updates {
			if u.Table != unix.RT_TABLE_MAIN || u.Dst == nil || u.Dst.String() != vip+"/32" {
				continue
			}
			n := max(len(u.MultiPath), 1)
			if u.Type == unix.RTM_DELROUTE {
				n = 0
			}
			w.mu.Lock()
			w.hops = append(w.hops, hopsAt{time.Now(), n})
			w.mu.Unlock()
		}
	}()
	return w
}

// first returns when the router first had n directors after a moment; zero: it has not yet.
func (w *routeWatch) first(n int, after time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.hops {
		if h.n == n && h.at.After(after) {
			return h.at
		}
	}
	return time.Time{}
}

// gap returns the longest time after a moment for which the router had no route. BIRD
// replaces one by removing it first.
func (w *routeWatch) gap(after time.Time) (longest time.Duration, from time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, h := range w.hops {
		to := time.Now()
		if i+1 < len(w.hops) {
			to = w.hops[i+1].at
		}
		if d := to.Sub(h.at); h.n == 0 && h.at.After(after) && d > longest {
			longest, from = d, h.at
		}
	}
	return longest, from
}

// event is what the tests read of lvsd events --json.
type event struct {
	At       time.Time `json:"at"`
	Director string    `json:"director"`
	Kind     string    `json:"kind"`
	To       string    `json:"to"`
	Reason   string    `json:"reason"`
}

// events returns the changes of a kind on a director.
func (d *director) events(kind string) (all []event) {
	d.site.t.Helper()
	for line := range strings.Lines(d.mustRun("events", "--json", "--socket", d.socket)) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			d.site.t.Fatalf("%q: %v", line, err)
		}
		if e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

// unannounced returns for how long, by their own events, no director announced after a
// moment at which all did, and the events.
func (s *site) unannounced(after time.Time) (longest time.Duration, all []event) {
	s.t.Helper()
	for _, d := range s.lb {
		for _, e := range d.events("announce") {
			if e.At.After(after) {
				e.Director = d.Name
				all = append(all, e)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.At.Compare(b.At) })
	announced, none := map[string]bool{}, time.Time{}
	for _, d := range s.lb {
		announced[d.Name] = true
	}
	for _, e := range all {
		announced[e.Director] = e.To == "announced" || e.To == "kept"
		someone := false
		for _, a := range announced {
			someone = someone || a
		}
		switch {
		case someone && !none.IsZero():
			longest, none = max(longest, e.At.Sub(none)), time.Time{}
		case !someone && none.IsZero():
			none = e.At
		}
	}
	if !none.IsZero() {
		longest = time.Since(none)
	}
	return longest, all
}
