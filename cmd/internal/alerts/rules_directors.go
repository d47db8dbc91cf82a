// This file has the rules of the directors: their VRRP instances, and the directors
// themselves.

package alerts

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lvsd/config"
	"lvsd/config/schema"
	"lvsd/vrrp/conflict"
)

// defaultAdvert is advert_interval where there is no file, or none in it.
var defaultAdvert = schema.VRRPTable.Keys[schema.VRRPTable.Index["advert_interval"]].Default.(time.Duration)

// masters is how many directors of a job are master.
func (b *ruleBuilder) masters() string {
	return "sum by (job, vrrp) (" + b.of("lvsd_vrrp_state", `state="master"`) + ")"
}

// backups are the directors that take part in VRRP and are master in no instance:
// what they do does not affect clients. A director without instances is not one.
func (b *ruleBuilder) backups() string {
	return "max by (job, instance) (" + b.of("lvsd_vrrp_state", `state="master"`) + ") == 0"
}

// faulty are the directors in fault state: LvsdElectionFault has fired for them, and
// its consequences need no second alert.
func (b *ruleBuilder) faulty() string { return b.of("lvsd_vrrp_state", `state="fault"`) + " == 1" }

func (b *ruleBuilder) vrrp() {
	if !b.has(func(c *config.Config) bool { return len(c.Instances) > 0 }) {
		return
	}
	b.noMaster()
	b.add("LvsdTwoMasters", Page, b.minFor(0), b.masters()+" > 1",
		`Two directors are master of VRRP instance {{ $labels.vrrp }} ({{ $labels.job }})`,
		`{{ $value }} directors hold the addresses of {{ $labels.vrrp }} at once: they do not receive each other's adverts. Clients may reach either; connections break when ARP entries change. Masters:`+
			b.forEach(`lvsd_vrrp_state`, `state="master"`, "vrrp", " == 1")+`.`)
	b.add("LvsdElectionContested", Page, b.minFor(0),
		"max by (job, vrrp) ("+b.of("lvsd_vrrp_contested")+") == 1\nunless on (job, vrrp)\n  "+b.masters()+" > 1",
		`Another master claims VRRP instance {{ $labels.vrrp }} ({{ $labels.job }})`,
		`A director receives adverts of {{ $labels.vrrp }} from a master outside of this job, or rejects those of a live peer. lvsd status shows from which address, and why.`)
	b.add("LvsdElectionFlapping", Page, 0,
		"sum by (job, vrrp) (increase("+b.of("lvsd_vrrp_transitions_total", `to="master"`)+"["+b.window(15*time.Minute)+"])) > 5",
		`VRRP instance {{ $labels.vrrp }} changes its master repeatedly ({{ $labels.job }})`,
		`The addresses of {{ $labels.vrrp }} moved {{ printf "%.0f" $value }} times within `+b.window(15*time.Minute)+`. Each time clients wait, and the youngest connections are lost.`)
	b.add("LvsdElectionFault", Ticket, b.waiting(5*time.Minute),
		b.faulty()+"\nunless on (job, vrrp)\n  "+b.masters()+" == 0",
		`{{ $labels.instance }} cannot take part in VRRP instance {{ $labels.vrrp }}`,
		`The instance is in fault there: a cable, an interface, an address or a tracked object. It cannot take over from the current master.`)
	b.add("LvsdSyncGroupSplit", Ticket, b.minFor(0),
		b.of("lvsd_vrrp_sync_group_waiting")+" == 1",
		`{{ $labels.instance }} receives no master of VRRP instance {{ $labels.vrrp }} and does not take over`,
		`Another member of the sync group follows its master, which does not reach {{ $labels.instance }} on the LAN of {{ $labels.vrrp }}. Taking over would move the whole group to and fro, so the group stays.`)
	b.add("LvsdAddressMissing", Page, b.minFor(0),
		b.of("lvsd_vrrp_address_present")+" == 0\nand on (job, instance, vrrp)\n  "+b.of("lvsd_vrrp_state", `state="master"`)+" == 1",
		`{{ $labels.address }} is missing on the master {{ $labels.instance }}`,
		`{{ $labels.instance }} is master of {{ $labels.vrrp }} and does not have its address {{ $labels.address }}: it cannot be reached.`)
	// A second master that has become backup is still reported for the time of Hold.
	b.add("LvsdAddressConflict", Page, b.minFor(conflict.Hold),
		"max by (job, vrrp, address) ("+b.of("lvsd_vrrp_address_conflict")+") == 1\nunless on (job, vrrp)\n  max by (job, vrrp) ("+b.of("lvsd_vrrp_contested")+") == 1\nunless on (job, vrrp)\n  "+b.masters()+" > 1\nunless on (job)\n  ("+b.down()+")",
		`{{ $labels.address }} has a second holder ({{ $labels.job }})`,
		`Another host, or another interface or program of a director, also has the address {{ $labels.address }} of {{ $labels.vrrp }}: clients may end up there. lvsd status shows the hardware address or the interface.`)
	b.add("LvsdAddressRemoved", Ticket, 0,
		"increase("+b.of("lvsd_vrrp_restored_total")+"["+b.window(15*time.Minute)+"]) > 0",
		`Another process removes addresses of {{ $labels.vrrp }} on {{ $labels.instance }}`,
		`Addresses, routes or rules of {{ $labels.vrrp }} were removed there by another process, and restored.`)
	b.add("LvsdHandoverForgotten", Ticket, max(b.Drain, b.minFor(0)),
		b.of("lvsd_vrrp_held")+" == 1\nor "+b.of("lvsd_announce_held")+" == 1",
		`{{ $labels.instance }} is still on standby for {{ $labels.vrrp }}{{ $labels.announce }}`,
		`A handover began longer than `+duration(b.Drain)+` ago and was not ended (lvsd handover --end). The director serves only when no other does.`)
}

// noMaster does not fire while a director cannot be scraped and its adverts are still
// received: then Prometheus does not see the master, but the LAN does.
//
// For any configuration it is one rule; for a given configuration one for the
// instances of each advert_interval, which determines the duration of a takeover.
func (b *ruleBuilder) noMaster() {
	add := func(advert time.Duration, names ...string) {
		var only []string
		if len(names) > 0 {
			only = []string{oneOf("vrrp", names)}
		}
		// A backup waits for between three and four adverts (RFC 9568 §6.1).
		b.add("LvsdNoMaster", Page, b.minFor(4*advert),
			"sum by (job, vrrp) ("+b.of("lvsd_vrrp_state", append(only, `state="master"`)...)+") == 0\nunless on (job, vrrp) (\n  time() - max by (job, vrrp) ("+
				b.of("lvsd_vrrp_last_advert_timestamp_seconds", only...)+fmt.Sprintf(") < %.0f", b.minFor(4*advert).Seconds())+
				"\n  and on (job) (\n    "+b.down()+"\n  )\n)",
			`VRRP instance {{ $labels.vrrp }} has no master ({{ $labels.job }})`,
			`No director that is scraped holds the addresses of {{ $labels.vrrp }}: its services do not answer.`)
	}
	if b.Config == nil {
		add(defaultAdvert)
		return
	}
	byAdvert := map[time.Duration][]string{}
	for _, e := range b.Config.Instances {
		byAdvert[e.AdvertInterval] = append(byAdvert[e.AdvertInterval], e.Name)
	}
	for _, advert := range sorted(byAdvert) {
		add(advert, byAdvert[advert]...)
	}
}

// forEach lists the instances of an alert's job for which a series matches.
func (b *ruleBuilder) forEach(metric, matcher, label, condition string) string {
	return fmt.Sprintf(`{{ range query (printf "%s{%s, job=%%q, %s=%%q}%s" $labels.job $labels.%s) | sortByLabel "instance" }} {{ .Labels.instance }}{{ end }}`,
		metric, strings.ReplaceAll(matcher, `"`, `'`), label, condition, label)
}

// down are the lvsd targets that cannot be scraped. Without a job they are known by
// the series of the last week.
func (b *ruleBuilder) down() string {
	if b.Job != "" {
		return b.of("up") + " == 0"
	}
	return "up == 0 and on (job, instance) last_over_time(lvsd_build_info[7d])"
}

func (b *ruleBuilder) director() {
	noDirector := "count by (job) (" + b.down() + ")\nunless on (job)\n  " + b.of("lvsd_build_info")
	if b.Job != "" {
		noDirector = "(\n  " + strings.ReplaceAll(noDirector, "\n", "\n  ") + "\n)\nor absent(" + b.of("up") + ")"
	}
	b.add("LvsdNoDirector", Page, b.minFor(0), noDirector,
		`No director of {{ $labels.job }} answers`,
		`Prometheus reaches no lvsd of {{ $labels.job }} any more. The kernels keep balancing with their present weights; a dead server is not noticed, and there is no failover.`)
	b.add("LvsdDirectorDown", Ticket, b.waiting(time.Minute), b.down()+"\nand on (job)\n  "+b.of("lvsd_build_info"),
		`lvsd on {{ $labels.instance }} does not answer`,
		`The other director of {{ $labels.job }} serves alone. There is no failover until this one is back.`)
	if c := b.Config; b.Job != "" && c != nil && len(c.Directors) > 1 {
		b.add("LvsdDirectorUnwatched", Ticket, b.waiting(15*time.Minute),
			fmt.Sprintf("count by (job) (%s) < %d", b.of("up"), len(c.Directors)),
			`Prometheus does not scrape every director of {{ $labels.job }}`,
			fmt.Sprintf(`The configuration has %d directors, only {{ $value }} are targets: rules that combine all directors are incomplete.`, len(c.Directors)))
	}
	b.add("LvsdDirectorRestarts", Ticket, 0,
		"changes("+b.of("process_start_time_seconds")+"["+b.window(30*time.Minute)+"]) > 2\nand on (job, instance)\n  "+b.of("lvsd_build_info"),
		`lvsd on {{ $labels.instance }} restarts repeatedly`,
		`It was started {{ $value }} times within `+b.window(30*time.Minute)+`. The kernel's table and the addresses are kept meanwhile; checks and VRRP do not work.`)
	if b.has(func(c *config.Config) bool { return c.Exchange != nil }) {
		b.peers()
	}
	b.add("LvsdReloadFailed", Ticket, b.waiting(5*time.Minute), b.of("lvsd_config_last_reload_successful")+" == 0",
		`The last reload on {{ $labels.instance }} was rejected`,
		`The previous configuration is still running. After a restart its saved copy is used until the file is fixed.`)
	b.add("LvsdConfigDiffers", Ticket, b.waiting(10*time.Minute),
		"count by (job) (count by (job, hash) ("+b.of("lvsd_config_info")+")) > 1",
		`The directors of {{ $labels.job }} run different configurations`,
		`The services would differ after a failover. Running configurations:{{ range query (printf "lvsd_config_info{job=%q}" $labels.job) | sortByLabel "instance" }} {{ .Labels.instance }} {{ .Labels.hash }}{{ end }}.`)
	b.add("LvsdNotTold", Ticket, 0,
		"increase("+b.of("lvsd_events_dropped_total")+"["+b.window(15*time.Minute)+"])\n  + increase("+b.of("lvsd_notify_failures_total")+"["+b.window(15*time.Minute)+"]) > 0",
		`Events of {{ $labels.instance }} were lost, or not delivered`,
		`{{ printf "%.0f" $value }} events were not written to the history, or not delivered to a notify program or the webhook.`)
	b.lag()
}

func (b *ruleBuilder) peers() {
	// Where Prometheus itself sees that the other is down or in fault, another alert
	// has fired.
	b.add("LvsdPeerGone", Ticket, b.waiting(time.Minute),
		b.of("lvsd_peer_up")+" == 0\nunless on (job, director) (\n  last_over_time("+b.of("lvsd_director_info")+"[7d]) and on (job, instance) "+b.of("up")+" == 0\n)\nunless on (job)\n  "+b.faulty(),
		`{{ $labels.instance }} does not reach the director {{ $labels.director }}`,
		`The exchange of [peers] with {{ $labels.director }} gets no reply, and Prometheus does not see it down: check the network between them, the port and the key.`)
	b.add("LvsdClocksDiffer", Ticket, b.waiting(5*time.Minute),
		"max by (job) (abs("+b.of("lvsd_peer_clock_ahead_seconds")+")) > 5",
		`The clocks of the directors of {{ $labels.job }} differ by {{ printf "%.0f" $value }} s`,
		`From 30 s on authenticated adverts are rejected, and both directors become master.`)
}

// lag fires when nine of ten timers were late by more than an instance or a check
// tolerates. A single late one is normal on any machine.
func (b *ruleBuilder) lag() {
	advert, interval := defaultAdvert, 2*time.Second
	if c := b.Config; c != nil {
		for i, e := range c.Instances {
			if i == 0 || e.AdvertInterval < advert {
				advert = e.AdvertInterval
			}
		}
		if all := intervals(c); len(all) > 0 {
			interval = slices.Min(all)
		}
	}
	for _, l := range []struct {
		name, metric string
		limit        time.Duration
		what, means  string
	}{
		{"LvsdTimerLag", "lvsd_vrrp_timer_lag_seconds_bucket", advert / 4, "VRRP timers", "Adverts are sent late: the other director may take over although the master is alive."},
		{"LvsdCheckLag", "lvsd_check_lag_seconds_bucket", interval / 4, "The checks", "Failed servers are noticed later than configured."},
	} {
		b.add(l.name, Ticket, b.waiting(5*time.Minute),
			fmt.Sprintf("histogram_quantile(0.9, sum by (job, instance, le) (rate(%s[%s]))) > %g", b.of(l.metric), b.window(10*time.Minute), l.limit.Seconds()),
			l.what+` on {{ $labels.instance }} are late`,
			l.what+` are served up to {{ printf "%.3f" $value }} s late. `+l.means+` The machine is overloaded or suspended.`)
	}
}

// has reports whether rules are needed: those for any configuration always are.
func (b *ruleBuilder) has(condition func(*config.Config) bool) bool {
	return b.Config == nil || condition(b.Config)
}

// intervals are those of all checks.
func intervals(c *config.Config) []time.Duration {
	var all []time.Duration
	for _, s := range c.Services {
		for _, r := range s.RealServers {
			for _, k := range r.Checks {
				if k.Interval > 0 {
					all = append(all, k.Interval)
				}
			}
		}
	}
	return all
}

// oneOf matches a label with names, in which the dot is the only character that is
// special in RE2.
func oneOf(label string, names []string) string {
	if len(names) == 1 {
		return fmt.Sprintf("%s=%q", label, names[0])
	}
	var all []string
	for _, n := range names {
		all = append(all, strings.ReplaceAll(n, ".", `\.`))
	}
	return fmt.Sprintf("%s=~%q", label, strings.Join(all, "|"))
}

func sorted[V any](m map[time.Duration]V) []time.Duration {
	var all []time.Duration
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}
