// This file has the series of the kernel's connections by origin. They need a pass over
// the kernel's list of connections, made for scrapes only.

package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"lvsd/ipvs"
)

// WatchOrigins adds the series of the kernel's connections.
func (m *Metrics) WatchOrigins(origins func(context.Context) (ipvs.Origins, error)) {
	m.registry.MustRegister(originCollector{origins})
}

type originCollector struct {
	origins func(context.Context) (ipvs.Origins, error)
}

func (c originCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- ipvsConnections
	ch <- ipvsForeignConnections
}

// Collect leaves the series out when the list cannot be read: unknown is not 0.
func (c originCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), refreshLimit)
	defer cancel()
	o, err := c.origins(ctx)
	if err != nil {
		return
	}
	e := emitter{ch: ch}
	e.gauge(ipvsConnections, float64(o.Local), "own")
	e.gauge(ipvsConnections, float64(o.Synced), "synced")
	e.gauge(ipvsForeignConnections, float64(o.Foreign))
}
