package metrics

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"lvsd/checker"
	"lvsd/cmd/internal/cached"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/httpgzip"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// Metrics is the registry with the histograms. Everything else is read from the view
// at each scrape.
type Metrics struct {
	registry *prometheus.Registry
	state    *state // nil until Watch
	body     cached.Value[*httpgzip.Body]
	timerLag prometheus.Histogram
	checkLag prometheus.Histogram
}

// lagBuckets reach from 0.1 ms, normal on a healthy machine, to seconds, at which
// backups take over.
var lagBuckets = []float64{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}

// New makes the registry.
func New(version, commit string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		timerLag: newLag(vrrpTimerLag),
		checkLag: newLag(checkLagged),
	}
	info := infos[buildInfo]
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: info.name, Help: info.help}, info.labels)
	build.WithLabelValues(version, commit, runtime.Version()).Set(1)
	m.registry.MustRegister(build, m.timerLag, m.checkLag,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func newLag(d *prometheus.Desc) prometheus.Histogram {
	info := infos[d]
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: info.name, Help: info.help, Buckets: lagBuckets})
}

// ObserveTimerLag records how late a VRRP timer was served.
func (m *Metrics) ObserveTimerLag(d time.Duration) { m.timerLag.Observe(d.Seconds()) }

// ObserveCheckLag records how late a probe was started.
func (m *Metrics) ObserveCheckLag(d time.Duration) { m.checkLag.Observe(d.Seconds()) }

// Watch adds the series of the daemon's state.
func (m *Metrics) Watch(view func(context.Context) director.View) {
	m.state = &state{view: view}
}

// Gather returns all series.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) {
	if m.state == nil {
		return m.registry.Gather()
	}
	return gatherers(m.registry, m.state).Gather()
}

// scrapeLimit is Prometheus's default scrape_timeout. refreshLimit is the part of it
// that fresh counters may take: a kernel that does not reply must not keep the other
// series from being scraped.
const (
	scrapeLimit  = 10 * time.Second
	refreshLimit = time.Second
)

// collect turns one view into series.
func collect(view func(context.Context) director.View, e emitter) {
	ctx, cancel := context.WithTimeout(context.Background(), refreshLimit)
	defer cancel()
	v := view(ctx)
	e.config(v)
	for _, s := range v.Instances {
		e.instance(s)
		_, held := v.Standby[s.Name]
		e.gauge(vrrpStandby, boolValue(held), s.Name)
	}
	e.announcements(v)
	for i, p := range v.Decision.Services {
		e.service(v, v.Config.Services[i].Quorum, p)
	}
	e.gauge(guardActive, boolValue(v.Decision.Guard.Active()))
	if v.Config.Global.PerServerMetrics {
		e.drains(v)
	}
	e.ipvs(v.Kernel, v.Config.IPVS.Sync != nil)
}

// emitter adds series to families, or passes them one by one to the library.
type emitter struct {
	ch   chan<- prometheus.Metric
	bulk *bulk
}

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	if e.bulk != nil {
		e.bulk.add(d, v, labels)
		return
	}
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) counter(d *prometheus.Desc, v uint64, labels ...string) {
	if e.bulk != nil {
		e.bulk.add(d, float64(v), labels)
		return
	}
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (e emitter) config(v director.View) {
	e.gauge(directorIs, 1, v.Config.Director)
	e.gauge(configInfo, 1, v.Config.Hash)
	e.gauge(reloadOK, boolValue(v.LastReload.Err == nil))
	e.gauge(reloadTime, seconds(v.LastReload.LastSuccess))
}

var states = []vrrp.State{vrrp.Init, vrrp.Backup, vrrp.Master, vrrp.Fault}

func (e emitter) instance(s vrrp.Status) {
	for _, state := range states {
		e.gauge(vrrpState, boolValue(s.State == state), s.Name, string(state))
	}
	e.gauge(vrrpPriority, float64(s.Priority), s.Name)
	for t, n := range s.Transitions {
		e.counter(vrrpTransitions, n, s.Name, string(t.To), t.Reason)
	}
	e.counter(vrrpSent, s.AdvertsSent, s.Name)
	e.counter(vrrpReceived, s.AdvertsReceived, s.Name)
	for reason, n := range s.Dropped {
		e.counter(vrrpDropped, n, s.Name, reason)
	}
	e.gauge(vrrpContested, boolValue(s.Contested), s.Name)
	e.gauge(vrrpGroupWait, boolValue(s.GroupWait), s.Name)
	e.gauge(vrrpLastAdvert, seconds(s.LastAdvert), s.Name)
	e.counter(vrrpAnnouncements, s.Announcements, s.Name)
	e.counter(vrrpRestored, s.Restored, s.Name)
	for _, p := range s.Configured {
		e.gauge(vrrpAddress, boolValue(slices.Contains(s.Addresses, p)), s.Name, p.Addr().String())
		conflict := slices.ContainsFunc(s.Conflicts, func(h vrrp.Holder) bool { return h.Address == p.Addr() })
		e.gauge(vrrpConflict, boolValue(conflict), s.Name, p.Addr().String())
	}
}

func (e emitter) service(v director.View, quorum int, p decision.Service) {
	e.gauge(serviceUp, boolValue(p.Up), p.Name)
	e.gauge(serviceAlive, float64(p.AvailableWeight), p.Name)
	e.gauge(serviceQuorum, float64(quorum), p.Name)
	e.gauge(servicePanic, boolValue(p.Panic), p.Name)
	e.gauge(serviceFallback, boolValue(p.Fallback.Active), p.Name)
	kernel, stats := v.Kernel.Table[p.Key], v.Kernel.Stats[p.Key]
	e.counters(serviceCounters, stats.Counters, p.Name)
	e.sums(v, stats, p)
	if !v.Config.Global.PerServerMetrics {
		return
	}
	for _, s := range p.Servers {
		name := s.Address.String()
		e.gauge(serverUp, boolValue(s.State == checker.Up), p.Name, name)
		if len(v.Health[s.ID].Checks) < 2 {
			e.gauge(serverUnchecked, boolValue(!s.UncheckedSince.IsZero()), p.Name, name, "")
		}
		e.gauge(serverConfigured, float64(s.Configured), p.Name, name)
		e.gauge(serverDraining, boolValue(s.Draining()), p.Name, name)
		if since := s.DrainingSince(); !since.IsZero() {
			e.gauge(serverDrainStart, seconds(since), p.Name, name)
		}
		if !s.DrainUntil.IsZero() {
			e.gauge(serverDrainUntil, seconds(s.DrainUntil), p.Name, name)
		}
		// A server that is not in the kernel's table gets as few connections as one of
		// weight 0, and has the same value.
		e.gauge(serverWeight, float64(kernel.Destinations[s.Address].Weight), p.Name, name)
		d := stats.Destinations[s.Address]
		e.gauge(serverActive, float64(d.Active), p.Name, name)
		e.gauge(serverInactive, float64(d.Inactive), p.Name, name)
		e.gauge(serverPersistent, float64(d.Persistent), p.Name, name)
		e.counters(serverCounters, d.Counters, p.Name, name)
		e.checks(v.Health[s.ID], p.Name, name)
	}
}

// sums are the sums over the servers of a service.
func (e emitter) sums(v director.View, stats ipvs.ServiceStats, p decision.Service) {
	x, health := v.Config.Exchange, v.Health
	share := x != nil && x.ProbeShare

	servers, unchecked, delegated := map[checker.State]int{}, 0, 0
	for _, s := range p.Servers {
		if !s.Draining() {
			servers[s.State]++
		}
		if !s.UncheckedSince.IsZero() {
			unchecked++
		}
		if health[s.ID].ProbedBy != "" {
			delegated++
		}
	}
	e.gauge(serviceUnchecked, float64(unchecked), p.Name)
	if share {
		e.gauge(serviceDelegated, float64(delegated), p.Name)
	}
	for _, state := range []checker.State{checker.Up, checker.Down, checker.Unknown} {
		e.gauge(serviceServers, float64(servers[state]), p.Name, state.String())
	}
	var active, inactive float64
	for _, d := range stats.Destinations {
		active += float64(d.Active)
		inactive += float64(d.Inactive)
	}
	e.gauge(serviceActive, active, p.Name)
	e.gauge(serviceInactive, inactive, p.Name)
}

// drains are the servers that were removed from the file and keep their
// connections: only the series that show how a drain ends. Servers of a removed
// service have no series, because its name is unknown.
func (e emitter) drains(v director.View) {
	if len(v.Kernel.Draining) == 0 {
		return
	}
	names := map[ipvs.ServiceKey]string{}
	seen := map[ipvs.Entry]bool{}
	for _, p := range v.Decision.Services {
		names[p.Key] = p.Name
		for _, s := range p.Servers {
			seen[ipvs.Entry{Service: p.Key, RealServer: s.Address}] = true
		}
	}
	for _, d := range v.Kernel.Draining {
		service, ok := names[d.Service]
		if !ok || seen[d.Entry] {
			continue // added to the file again
		}
		real := d.RealServer.String()
		stats := v.Kernel.Stats[d.Service].Destinations[d.RealServer]
		e.gauge(serverDraining, 1, service, real)
		e.gauge(serverDrainStart, seconds(d.Since), service, real)
		e.gauge(serverActive, float64(stats.Active), service, real)
		e.gauge(serverInactive, float64(stats.Inactive), service, real)
		e.gauge(serverPersistent, float64(stats.Persistent), service, real)
	}
}

// checks are the sums over the checks of a server: labels name servers, not checks.
// checks are the series of a server's checks. Where it has several, the label check names
// each.
func (e emitter) checks(h checker.Health, labels ...string) {
	for _, c := range h.Checks {
		name := ""
		if len(h.Checks) > 1 {
			name = c.Name
			e.gauge(checkUp, boolValue(c.State == checker.Up), append(labels[:2:2], name)...)
			e.gauge(serverUnchecked, boolValue(!c.UncheckedSince.IsZero()), append(labels[:2:2], name)...)
		}
		for reason, n := range c.Totals.All() {
			e.counter(checksTotal, n, append(labels[:2:2], string(reason), name)...)
		}
		if !c.Last.At.IsZero() {
			e.gauge(checkDuration, c.Last.Took.Seconds(), append(labels[:2:2], name)...)
		}
		if at := c.CertificateExpiry; !at.IsZero() {
			e.gauge(certificate, seconds(at), append(labels[:2:2], name)...)
		}
	}
}

func (e emitter) counters(d counterDescs, c ipvs.Counters, labels ...string) {
	e.counter(d.connections, c.Connections, labels...)
	e.counter(d.packetsIn, c.PacketsIn, labels...)
	e.counter(d.packetsOut, c.PacketsOut, labels...)
	e.counter(d.bytesIn, c.BytesIn, labels...)
	e.counter(d.bytesOut, c.BytesOut, labels...)
}

func (e emitter) ipvs(k ipvs.Snapshot, sync bool) {
	e.gauge(ipvsUp, boolValue(k.Up))
	e.gauge(ipvsResync, seconds(k.At))
	if sync || k.SyncOwned && (k.Sync.Master.Running || k.Sync.Backup.Running) {
		e.gauge(ipvsSync, boolValue(k.Sync.Master.Running), "master")
		e.gauge(ipvsSync, boolValue(k.Sync.Backup.Running), "backup")
	}
	e.gauge(ipvsForeign, float64(k.Foreign))
	for kind, n := range k.Drift {
		e.counter(ipvsDrift, n, kind)
	}
	for op, n := range k.Operations {
		e.counter(ipvsOperations, n, op.Op, op.Result)
	}
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a time as a Unix timestamp; 0 for the zero time.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}
