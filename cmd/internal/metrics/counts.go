package metrics

// Counters that a part of the daemon keeps itself, and that belong to no
// election, service or server.

import "github.com/prometheus/client_golang/prometheus"

// Counted is a series that a part of the daemon counts.
type Counted struct{ name, help string }

// EventsDropped: what the disk was too slow or too full for.
var EventsDropped = Counted{"lvsd_events_dropped_total", "Events that found no room and are not in the history on disk."}

// NotifyFailures: who was not told.
var NotifyFailures = Counted{"lvsd_notify_failures_total", "Events that a program or webhook was not told of: it failed, took too long, or had too many waiting."}

// Count adds a series that is read at each scrape.
func (m *Metrics) Count(c Counted, read func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help},
		func() float64 { return float64(read()) }))
}
