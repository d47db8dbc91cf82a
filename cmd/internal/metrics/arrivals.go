package metrics

// Whether the peer's connections arrive: what the listener of the connection
// synchronisation heard.

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lvsd/ipvs"
)

var (
	syncLast = prometheus.NewDesc("lvsd_ipvs_sync_last_message_timestamp_seconds",
		"When a message of the peer's with our identifier was last heard, by samples; 0 for never. Absent without [ipvs.sync].", nil, nil)
	syncMismatch = prometheus.NewDesc("lvsd_ipvs_sync_mismatch",
		"1 while the peer's connections arrive with another identifier than ours, and are not taken.", nil, nil)
)

var syncSeries = []*prometheus.Desc{syncLast, syncMismatch}

// WatchArrivals adds the series of the peer's connections.
func (m *Metrics) WatchArrivals(heard func() ipvs.SyncHeard) {
	m.registry.MustRegister(arrivals(heard))
}

type arrivals func() ipvs.SyncHeard

func (c arrivals) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range syncSeries {
		ch <- d
	}
}

// Collect leaves them out where there is nothing to listen for.
func (c arrivals) Collect(ch chan<- prometheus.Metric) {
	h := c()
	if !h.Listening {
		return
	}
	e := emitter{ch: ch}
	e.gauge(syncLast, seconds(h.At))
	e.gauge(syncMismatch, truth(h.Mismatch(time.Now())))
}
