// This file has the series of the connections that the peer synchronises to this
// director.

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lvsd/ipvs/connsync"
)

// WatchArrivals adds the series of received synchronisation messages.
func (m *Metrics) WatchArrivals(heard func() connsync.Received) {
	m.registry.MustRegister(arrivals(heard))
}

type arrivals func() connsync.Received

func (c arrivals) Describe(ch chan<- *prometheus.Desc) {
	ch <- syncLast
	ch <- syncMismatch
}

// Collect leaves the series out where nothing is received.
func (c arrivals) Collect(ch chan<- prometheus.Metric) {
	h := c()
	if !h.Listening {
		return
	}
	e := emitter{ch: ch}
	e.gauge(syncLast, seconds(h.At))
	e.gauge(syncMismatch, boolValue(h.Mismatch(time.Now())))
}
