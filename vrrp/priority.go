// Influence from outside on the machine: priority adjustments and faults of
// tracked objects, and the other members of the sync group.

package vrrp

import "time"

// priority returns the effective priority: the configured one adjusted by
// tracking, within 1 to 254. An owner keeps 255.
func (m *machine) priority() uint8 {
	if m.cfg.Priority == 255 {
		return 255
	}
	return uint8(min(max(int(m.cfg.Priority)+m.trackedDelta, 1), 254))
}

// setTracked sets the sum of the tracked objects. A fault keeps the instance in
// Fault, as an interface without carrier does.
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

// enterTrackedFault enters Fault, or stays in it, because of a tracked object.
func (m *machine) enterTrackedFault(now time.Time) {
	if m.state != Fault {
		m.becomeFault(now, ReasonTracked, m.trackedFault)
		return
	}
	m.reason, m.detail, m.retryAt = ReasonTracked, m.trackedFault, time.Time{}
}

// followGroup follows a state change of another member of the sync group.
func (m *machine) followGroup(now time.Time, to State, detail string) {
	switch {
	case to == Master && m.state == Backup:
		m.becomeMaster(now, ReasonGroup, detail)
	case to == Backup && m.state == Master:
		m.send(0) // no successor has been received yet
		m.becomeBackup(now, ReasonGroup, detail, m.cfg.AdvertInterval)
	}
}
