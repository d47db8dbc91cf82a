// Sync groups: members publish their state and follow each other's transitions.
// The decisions are the machine's.

package vrrp

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Groups are the sync groups of one process. The zero value is ready to use.
type Groups struct {
	mu     sync.Mutex
	groups map[string]*syncGroup
}

// processGroups is used where Options.Groups is nil.
var processGroups Groups

type syncGroup struct {
	mu       sync.Mutex
	members  map[*groupMember]groupState
	moves    uint64 // number of the last move
	lastMove groupMove
}

// groupState is what a member publishes.
type groupState struct {
	fault string // why it is in Fault by itself; empty: it is not
	delta int

	following groupMaster
}

// groupMove is a transition that the other members follow.
type groupMove struct {
	to State
	by string
}

// groupMember is one instance in its group.
type groupMember struct {
	group *syncGroup
	name  string
	wake  func()
	seen  uint64 // owned by the event loop: number of the last move followed or made
}

// join adds a member; it returns nil without a group.
func (g *Groups) join(group, name string, wake func()) *groupMember {
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
	m := &groupMember{group: s, name: name, wake: wake}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.seen = s.moves
	s.members[m] = groupState{}
	return m
}

// leave removes the member.
func (m *groupMember) leave() {
	if m == nil {
		return
	}
	m.group.mu.Lock()
	delete(m.group.members, m)
	m.group.mu.Unlock()
	m.wakeOthers()
}

// wakeOthers wakes the event loops of the other members.
func (m *groupMember) wakeOthers() {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	for other := range m.group.members {
		if other != m {
			other.wake() // does not block
		}
	}
}

// setState publishes the member's state.
func (m *groupMember) setState(s groupState) {
	if m == nil {
		return
	}
	m.group.mu.Lock()
	_, member := m.group.members[m]
	old := m.group.members[m]
	same := !member || old.fault == s.fault && old.delta == s.delta // the rest is read when it is needed
	if member {
		m.group.members[m] = s
	}
	m.group.mu.Unlock()
	if !same {
		m.wakeOthers()
	}
}

// announceMove publishes a transition that the member made by itself.
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

// others returns the faults and the priority adjustment of the other members, and
// the move to follow, if any.
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
			faults = append(faults, "sync group member "+strconv.Quote(other.name)+" is in fault ("+s.fault+")")
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

// masters returns the masters that the other members follow, by member.
func (m *groupMember) masters() (out []groupMaster) {
	if m == nil {
		return nil
	}
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	for other, s := range m.group.members {
		if other != m && !s.following.until.IsZero() {
			out = append(out, s.following)
		}
	}
	slices.SortFunc(out, func(a, b groupMaster) int { return strings.Compare(a.member, b.member) })
	return out
}
