// Package metrics exports the daemon's state to Prometheus. A scrape reads one view
// of the director, so that its series are consistent and those of a removed object
// end at once; only histograms and counters of failures are kept between scrapes.
//
//	director.View ─┐
//	ipvs counters ─┼► gauges and counters of this scrape ─┐
//	peers' status ─┘                                      ├► GET /metrics
//	Metrics.Count, histograms (kept) ─────────────────────┘
package metrics
