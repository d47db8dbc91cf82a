// This file runs the programs of a state that an instance or a sync group enters, and
// follows the states of the groups.

package notify

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"lvsd/cmd/internal/event"
	"lvsd/config"
	"lvsd/vrrp"
)

// stateWords are the states as keepalived names them to its notify scripts.
var stateWords = map[string]string{
	string(vrrp.Master): "MASTER", string(vrrp.Backup): "BACKUP", string(vrrp.Fault): "FAULT", string(vrrp.Init): "STOP",
}

// isTransition reports whether an event is an instance's change to another state.
func isTransition(e event.Event) bool {
	return e.Kind == event.KindVRRP && stateWords[e.To] != "" && e.From != event.Contested && e.From != e.To
}

// stateProgram runs the program of the state that an instance or a sync group entered.
type stateProgram struct {
	kind, name string // INSTANCE or GROUP, and its name
	of         map[string]*program
}

// newStateTarget returns the target with the programs of an instance or a group, which
// run one after the other; nil if it has none.
func newStateTarget(kind, name string, p config.StatePrograms, user string) *target {
	s := &stateProgram{kind: kind, name: name, of: map[string]*program{}}
	t := &target{key: fmt.Sprint("state ", kind, name, user), name: "notify of " + name, sender: s}
	for _, c := range []struct {
		state   vrrp.State
		command []string
	}{{vrrp.Master, p.NotifyMaster}, {vrrp.Backup, p.NotifyBackup}, {vrrp.Fault, p.NotifyFault}, {vrrp.Init, p.NotifyStop}} {
		if c.command != nil {
			s.of[string(c.state)] = &program{command: c.command, user: user}
			t.states = append(t.states, string(c.state))
		}
		t.key += fmt.Sprintf(" %q", c.command)
	}
	if t.states == nil {
		return nil
	}
	return t
}

// send runs the program with the four arguments of keepalived's notify scripts.
func (s *stateProgram) send(ctx context.Context, events []event.Event) error {
	e := events[0]
	return s.of[e.To].run(ctx, e, s.kind, s.name, stateWords[e.To], strconv.Itoa(e.Priority))
}

// groups has the states of the instances and of the sync groups.
type groups struct {
	members map[string][]string // instances by group
	states  map[string]string   // of the instances, as far as known
	reached map[string]string   // of the groups: the newest that all of a group's members agreed on
}

// groupsOf returns the sync groups of a configuration.
func groupsOf(c *config.Config) groups {
	g := groups{members: map[string][]string{}, states: map[string]string{}, reached: map[string]string{}}
	for _, i := range c.Instances {
		if i.SyncGroup != "" {
			g.members[i.SyncGroup] = append(g.members[i.SyncGroup], i.Name)
		}
	}
	return g
}

// after takes over the states from the groups of the previous configuration. A group
// whose members changed has the state that they are in now.
func (g groups) after(old groups) groups {
	for _, members := range g.members {
		for _, m := range members {
			if s, known := old.states[m]; known {
				g.states[m] = s
			}
		}
	}
	for name := range g.members {
		g.reached[name] = old.reached[name]
		if s, agreed := g.state(name); agreed {
			g.reached[name] = s
		}
	}
	return g
}

// state returns the state of a group: fault if a member is in fault, else the one that
// all members are in. agreed is false while they differ.
func (g groups) state(name string) (state string, agreed bool) {
	members := g.members[name]
	first := g.states[members[0]]
	agreed = first != ""
	for _, m := range members {
		if g.states[m] == string(vrrp.Fault) {
			return string(vrrp.Fault), true
		}
		agreed = agreed && g.states[m] == first
	}
	return first, agreed
}

// observe follows an event. When it changes the state of a sync group, observe returns
// the group's name and the event with the states of the group.
func (g groups) observe(e event.Event) (ofGroup event.Event, group string) {
	if !isTransition(e) {
		return e, ""
	}
	for name, members := range g.members {
		if !slices.Contains(members, e.VRRP) {
			continue
		}
		g.states[e.VRRP] = e.To
		state, agreed := g.state(name)
		if was := g.reached[name]; agreed && was != state {
			g.reached[name] = state
			e.From, e.To = was, state
			return e, name
		}
	}
	return e, ""
}
