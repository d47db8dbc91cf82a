package director

import (
	"fmt"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/event"
)

// record records what a decision changed as events. No decision reads them.
func (d *Director) record(old, plan *decision.Decision) {
	starting := !d.start.ended
	if old == nil {
		old = &decision.Decision{}
	}
	now := time.Now()
	services := map[string]*decision.Service{}
	for i := range old.Services {
		services[old.Services[i].Name] = &old.Services[i]
	}
	add := func(e event.Event) {
		e.At = now
		d.deps.Events.Record(e)
	}
	if e, changed := guardEvent(old.Guard, plan.Guard); changed {
		add(e)
	}
	for i := range plan.Services {
		svc := &plan.Services[i]
		before, known := services[svc.Name]
		delete(services, svc.Name)
		if !known {
			before = &decision.Service{}
		}
		if len(svc.Servers) > 0 && len(before.Servers) == len(svc.Servers) && &svc.Servers[0] == &before.Servers[0] {
			continue // it was reused
		}
		recordServers(before, svc, starting, add)
		switch {
		case !known && !svc.Up && starting:
			d.start.unserved[svc.Name] = true
		case svc.Up && d.start.unserved[svc.Name]:
			delete(d.start.unserved, svc.Name)
			d.deps.Events.Store(quorumEvent(nil, svc)) // the line of the start counts them
		case !known:
			add(quorumEvent(nil, svc))
		case before.Up != svc.Up:
			add(quorumEvent(before, svc))
		}
		if before.Panic != svc.Panic {
			add(event.Event{Kind: event.KindPanic, Service: svc.Name, From: onText(before.Panic), To: onText(svc.Panic),
				Reason: fmt.Sprintf("%d of %d servers are healthy", svc.Healthy, svc.Counted)})
		}
		if before.Fallback.Active != svc.Fallback.Active {
			add(event.Event{Kind: event.KindFallback, Service: svc.Name, RealServer: fallbackName(before.Fallback, svc.Fallback),
				From: onText(before.Fallback.Active), To: onText(svc.Fallback.Active), Reason: fmt.Sprintf("available weight %d", svc.AvailableWeight)})
		}
	}
	// The others are no longer in the file.
	for i := range old.Services {
		svc := &old.Services[i]
		if services[svc.Name] == svc {
			recordServers(svc, &decision.Service{}, starting, add)
			add(event.Event{Kind: event.KindQuorum, Service: svc.Name, From: upText(svc.Up), To: "removed", Reason: "removed from the file"})
		}
	}
}

// recordServers records the changed weights of a service's servers, in the order of the
// file, and then the servers that were removed from it. Servers that enter the table at
// a start are counted in the event of the start.
func recordServers(before, svc *decision.Service, starting bool, add func(event.Event)) {
	find, kept := before.Lookup(), make(map[*decision.RealServer]bool, len(svc.Servers))
	for i, s := range svc.Servers {
		was := find(i, s.Address)
		kept[was] = true
		if e, changed := uncheckedEvent(was, s); changed {
			add(e)
		}
		if starting && (was == nil || !was.InTable) {
			continue
		}
		if e, changed := weightEvent(was, s); changed {
			add(e)
		}
	}
	for i := range before.Servers {
		if s := &before.Servers[i]; !kept[s] {
			add(event.Event{Kind: event.KindWeight, Service: s.ID.Service, RealServer: s.ID.RealServer, From: weightText(*s), To: "removed", Reason: "removed from the file"})
		}
	}
}

// quorumEvent is the event of a service's quorum; before is nil of one that is new.
func quorumEvent(before, svc *decision.Service) event.Event {
	e := event.Event{Kind: event.KindQuorum, Service: svc.Name, To: upText(svc.Up), Reason: fmt.Sprintf("available weight %d", svc.AvailableWeight)}
	if before != nil {
		e.From = upText(before.Up)
	}
	return e
}

// fallbackName is the address of the fallback that took over, or that did before.
func fallbackName(before, f decision.Fallback) string {
	if !f.Active {
		f = before
	}
	return f.Address.String()
}

func weightEvent(before *decision.RealServer, s decision.RealServer) (event.Event, bool) {
	if before == nil && !s.InTable || before != nil && before.Weight == s.Weight && before.InTable == s.InTable {
		return event.Event{}, false
	}
	e := event.Event{Kind: event.KindWeight, Service: s.ID.Service, RealServer: s.ID.RealServer, To: weightText(s), Reason: s.Why().Text}
	if before != nil {
		e.From = weightText(*before)
	}
	return e, true
}

// uncheckedEvent is an event when a check of a server cannot be made any more, and when all
// can again.
func uncheckedEvent(before *decision.RealServer, s decision.RealServer) (event.Event, bool) {
	was, is := before != nil && !before.UncheckedSince.IsZero(), !s.UncheckedSince.IsZero()
	e := event.Event{Kind: event.KindHealth, Service: s.ID.Service, RealServer: s.ID.RealServer,
		From: "checked", To: "unchecked", Reason: s.UncheckedWhy}
	if !is {
		e.From, e.To, e.Reason = e.To, e.From, "its checks work again"
	}
	return e, was != is
}

// guardEvent is an event when the guard froze the health, and when that ended. What it let
// pass shows in the weights.
func guardEvent(old, g decision.Guard) (event.Event, bool) {
	e := event.Event{Kind: event.KindGuard, From: string(old.State), To: string(g.State), Reason: g.Why}
	return e, old.State != g.State && (g.Active() || old.Active())
}

func weightText(s decision.RealServer) string {
	if !s.InTable {
		return "removed"
	}
	return fmt.Sprint(s.Weight)
}

func upText(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func onText(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
