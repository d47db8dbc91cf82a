// How the machine enters and leaves its states, and what moves it from outside:
// the interface, tracked objects, the other members of the sync group, and other
// holders of the addresses.

package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"lvsd/vrrp/conflict"
)

// start records addresses that an earlier run left on the interface. They stay
// until another master is received or this director becomes master, so that
// clients are served during the election.
func (m *machine) start(leftover []netip.Prefix) {
	m.present = slices.Clone(leftover)
	if len(leftover) > 0 {
		m.requestAddresses(intersect(m.cfg.allAddresses(), leftover))
	}
}

// becomeReady is called when the interface works; adverts are sent from source.
func (m *machine) becomeReady(now time.Time, source netip.Addr) {
	was := m.ready
	m.source, m.ready = source, true
	if m.state == Master {
		m.master = source
	}
	switch {
	case m.state == Init && !m.stopped:
		m.startUp(now, ReasonStart, "")
	case m.state == Fault && !was:
		detail := ""
		m.holdoff = 0 // the interface changed: earlier failures no longer count
		if more := m.flaps - flapsAllowed; more > 0 {
			m.holdoff = min(holdoffMin<<min(more-1, 5), holdoffMax)
			detail = fmt.Sprintf("the link fails repeatedly: no preemption for %v", m.holdoff)
		}
		m.startUp(now, ReasonLinkUp, detail)
	}
}

// becomeUnready is called when the interface cannot send or receive.
func (m *machine) becomeUnready(now time.Time, reason, detail string) {
	m.ready = false
	if m.stopped {
		return
	}
	if m.state == Master && reason == ReasonLinkDown {
		if m.flaps++; now.Sub(m.since) > announceRefresh {
			m.flaps = 0
		}
	}
	if m.state != Fault {
		m.becomeFault(now, reason, detail)
		return
	}
	m.reason, m.detail, m.retryAt = reason, detail, time.Time{}
}

// startUp is the Startup event, RFC 9568 §6.4.1.
func (m *machine) startUp(now time.Time, reason, detail string) {
	if m.trackedFault != "" {
		m.enterTrackedFault(now)
		return
	}
	if m.cfg.Priority == 255 && m.holdoff == 0 && !m.cfg.Standby && m.cfg.StartupDelay == 0 {
		m.becomeMaster(now, ReasonOwner, "owner of the addresses")
		return
	}
	m.becomeBackup(now, reason, detail, m.cfg.AdvertInterval)
	m.unheard = true
	// The addresses of an earlier run are still served. Another master would
	// advertise within one interval; waiting for three would let the other
	// backups time out first and move the addresses twice. The RFC has no
	// restart.
	m.adopting = reason == ReasonStart && len(m.want) > 0 && !m.cfg.Standby
	m.recomputeDownTimer()
}

// stop is the Shutdown event, RFC 9568 §6.4.2 and §6.4.3.
func (m *machine) stop(now time.Time) {
	if m.state == Master {
		m.send(0)
	}
	m.stopped = true
	became := m.become(now, Init, ReasonStop, "")
	switch {
	case became.from == Master && m.cfg.HandoverLimit > 0 && len(m.want) > 0:
		m.beginRelease(now)
	case !m.releasing():
		m.requestAddresses(nil)
	}
	m.emit(became)
}

// fail enters Fault because this director cannot act as master, and schedules a
// retry.
func (m *machine) fail(now time.Time, reason, detail string) {
	m.failure = detail
	m.holdoff = min(max(2*m.holdoff, holdoffMin), holdoffMax)
	m.becomeFault(now, reason, detail)
	m.retryAt = now.Add(retryAfter)
}

func (m *machine) becomeBackup(now time.Time, reason, detail string, active time.Duration) {
	became := m.become(now, Backup, reason, detail)
	if became.from == Master {
		m.release(now, reason)
	}
	m.conflict, m.conflictUntil = "", time.Time{}
	m.sendFailures, m.sendErr = 0, "" // a backup sends nothing
	m.active = active
	m.setDownTimer(now)
	m.emit(became)
}

func (m *machine) becomeMaster(now time.Time, reason, detail string) {
	unheard := m.unheard && reason == ReasonSilence
	m.tookOverInStandby = m.cfg.Standby
	became := m.become(now, Master, reason, detail)
	if unheard {
		m.releaseUntil = now.Add(lateForwarding)
	}
	m.master, m.masterPriority = m.source, m.priority()
	m.active = m.cfg.AdvertInterval
	// The advert first: it stops the other backups and does not depend on
	// netlink.
	m.advertise(now)
	m.requestAddresses(m.cfg.allAddresses())
	m.announceLeft = announceRepeats
	m.announce(now)
	m.emit(became)
}

func (m *machine) becomeFault(now time.Time, reason, detail string) {
	if m.state == Master {
		m.send(0) // lets a backup take over after its skew, if it can be sent
	}
	became := m.become(now, Fault, reason, detail)
	m.requestAddresses(nil)
	m.emit(became)
}

// become leaves the old state and resets everything that belongs to it. The
// returned action comes last, so that reporting does not delay the others.
func (m *machine) become(now time.Time, to State, reason, detail string) action {
	a := action{kind: didChangeState, from: m.state, to: to, reason: reason, detail: detail}
	m.state, m.since, m.reason, m.detail = to, now, reason, detail
	m.master, m.masterPriority, m.lastAdvertAt = netip.Addr{}, 0, time.Time{}
	m.downFrom, m.downAt, m.resigned, m.adopting, m.outranked = time.Time{}, time.Time{}, false, false, false
	m.preemptAt, m.preempting = time.Time{}, false
	m.advertAt, m.announceAt, m.announceLast, m.announceLeft = time.Time{}, time.Time{}, time.Time{}, 0
	m.retryAt, m.releaseUntil = time.Time{}, time.Time{}
	m.unheard, m.groupWait = false, ""
	m.holders.Forget(now)
	return a
}

// standbyPriority is the priority of a director on standby: the other directors come
// first.
const standbyPriority = 1

// priority returns the effective priority: the configured one adjusted by
// tracking, within 1 to 254. An owner keeps 255. A director on standby has the lowest,
// but for a master that is about to hand over.
func (m *machine) priority() uint8 {
	switch {
	case m.cfg.Standby && (m.state != Master || m.tookOverInStandby):
		return standbyPriority
	case m.cfg.Priority == 255:
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

// sightedDelay is after a sighting: a successor announces right after its advert, which
// may be read later, as it arrives at another socket. An announcement against it would turn
// neighbours back to this director until the successor's next.
const sightedDelay = 100 * time.Millisecond

// sighted handles another host that uses an address of this master. Neighbours may have
// learnt it, so the addresses are announced soon, at the usual rate. A host that only
// replied to this one is no reason to repeat that.
func (m *machine) sighted(now time.Time, h conflict.Holder, solicited bool) {
	ours := slices.ContainsFunc(m.want, func(p netip.Prefix) bool { return p.Addr() == h.Address })
	if m.state != Master || !ours {
		return
	}
	if first := m.holders.Saw(now, h); first || !solicited {
		m.restartAnnouncingFrom(now, now.Add(sightedDelay))
	}
}
