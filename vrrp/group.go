// This file lets the elections of one sync group know of each other. It holds no
// election's decisions: each member says how it stands, and reads how the others
// do.

package vrrp

import (
	"slices"
	"strings"
	"sync"
)

// Groups are the sync groups of one process. The zero value is ready.
type Groups struct {
	mu     sync.Mutex
	groups map[string]*syncGroup
}

// processGroups serve whoever brings none.
var processGroups Groups

type syncGroup struct {
	mu      sync.Mutex
	members map[*membership]standing
	number  uint64 // of the last move
	move    move
}

// standing is what a member says of itself.
type standing struct {
	fault string // what keeps it out by itself; empty: nothing
	delta int
}

// A move is what one member did and the others follow.
type move struct {
	to State
	by string
}

// membership is one election's place in its group.
type membership struct {
	group *syncGroup
	name  string
	nudge func()
	seen  uint64 // the loop's: number of the last move that it follows or made
}

// join makes a member; nil without a group.
func (g *Groups) join(group, name string, nudge func()) *membership {
	if group == "" {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.groups == nil {
		g.groups = map[string]*syncGroup{}
	}
	s := g.groups[group]
	if s == nil {
		s = &syncGroup{members: map[*membership]standing{}}
		g.groups[group] = s
	}
	m := &membership{group: s, name: name, nudge: nudge}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.seen = s.number
	s.members[m] = standing{}
	return m
}

// leave ends the membership.
func (m *membership) leave() {
	if m == nil {
		return
	}
	m.group.mu.Lock()
	delete(m.group.members, m)
	m.group.mu.Unlock()
	m.tell()
}

// tell lets the others look.
func (m *membership) tell() {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	for other := range m.group.members {
		if other != m {
			other.nudge() // never blocks
		}
	}
}

// stand says how the member stands.
func (m *membership) stand(s standing) {
	if m == nil {
		return
	}
	m.group.mu.Lock()
	_, member := m.group.members[m]
	same := !member || m.group.members[m] == s
	if !same {
		m.group.members[m] = s
	}
	m.group.mu.Unlock()
	if !same {
		m.tell()
	}
}

// moved says what the member did by itself.
func (m *membership) moved(to State) {
	if m == nil {
		return
	}
	m.group.mu.Lock()
	m.group.number++
	m.seen, m.group.move = m.group.number, move{to, m.name}
	m.group.mu.Unlock()
	m.tell()
}

// others is how the other members stand, and the move to follow, if any.
func (m *membership) others() (faults []string, delta int, follow *move) {
	if m == nil {
		return nil, 0, nil
	}
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	for other, s := range m.group.members {
		if other == m {
			continue
		}
		delta += s.delta
		if s.fault != "" {
			faults = append(faults, other.name+" of its sync group: "+s.fault)
		}
	}
	slices.SortFunc(faults, strings.Compare)
	if m.group.number != m.seen {
		m.seen = m.group.number
		last := m.group.move
		follow = &last
	}
	return faults, delta, follow
}
