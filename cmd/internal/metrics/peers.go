package metrics

// The other directors, as the exchange of [pair] knows them.

import (
	"github.com/prometheus/client_golang/prometheus"

	"lvsd/cmd/internal/pair"
)

var (
	peerUp      = prometheus.NewDesc("lvsd_peer_up", "1 while the other director answers.", []string{"director"}, nil)
	peerAt      = prometheus.NewDesc("lvsd_peer_last_answer_timestamp_seconds", "When the other director answered last; 0 for never.", []string{"director"}, nil)
	peerConfig  = prometheus.NewDesc("lvsd_peer_config_matches", "1 while both run the same configuration; absent while the other does not answer.", []string{"director"}, nil)
	peerVersion = prometheus.NewDesc("lvsd_peer_version_matches", "1 while both run the same version; absent while the other does not answer.", []string{"director"}, nil)
	peerHealth  = prometheus.NewDesc("lvsd_peer_health_differences", "Real servers that both see otherwise for longer than their checks explain; absent while the other does not answer.", []string{"director"}, nil)
	peerClock   = prometheus.NewDesc("lvsd_peer_clock_ahead_seconds", "How much the other director's clock is ahead; absent while it does not answer.", []string{"director"}, nil)
	pairRefused = prometheus.NewDesc("lvsd_pair_refused_total", "Questions of others that the exchange did not answer, by reason.", []string{"reason"}, nil)
)

var peerSeries = []*prometheus.Desc{peerUp, peerAt, peerConfig, peerVersion, peerHealth, peerClock, pairRefused}

// Exchange is what the series of the peers are made of.
type Exchange interface {
	Peers() []pair.Peer
	Refused() map[string]uint64
}

// WatchPeers adds the series of the other directors.
func (m *Metrics) WatchPeers(x Exchange) { m.registry.MustRegister(peerCollector{x}) }

type peerCollector struct{ Exchange }

func (c peerCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range peerSeries {
		ch <- d
	}
}

// Collect leaves the comparisons out while there is nobody to compare with.
func (c peerCollector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch: ch}
	for _, p := range c.Peers() {
		e.gauge(peerUp, truth(p.Up), p.Name)
		e.gauge(peerAt, seconds(p.At), p.Name)
		if !p.Up {
			continue
		}
		e.gauge(peerConfig, truth(!p.Differences.Config), p.Name)
		e.gauge(peerVersion, truth(!p.Differences.Version), p.Name)
		e.gauge(peerHealth, float64(p.HealthCount), p.Name)
		e.gauge(peerClock, p.Clock.Seconds(), p.Name)
	}
	for reason, n := range c.Refused() {
		e.counter(pairRefused, n, reason)
	}
}
