// This file has the series of the connections that the peer synchronises to this
// director.

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lvsd/ipvs/connsync"
)

// WatchReceivedSync adds the series of received synchronisation messages.
func (m *Metrics) WatchReceivedSync(received func() connsync.Received) {
	m.registry.MustRegister(receivedSync(received))
}

type receivedSync func() connsync.Received

func (c receivedSync) Describe(ch chan<- *prometheus.Desc) {
	ch <- syncLast
	ch <- syncMismatch
}

// Collect leaves the series out where nothing is received.
func (c receivedSync) Collect(ch chan<- prometheus.Metric) {
	h := c()
	if !h.Listening {
		return
	}
	e := emitter{ch: ch}
	e.gauge(syncLast, seconds(h.At))
	e.gauge(syncMismatch, boolValue(h.Mismatch(time.Now())))
}
