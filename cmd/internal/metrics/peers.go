// This file has the series of the other directors.

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"lvsd/cmd/internal/peers"
)

// Exchange provides the state of the peers.
type Exchange interface {
	Peers() []peers.Peer
	Refused() map[string]uint64
}

// WatchPeers adds the series of the other directors.
func (m *Metrics) WatchPeers(x Exchange) { m.registry.MustRegister(peerCollector{x}) }

type peerCollector struct{ Exchange }

func (c peerCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{peerUp, peerAt, peerConfig, peerVersion, peerHealth, peerClock, peerRefused} {
		ch <- d
	}
}

// Collect leaves the comparisons out while the peer is not reachable.
func (c peerCollector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch: ch}
	for _, p := range c.Peers() {
		e.gauge(peerUp, boolValue(p.Up), p.Name)
		e.gauge(peerAt, seconds(p.At), p.Name)
		if !p.Up {
			continue
		}
		e.gauge(peerConfig, boolValue(!p.Differences.Config), p.Name)
		e.gauge(peerVersion, boolValue(!p.Differences.Version), p.Name)
		e.gauge(peerHealth, float64(p.HealthCount), p.Name)
		e.gauge(peerClock, p.Clock.Seconds(), p.Name)
	}
	for reason, n := range c.Refused() {
		e.counter(peerRefused, n, reason)
	}
}
