// This file has counters that a part of the daemon keeps itself, without labels.

package metrics

import "github.com/prometheus/client_golang/prometheus"

// Counted is a series whose value a part of the daemon counts.
type Counted struct{ desc *prometheus.Desc }

var (
	// EventsDropped are the events that were never written to disk.
	EventsDropped = Counted{eventsDropped}
	// NotifyFailures are the events that a notification target did not receive.
	NotifyFailures = Counted{notifyFailures}
)

// Count adds a series that is read at each scrape.
func (m *Metrics) Count(c Counted, read func() uint64) {
	info := infos[c.desc]
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: info.name, Help: info.help},
		func() float64 { return float64(read()) }))
}
