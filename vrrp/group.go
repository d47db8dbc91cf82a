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
	mu       sync.Mutex
	members  map[*groupMember]groupState
	moves    uint64 // of the last move
	lastMove groupMove
}

// groupState is what a member says of itself.
type groupState struct {
	fault string // what keeps it out by itself; empty: nothing
	delta int
}

// A move is what one member did and the others follow.
type groupMove struct {
	to State
	by string
}

// groupMember is one election's place in its group.
type groupMember struct {
	group *syncGroup
	name  string
	wake  func()
	seen  uint64 // the loop's: number of the last move that it follows or made
}

// join makes a member; nil without a group.
func (g *Groups) join(group, name string, nudge func()) *groupMember {
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
		s = &syncGroup{members: map[*groupMember]groupState{}}
		g.groups[group] = s
	}
	m := &groupMember{group: s, name: name, wake: nudge}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.seen = s.moves
	s.members[m] = groupState{}
	return m
}

// leave ends the membership.
func (m *groupMember) leave() {
	if m == nil {
		return
	}
	m.group.mu.Lock()
	delete(m.group.members, m)
	m.group.mu.Unlock()
	m.wakeOthers()
}

// wakeOthers lets the others look.
func (m *groupMember) wakeOthers() {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	for other := range m.group.members {
		if other != m {
			other.wake() // never blocks
		}
	}
}

// setState says how the member stands.
func (m *groupMember) setState(s groupState) {
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
		m.wakeOthers()
	}
}

// announceMove says what the member did by itself.
func (m *groupMember) announceMove(to State) {
	if m == nil {
		return
	}
	m.group.mu.Lock()
	m.group.moves++
	m.seen, m.group.lastMove = m.group.moves, groupMove{to, m.name}
	m.group.mu.Unlock()
	m.wakeOthers()
}

// others is how the other members stand, and the move to follow, if any.
func (m *groupMember) others() (faults []string, delta int, follow *groupMove) {
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
	if m.group.moves != m.seen {
		m.seen = m.group.moves
		last := m.group.lastMove
		follow = &last
	}
	return faults, delta, follow
}
