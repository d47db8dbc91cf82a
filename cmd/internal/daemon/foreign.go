// This file watches for connections that a stranger put into the kernel's table by the
// connection synchronisation, which the kernel does not authenticate.

package daemon

import (
	"context"
	"fmt"
	"time"

	"lvsd/cmd/internal/event"
	"lvsd/ipvs"
)

// foreignInterval is how often the connections are looked at without a scrape.
const foreignInterval = 30 * time.Second

// watchForeign looks at the connections while [ipvs.sync] is configured, until the
// context ends.
func (d *Daemon) watchForeign(ctx context.Context) error {
	tick := time.NewTicker(foreignInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var o ipvs.Origins
		if d.reconciler.DesiredSync() != nil {
			var err error
			limit, cancel := context.WithTimeout(ctx, foreignInterval)
			if o, err = d.reconciler.ConnectionOrigins(limit); err != nil {
				o = ipvs.Origins{} // the reconciler reports a kernel that does not reply
			}
			cancel()
		}
		d.foreignConnections(o)
	}
}

// foreignConnections updates the problem, and records when there are such connections and
// when there are none any more.
func (d *Daemon) foreignConnections(o ipvs.Origins) {
	if o.Foreign == 0 {
		if d.foreign.Swap(nil) != nil {
			d.events.Record(event.Event{At: time.Now(), Kind: event.KindIPVS, From: "foreign connections", To: "none", Reason: "no more connections to unknown real servers"})
		}
		return
	}
	c := o.Example
	text := fmt.Sprintf("%d connections received by [ipvs.sync] lead to real servers that no service has, such as %s from %s to %s: another host may be sending on that network, which must be reserved for the directors (docs/security.md)", o.Foreign, c.RealServer, c.Client, c.Virtual)
	if d.foreign.Swap(&text) == nil {
		d.events.Record(event.Event{At: time.Now(), Kind: event.KindIPVS, From: "none", To: "foreign connections", Reason: text})
	}
}

// foreignProblems returns what is to be shown of them.
func (d *Daemon) foreignProblems() []string {
	if p := d.foreign.Load(); p != nil {
		return []string{*p}
	}
	return nil
}
