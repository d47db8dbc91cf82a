// This file runs the programs of a virtual service, when its quorum or the health of one of
// its real servers changes.

package notify

import (
	"context"
	"fmt"

	"lvsd/cmd/internal/event"
	"lvsd/config"
)

// serviceChange is a change that a service can have a program for.
type serviceChange struct {
	realServer string // "": the quorum
	to         string // up or down
}

// serviceChangeOf returns what an event says of a service. The quorum that a service does
// not have before its first checks was not lost.
func serviceChangeOf(e event.Event) (c serviceChange, ok bool) {
	c = serviceChange{e.RealServer, e.To}
	known := e.Kind == event.KindHealth && e.RealServer != "" || e.Kind == event.KindQuorum && (e.From != "" || e.To == "up")
	return c, known && e.From != e.To && (e.To == "up" || e.To == "down")
}

// servicePrograms are those of one service. They run one after the other.
type servicePrograms map[serviceChange]*program

// newServiceTarget returns the target with the programs of a service; nil if it has none.
func newServiceTarget(s config.Service, user string) *target {
	all := servicePrograms{}
	t := &target{key: fmt.Sprint("service ", s.Name, " ", user), name: "programs of " + s.Name, sender: all, filter: filter{service: s.Name, changes: all}}
	add := func(realServer, to string, command []string) {
		if command != nil {
			all[serviceChange{realServer, to}] = &program{command: command, user: user}
			t.key += fmt.Sprintf(" %s %s %q", realServer, to, command)
		}
	}
	add("", "up", s.QuorumUp)
	add("", "down", s.QuorumDown)
	for _, rs := range s.RealServers {
		add(rs.Address.String(), "up", rs.NotifyUp)
		add(rs.Address.String(), "down", rs.NotifyDown)
	}
	if len(all) == 0 {
		return nil
	}
	return t
}

// send runs the program with its own arguments alone, as keepalived does.
func (s servicePrograms) send(ctx context.Context, events []event.Event) error {
	c, _ := serviceChangeOf(events[0])
	return s[c].run(ctx, events[0])
}
