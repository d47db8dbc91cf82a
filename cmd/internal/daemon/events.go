// This file turns the changes that the parts report into events.

package daemon

import (
	"cmp"
	"fmt"

	"lvsd/checker"
	"lvsd/cmd/internal/event"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

func (d *Daemon) healthChanged(c checker.Change) {
	e := event.Event{At: c.At, Kind: event.KindHealth, Service: c.ID.Service, RealServer: c.ID.RealServer,
		From: c.From.String(), To: c.To.String(), Reason: c.Cause}
	if c.From == checker.Unknown && c.To == checker.Up {
		d.events.Store(e) // the line about its weight, or that of the start, says so
		return
	}
	d.events.Record(e)
}

func (d *Daemon) instanceChanged(e vrrp.Event) {
	d.director.Wake() // a fault, or its end, changes which probes count
	d.director.StateChanged(e.From)
	d.events.Store(event.Event{At: e.At, Kind: event.KindVRRP, VRRP: e.Name, From: string(e.From), To: string(e.To), Reason: cmp.Or(e.Detail, e.Reason), Priority: int(e.Priority)})
}

// masterConflict records a second master, which the instance itself has logged.
func (d *Daemon) masterConflict(k vrrp.MasterConflict) {
	e := event.Event{At: k.At, Kind: event.KindVRRP, VRRP: k.Name, From: string(k.State), To: event.Contested, Reason: k.Detail}
	if !k.On {
		e.From, e.To, e.Reason = event.Contested, string(k.State), "no other master and no refused peer was received for 3 advert intervals"
	}
	d.events.Store(e)
}

// addressConflict records another holder of an address, which the instance itself has
// logged.
func (d *Daemon) addressConflict(k vrrp.AddressConflict) {
	e := event.Event{At: k.At, Kind: event.KindVRRP, VRRP: k.Name, From: event.AddressUnique, To: event.AddressConflict, Reason: k.Address.String() + " " + k.Detail}
	if !k.On {
		e.From, e.To, e.Reason = e.To, e.From, "no longer seen: "+e.Reason
	}
	d.events.Store(e)
}

// addressesRestored records addresses that were put back, which the instance itself has
// logged.
func (d *Daemon) addressesRestored(r vrrp.Restored) {
	reason := "another program removed " + r.Addresses[0].Addr().String()
	if more := len(r.Addresses) - 1; more > 0 {
		reason += fmt.Sprintf(" and %d more", more)
	}
	d.events.Store(event.Event{At: r.At, Kind: event.KindVRRP, VRRP: r.Name, To: event.AddressesRestored, Reason: reason})
}

func (d *Daemon) tableChanged(c ipvs.Change) {
	e := event.Event{At: c.At, Kind: event.KindIPVS, From: c.From, To: c.To, Reason: c.Kind + " " + c.What}
	if c.Entry != (ipvs.Entry{}) {
		e.Service = c.Entry.Service.String()
	}
	if c.Entry.RealServer.IsValid() {
		e.RealServer = c.Entry.RealServer.String()
	}
	if c.Err != nil {
		e.Reason += ": " + c.Err.Error()
	}
	d.events.Store(e)
}
