package director

// History tells the event recorder what a decision changed. No decision reads
// it.

import (
	"fmt"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/event"
)

// record tells the history what a decision changed.
func (d *Director) record(old, plan *Plan) {
	if old == nil {
		old = &Plan{}
	}
	now := time.Now()
	was := map[checker.ID]ServerPlan{}
	services := map[string]ServicePlan{}
	for _, svc := range old.Services {
		services[svc.Name] = svc
		for _, s := range svc.Servers {
			was[s.ID] = s
		}
	}
	tell := func(e event.Event) {
		e.At = now
		d.parts.Events.Record(e)
	}
	if e, changed := guardEvent(old.Guard, plan.Guard); changed {
		tell(e)
	}
	for _, svc := range plan.Services {
		for _, s := range svc.Servers {
			before, known := was[s.ID]
			delete(was, s.ID)
			if e, changed := weightEvent(before, s, known); changed {
				tell(e)
			}
		}
		before, known := services[svc.Name]
		if !known || before.Up != svc.Up {
			e := event.Event{Kind: event.KindQuorum, Service: svc.Name, To: upText(svc.Up), Reason: fmt.Sprintf("weight alive %d", svc.WeightAlive)}
			if known {
				e.From = upText(before.Up)
			}
			tell(e)
		}
		if before.Panic != svc.Panic {
			tell(event.Event{Kind: event.KindPanic, Service: svc.Name, From: onText(before.Panic), To: onText(svc.Panic),
				Reason: fmt.Sprintf("%d of %d servers are healthy", svc.Healthy, svc.Counted)})
		}
		delete(services, svc.Name)
		if before.Fallback.Active != svc.Fallback.Active {
			tell(event.Event{Kind: event.KindFallback, Service: svc.Name, RealServer: svc.Fallback.name(before.Fallback),
				From: onText(before.Fallback.Active), To: onText(svc.Fallback.Active), Reason: fmt.Sprintf("weight alive %d", svc.WeightAlive)})
		}
	}
	// What is left is no longer in the file.
	for _, svc := range old.Services {
		for _, s := range svc.Servers {
			if _, gone := was[s.ID]; gone {
				tell(event.Event{Kind: event.KindWeight, Service: s.ID.Service, RealServer: s.ID.RealServer, From: weightText(s), To: "removed", Reason: "taken out of the file"})
			}
		}
		if _, gone := services[svc.Name]; gone {
			tell(event.Event{Kind: event.KindQuorum, Service: svc.Name, From: upText(svc.Up), To: "removed", Reason: "taken out of the file"})
		}
	}
}

// name is the fallback's address: the one that took over.
func (f FallbackPlan) name(before FallbackPlan) string {
	if !f.Active {
		f = before
	}
	return f.Address.String()
}

func weightEvent(before, s ServerPlan, known bool) (event.Event, bool) {
	if known && before.Weight == s.Weight && before.Listed == s.Listed {
		return event.Event{}, false
	}
	e := event.Event{Kind: event.KindWeight, Service: s.ID.Service, RealServer: s.ID.RealServer, To: weightText(s), Reason: s.Why().Text}
	if known {
		e.From = weightText(before)
	}
	return e, true
}

// guardEvent is what people want to know of the guard: that it froze the
// verdicts, and why that ended. What it asked and let pass, the weights tell.
func guardEvent(old, g Guard) (event.Event, bool) {
	e := event.Event{Kind: event.KindGuard, From: string(old.State), To: string(g.State), Reason: g.Why}
	return e, old.State != g.State && (g.Active() || old.Active())
}

func weightText(s ServerPlan) string {
	if !s.Listed {
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
