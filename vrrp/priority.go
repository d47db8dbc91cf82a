// This file holds what bends an election from outside: the priority that tracked
// things leave, the faults that they cause, and the moves of a sync group. It
// never looks at what is tracked.
//
// PURE.
package vrrp

import "time"

// priority is the effective one: the configured one and what tracked things add
// or take, never 0, and never an owner's, which is not elected.
func (m *machine) priority() uint8 {
	if m.cfg.Priority == 255 {
		return 255
	}
	return uint8(min(max(int(m.cfg.Priority)+m.trackedDelta, 1), 254))
}

// setTracked takes the sum of what is tracked. A fault keeps the director out of the
// election, as an interface without a carrier does.
func (m *machine) setTracked(now time.Time, delta int, fault string) {
	old := m.priority()
	m.trackedDelta, m.trackedFault = delta, fault
	switch {
	case m.stopped || m.state == Init:
		return
	case fault != "" && (m.state != Fault || m.reason == ReasonTracked):
		m.enterTrackedFault(now)
		return
	case fault == "" && m.state == Fault && m.reason == ReasonTracked:
		m.startUp(now, ReasonRecovered, "")
		return
	}
	if m.priority() == old {
		return
	}
	switch m.state {
	case Master:
		m.masterPriority = m.priority() // and it is in the next advert
	case Backup:
		m.recomputeDownTimer()
	}
}

// enterTrackedFault keeps the director in fault for something that is tracked.
func (m *machine) enterTrackedFault(now time.Time) {
	if m.state != Fault {
		m.becomeFault(now, ReasonTracked, m.trackedFault)
		return
	}
	m.reason, m.detail, m.retryAt = ReasonTracked, m.trackedFault, time.Time{}
}

// followGroup follows another election of the sync group.
func (m *machine) followGroup(now time.Time, to State, detail string) {
	switch {
	case to == Master && m.state == Backup:
		m.becomeMaster(now, ReasonGroup, detail)
	case to == Backup && m.state == Master:
		m.send(0) // nobody told this one of the successor, nor its peers
		m.becomeBackup(now, ReasonGroup, detail, m.cfg.AdvertInterval)
	}
}
