// This file has the series of the kernel's connections by origin. They need a pass over
// the kernel's list of connections, made for scrapes only.

package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// WatchOrigins adds the series of the kernel's connections.
func (m *Metrics) WatchOrigins(origins func(context.Context) (own, synced int, err error)) {
	m.registry.MustRegister(originCollector{origins})
}

type originCollector struct {
	origins func(context.Context) (own, synced int, err error)
}

func (c originCollector) Describe(ch chan<- *prometheus.Desc) { ch <- ipvsConnections }

// Collect leaves the series out when the list cannot be read: unknown is not 0.
func (c originCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), refreshLimit)
	defer cancel()
	own, synced, err := c.origins(ctx)
	if err != nil {
		return
	}
	e := emitter{ch: ch}
	e.gauge(ipvsConnections, float64(own), "own")
	e.gauge(ipvsConnections, float64(synced), "synced")
}
