// Counters that a part of the daemon keeps itself, and that belong to no
// election, service or server.

package metrics

import "github.com/prometheus/client_golang/prometheus"

// Counted is a series that a part of the daemon counts.
type Counted struct{ desc *prometheus.Desc }

var (
	// EventsDropped: what the disk was too slow or too full for.
	EventsDropped = Counted{eventsDropped}
	// NotifyFailures: who was not told.
	NotifyFailures = Counted{notifyFailures}
)

// Count adds a series that is read at each scrape.
func (m *Metrics) Count(c Counted, read func() uint64) {
	info := infos[c.desc]
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: info.name, Help: info.help},
		func() float64 { return float64(read()) }))
}
