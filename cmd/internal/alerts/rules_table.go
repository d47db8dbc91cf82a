// This file has the rules of what the directors serve: services, real servers, and the
// kernel's table.

package alerts

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lvsd/config"
)

// served excludes directors that are master in no instance.
func (b *ruleBuilder) served(expr string) string {
	return expr + "\n  unless on (job, instance)\n    " + b.backups()
}

func (b *ruleBuilder) service() {
	b.add("LvsdServiceBelowQuorum", Page, b.minFor(0),
		"min by (job, service) (\n  "+b.of("lvsd_virtual_service_weight_alive")+"\n  and on (job, instance, service)\n    "+
			b.of("lvsd_virtual_service_up")+" == 0\n  unless on (job, instance)\n    "+b.backups()+"\n)",
		`Service {{ $labels.service }} has lost its quorum ({{ $labels.job }})`,
		`The available weight is {{ $value }}, less than the quorum of{{ range query (printf "max by (job, service) (lvsd_virtual_service_quorum{job=%q, service=%q})" $labels.job $labels.service) }} {{ .Value }}{{ end }}: clients are refused, or served by the fallback or by too few servers.`)
	b.massFailure()
	standby := "(\n  " + b.of("lvsd_virtual_service_up") + " == 0\n  and on (job, instance)\n    " + b.backups() +
		"\n  unless on (job, instance)\n    " + b.faulty() +
		"\n  and on (job, service)\n    max by (job, service) (" + b.of("lvsd_virtual_service_up") + ") == 1\n)"
	if b.guarded() {
		standby += "\nor (\n  " + b.of("lvsd_guard_active") + " == 1\n  and on (job, instance)\n    " + b.backups() + "\n)"
	}
	b.add("LvsdBackupCannotServe", Ticket, b.waiting(5*time.Minute), standby,
		`The backup {{ $labels.instance }} is not able to serve{{ with $labels.service }} {{ . }}{{ end }}`,
		`It does not reach servers that the master reaches. After a failover{{ with $labels.service }} service {{ . }}{{ end }} would be down.`)
	b.add("LvsdServerUnchecked", Ticket, b.waiting(5*time.Minute),
		b.of("lvsd_virtual_service_real_servers_unchecked")+" > 0",
		`{{ $labels.instance }} cannot check {{ $value }} real servers of {{ $labels.service }}`,
		`It keeps them at their last known health, or out if that is unknown: a failure is not noticed, and neither is a recovery. The director is the cause, or its name servers: a source address, a program, a name, descriptors.`)
	b.servers()
	if !b.has(func(c *config.Config) bool { return c.Global.PerServerMetrics && encrypts(c) }) {
		return
	}
	b.add("LvsdCertificateExpiring", Ticket, b.waiting(10*time.Minute),
		fmt.Sprintf("min by (job, service, real_server) (%s) - time() < %.0f", b.of("lvsd_check_certificate_expiry_timestamp_seconds"), b.Certificate.Seconds()),
		`The certificate of {{ $labels.real_server }} in {{ $labels.service }} expires in {{ humanizeDuration $value }}`,
		`When it has expired, the checks fail and the server gets no more clients.`)
}

// massFailure: most servers of a service at once, by the sums, because one server may
// keep the quorum; and the states of the guard and of panic_threshold.
func (b *ruleBuilder) massFailure() {
	servers := "lvsd_virtual_service_real_servers"
	expr := "(\n  max by (job, service) (\n    " + b.of(servers, `state="down"`) + "\n    unless on (job, instance)\n      " + b.backups() +
		"\n  )\n  > 0.5 * max by (job, service) (sum without (state) (" + b.of(servers) + "))" +
		"\n  unless on (job, service) (\n    " + b.of("lvsd_virtual_service_up") + " == 0\n    unless on (job, instance)\n      " + b.backups() + "\n  )\n)"
	if b.has(func(c *config.Config) bool {
		return slices.ContainsFunc(c.Services, func(s config.Service) bool { return s.PanicThreshold > 0 })
	}) {
		expr += "\nor max by (job, service) (\n  " + b.served(b.of("lvsd_virtual_service_panic")+" == 1") + "\n)"
	}
	if b.guarded() {
		expr += "\nor max by (job) (\n  " + b.served(b.of("lvsd_guard_active")+" == 1") + "\n)"
	}
	b.add("LvsdMassFailure", Page, b.minFor(0), expr,
		`Most servers{{ with $labels.service }} of {{ . }}{{ end }} failed at once ({{ $labels.job }})`,
		`More than half of the servers are down, or so many that the guard keeps the weights or panic_threshold sends clients to all. The cause is probably the network, or a shared dependency.`)
}

func (b *ruleBuilder) guarded() bool {
	return b.has(func(c *config.Config) bool { return c.Guard != nil })
}

// servers are the rules that name a real server; without its series those that the
// sums allow.
func (b *ruleBuilder) servers() {
	if !b.has(func(c *config.Config) bool { return c.Global.PerServerMetrics }) {
		b.add("LvsdRealServerDown", Ticket, b.waiting(15*time.Minute),
			"max by (job, service) ("+b.of("lvsd_virtual_service_real_servers", `state="down"`)+") > 0",
			`{{ $value }} real servers of {{ $labels.service }} are down ({{ $labels.job }})`,
			`They have been down for longer than `+duration(b.waiting(15*time.Minute))+`, and the file gives them a weight.`)
		if b.has(func(c *config.Config) bool { return c.Exchange != nil }) {
			b.add("LvsdHealthDiffers", Ticket, b.waiting(10*time.Minute),
				"max by (job) ("+b.of("lvsd_peer_health_differences")+") > 0",
				`Directors of {{ $labels.job }} disagree on the health of {{ $value }} servers`,
				`One director reaches servers that the other does not.`)
		}
		return
	}
	by := func(metric string, matchers ...string) string {
		return "max by (job, service, real_server) (" + b.of(metric, matchers...) + ")"
	}
	b.add("LvsdRealServerDown", Ticket, b.waiting(15*time.Minute),
		by("lvsd_real_server_up")+" == 0\nand on (job, service, real_server)\n  "+by("lvsd_real_server_configured_weight")+" > 0\nunless on (job, service, real_server)\n  "+by("lvsd_real_server_draining")+" == 1",
		`{{ $labels.real_server }} of {{ $labels.service }} is down ({{ $labels.job }})`,
		`It has been down for all directors for longer than `+duration(b.waiting(15*time.Minute))+`, and the file gives it a weight.`)
	b.add("LvsdHealthDiffers", Ticket, b.waiting(10*time.Minute),
		"count by (job, service) (\n  "+by("lvsd_real_server_up")+" != "+strings.Replace(by("lvsd_real_server_up"), "max", "min", 1)+"\n)\nunless on (job, service)\n  "+
			"max by (job, service) ("+b.of("lvsd_virtual_service_up")+") != min by (job, service) ("+b.of("lvsd_virtual_service_up")+")",
		`Directors of {{ $labels.job }} disagree on the health of servers of {{ $labels.service }}`,
		`{{ $value }} of its servers are up for one director and down for the other.`)
	b.add("LvsdDrainForgotten", Ticket, b.minFor(0),
		fmt.Sprintf("time() - %s > %.0f\nunless on (job, service, real_server)\n  %s", by("lvsd_real_server_drain_start_timestamp_seconds"), b.Drain.Seconds(),
			by("lvsd_real_server_drain_until_timestamp_seconds")),
		`{{ $labels.real_server }} of {{ $labels.service }} has been draining for {{ humanizeDuration $value }}`,
		`It gets no new connections, and the drain has no end time.`)
}

// encrypts reports whether a check sees certificates.
func encrypts(c *config.Config) bool {
	for _, s := range c.Services {
		for _, r := range s.RealServers {
			if slices.ContainsFunc(r.Checks, func(k config.Check) bool { return k.UseTLS }) {
				return true
			}
		}
	}
	return false
}

func (b *ruleBuilder) kernel() {
	b.add("LvsdIPVSAway", Page, b.minFor(0), b.of("lvsd_ipvs_up")+" == 0",
		`{{ $labels.instance }} cannot read the kernel's table`,
		`The kernel of {{ $labels.instance }} does not reply to lvsd: weights cannot be changed, and failed servers stay in use.`)
	b.add("LvsdTableStale", Ticket, b.minFor(0),
		"time() - "+b.of("lvsd_ipvs_last_resync_timestamp_seconds")+" > "+fmt.Sprintf("%.0f", (2*time.Minute).Seconds())+"\nand on (job, instance)\n  "+b.of("lvsd_ipvs_up")+" == 1",
		`{{ $labels.instance }} has not read the kernel's table for {{ humanizeDuration $value }}`,
		`The loop that compares the table with the desired state is stalled.`)
	// A write that fails is retried at each comparison: a single failure does not
	// matter.
	tried := 2 * time.Minute
	if b.Config != nil {
		tried = max(tried, 3*b.Config.IPVS.ResyncInterval)
	}
	b.add("LvsdWritesRefused", Ticket, 2*b.waiting(tried),
		"sum by (job, instance) (increase("+b.of("lvsd_ipvs_operations_total", `result="error"`)+"["+b.window(tried)+"])) > 0",
		`The kernel of {{ $labels.instance }} rejects changes to its IPVS table`,
		`{{ printf "%.0f" $value }} writes failed within `+b.window(tried)+`; they are retried. lvsd status shows what is missing.`)
	b.add("LvsdForeignWriter", Ticket, 0,
		"sum by (job, instance) (increase("+b.of("lvsd_ipvs_drift_total")+"["+b.window(15*time.Minute)+"])) > 0\nor\n"+
			"sum by (job, instance) ("+b.of("lvsd_ipvs_foreign_entries")+") > 0\nor\n"+
			"sum by (job, instance) ("+b.of("lvsd_ipvs_foreign_connections")+") > 0",
		`Another process modifies the IPVS table of {{ $labels.instance }}`,
		`Another process modified services or servers of lvsd, or added real servers to them, or another host sent connections to unknown servers. Modifications are repaired; lvsd events lists them.`)
	if !b.has(func(c *config.Config) bool { return c.IPVS.Sync != nil }) {
		return
	}
	b.add("LvsdSyncNotRunning", Ticket, b.waiting(2*time.Minute), b.of("lvsd_ipvs_sync_daemon")+" == 0",
		`Connection synchronisation is not running on {{ $labels.instance }} ({{ $labels.role }})`,
		`This role is down: connections do not survive the next failover.`)
	b.syncNotArriving()
}

// syncNotArriving: a master without connections sends nothing, nor does one whose
// connections consist of single datagrams. So the rule needs established and new
// connections.
func (b *ruleBuilder) syncNotArriving() {
	silent := max(up(time.Duration(float64(5*time.Minute)*b.Scale)), 5*time.Second)
	b.add("LvsdSyncNotArriving", Ticket, b.waiting(2*time.Minute),
		b.of("lvsd_ipvs_sync_mismatch")+" == 1\nor (\n  "+
			fmt.Sprintf("time() - %s > %.0f", b.of("lvsd_ipvs_sync_last_message_timestamp_seconds"), silent.Seconds())+
			"\n  and on (job, instance)\n    "+b.backups()+
			"\n  unless on (job, instance)\n    "+b.faulty()+
			"\n  and on (job)\n    sum by (job) ("+b.of("lvsd_virtual_service_active_connections")+") > 10"+
			"\n  and on (job)\n    sum by (job) (rate("+b.of("lvsd_virtual_service_connections_total")+"["+b.window(5*time.Minute)+"])) > 0.1\n)",
		`{{ $labels.instance }} does not receive the master's connections`,
		`It is backup and receives none of the master's connections, or they carry another id. After a failover they are lost.`)
}
