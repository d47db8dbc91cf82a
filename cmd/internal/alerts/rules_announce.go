// This file has the rules of announcements.

package alerts

import (
	"time"

	"lvsd/config"
)

func (b *ruleBuilder) announcements() {
	if !b.has(func(c *config.Config) bool { return len(c.Announces) > 0 }) {
		return
	}
	wanted, daemon := b.of("lvsd_announce_wanted"), b.of("lvsd_announce_routing_daemon_up")
	// A director without its routing daemon announces nothing, whatever lvsd wants.
	announcing := "sum by (job, announce) (\n  (" + wanted + " unless on (job, instance, announce) " + daemon + " == 0)\n  or " + wanted + " * 0\n)"
	b.add("LvsdNotAnnounced", Page, b.minFor(0), announcing+" == 0",
		`No director announces {{ $labels.announce }} ({{ $labels.job }})`,
		`No director that is scraped announces the addresses of {{ $labels.announce }}: routers have no route to them. See lvsd status on each, and the routing daemons.`)
	b.add("LvsdFewAnnounce", Ticket, b.waiting(5*time.Minute),
		announcing+" < 0.5 * count by (job, announce) ("+wanted+")\nand "+announcing+" > 0",
		`Fewer than half of the directors of {{ $labels.job }} announce {{ $labels.announce }}`,
		`Only {{ printf "%.0f" $value }} announce the addresses, and carry the whole load.`)
	b.add("LvsdRouteMissing", Page, b.minFor(0),
		b.of("lvsd_announced")+" == 0\nand on (job, instance, announce)\n  "+wanted+" == 1",
		`{{ $labels.instance }} has no route to {{ $labels.address }} in the table of {{ $labels.announce }}`,
		`lvsd should announce {{ $labels.address }} there and cannot add the route: lvsd status has the kernel's error.`)
	b.add("LvsdRoutingDaemonGone", Ticket, b.minFor(0), daemon+" == 0",
		`The routing daemon on {{ $labels.instance }} is not running`,
		`BIRD or FRR accepts no connection on its control socket, so routers do not learn {{ $labels.announce }} from this director. Check systemctl status bird or frr.`)
	b.add("LvsdRouteRemoved", Ticket, 0,
		"increase("+b.of("lvsd_announce_routes_restored_total")+"["+b.window(15*time.Minute)+"]) > 0\nor "+b.of("lvsd_announce_foreign_routes")+" > 0",
		`Another process changes the routing tables of announcements on {{ $labels.instance }}`,
		`Routes of lvsd were removed there and restored, or routes of another process are in the same table and are announced too.`)
}
