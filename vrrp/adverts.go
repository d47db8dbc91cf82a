// What the machine does with adverts of other directors, and without them: the
// rules of RFC 9568 §6.4.2 and §6.4.3, the master down timer and conflicts.

package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// onAdvert handles a valid advert of another director.
func (m *machine) onAdvert(now time.Time, in input) {
	if in.priority > 0 {
		m.onSuccessor(now)
	}
	if m.state == Init {
		return
	}
	if in.priority > 0 {
		m.compareAddresses(now, in)
	}
	switch m.state {
	case Backup:
		m.advertAsBackup(now, in)
	case Master:
		m.advertAsMaster(now, in)
	case Fault:
		m.lastAdvertAt = now
		m.master, m.masterPriority = in.from, in.priority
	}
}

// advertAsBackup handles an advert in state Backup, RFC 9568 §6.4.2.
func (m *machine) advertAsBackup(now time.Time, in input) {
	if m.unheard && m.cfg.StartupDelay > 0 {
		m.unheard = false
		m.setDownTimer(now) // others were received: no need to wait longer
	}
	m.lastAdvertAt, m.unheard, m.groupWait = now, false, ""
	m.master, m.masterPriority = in.from, in.priority
	if len(m.want) > 0 && !m.releasing() {
		m.requestAddresses(nil) // left by an earlier run; another master is active
	}
	if m.adopting {
		m.adopting = false
		m.recomputeDownTimer()
	}
	switch {
	case in.priority == 0:
		m.resigned, m.outranked = true, false
		m.setDownTimer(now)
	case in.priority >= m.priority() || !m.cfg.Preempt:
		m.preempting = false
		m.acceptMaster(now, in.interval)
	default:
		delay := max(m.cfg.PreemptDelay, m.holdoff)
		if !m.preempting {
			m.preempting, m.preemptAt = true, now.Add(delay)
		}
		if now.Before(m.preemptAt) {
			m.acceptMaster(now, in.interval)
			return
		}
		m.outranked = true // discarded: the down timer keeps running
	}
}

// acceptMaster follows the sender of an advert.
func (m *machine) acceptMaster(now time.Time, interval time.Duration) {
	m.active = interval
	m.resigned, m.outranked = false, false
	m.setDownTimer(now)
}

func (m *machine) setDownTimer(now time.Time) {
	m.downFrom = now
	m.recomputeDownTimer()
}

func (m *machine) recomputeDownTimer() {
	wait := m.skew()
	switch {
	case m.resigned:
	case m.adopting:
		wait += m.active
	case m.unheard && m.cfg.Standby:
		wait += 3 * 3 * m.active // a director that starts at about the same time is to be first
	default:
		wait += 3 * m.active
	}
	if m.unheard && !m.adopting {
		wait = max(wait, m.cfg.StartupDelay)
	}
	m.downAt = m.downFrom.Add(wait)
}

// advertAsMaster handles an advert in state Master, RFC 9568 §6.4.3. Becoming
// backup sends no priority 0: there is another master.
func (m *machine) advertAsMaster(now time.Time, in input) {
	mine := m.priority()
	switch {
	case in.priority == 0:
		m.answer(now)
		m.restartAnnouncing(now) // the other master may have announced the addresses
	case in.priority > mine:
		m.advertise(now) // shows the winner that there were two masters
		m.becomeBackup(now, ReasonHigherPriority,
			fmt.Sprintf("%v has priority %d, this director %d", in.from, in.priority, mine), in.interval)
		m.lastAdvertAt, m.master, m.masterPriority = now, in.from, in.priority
	case in.priority == mine && in.from.Compare(m.source) > 0: // unsigned, RFC 9568 §6.4.3
		m.advertise(now)
		m.becomeBackup(now, ReasonHigherAddress,
			fmt.Sprintf("%v also has priority %d, and the greater address", in.from, mine), in.interval)
		m.lastAdvertAt, m.master, m.masterPriority = now, in.from, in.priority
	case m.sendFailures >= sendFailureLimit:
		m.fail(now, ReasonSendFailed, fmt.Sprintf("%v is master, and adverts to it fail: %s", in.from, m.sendErr))
	case now.Before(m.releaseUntil) && !m.mayPreempt() && now.Sub(m.since) > m.cfg.AdvertInterval:
		// Not within its first interval: of directors that start together and took
		// over at the same moment, all would step back.
		m.send(0)
		m.becomeBackup(now, ReasonNoPreempt,
			fmt.Sprintf("%v is master, and this director, which received no advertisement before, may not preempt it", in.from), in.interval)
		m.advertAsBackup(now, in)
	default:
		m.lastAdvertAt = now
		if !m.preempted(now) {
			m.conflictWith(now, in)
		}
		m.answer(now)
		m.restartAnnouncing(now)
	}
}

// answer sends an advert to a master that loses: at once or, so that a flood of such
// adverts costs little, a sixteenth of the interval after the last answer.
func (m *machine) answer(now time.Time) {
	next := m.answeredAt.Add(m.cfg.AdvertInterval / answersPerInterval)
	switch {
	case !now.Before(next):
		m.advertise(now)
		m.answeredAt = now
	case next.Before(m.advertAt):
		m.advertAt, m.answeredAt = next, next
	}
}

// mayPreempt reports whether a live master of lower priority may be preempted at
// once.
func (m *machine) mayPreempt() bool {
	return m.cfg.Preempt && !m.cfg.Standby && m.cfg.PreemptDelay == 0 && m.holdoff == 0
}

// preempted reports whether this director has just preempted another master, whose
// last advert is therefore no conflict.
func (m *machine) preempted(now time.Time) bool {
	switch m.reason {
	case ReasonPreempt, ReasonOwner, ReasonGroup:
		return now.Sub(m.since) < 3*m.slowestInterval()
	}
	return false
}

func (m *machine) conflictWith(now time.Time, in input) {
	detail := m.conflict
	if detail == "" || m.conflictFrom != in.from {
		detail = fmt.Sprintf("%v is also master, with priority %d", in.from, in.priority)
	}
	m.setConflict(now, in.from, detail)
}

// setConflict records another master, or a peer whose adverts are dropped.
func (m *machine) setConflict(now time.Time, by netip.Addr, detail string) {
	m.conflict, m.conflictFrom = detail, by
	m.conflictUntil = now.Add(3 * m.slowestInterval())
}

// slowestInterval returns the longer of the advert intervals in use.
func (m *machine) slowestInterval() time.Duration { return max(m.active, m.cfg.AdvertInterval) }

// compareAddresses warns when a peer's address list differs. Its adverts are
// accepted anyway (RFC 9568 §7.1).
func (m *machine) compareAddresses(now time.Time, in input) {
	if sameAddresses(m.cfg.Addresses, in.addresses) {
		if m.mismatchFrom == in.from {
			m.mismatch, m.mismatchUntil = "", time.Time{}
		}
		return
	}
	m.mismatched++
	if m.mismatch == "" || m.mismatchFrom != in.from {
		m.mismatch = fmt.Sprintf("%v adverts %v", in.from, in.addresses)
		m.mismatchFrom = in.from
	}
	m.mismatchUntil = now.Add(3 * max(m.slowestInterval(), in.interval))
}

// takeOver is called when the down timer expires.
func (m *machine) takeOver(now time.Time, group []groupMaster) {
	for _, g := range group {
		// The group would follow to the other LAN, lose there and come back, forever.
		if !m.resigned && now.Before(g.until) && (g.wins || !m.outranked) {
			m.groupWait = fmt.Sprintf("not taking over: sync group member %q follows the master %v", g.member, g.master)
			m.downAt = now.Add(m.active)
			return
		}
	}
	switch {
	case m.resigned:
		m.becomeMaster(now, ReasonResigned, fmt.Sprintf("%v resigned", m.master))
	case m.outranked:
		m.becomeMaster(now, ReasonPreempt,
			fmt.Sprintf("%v has priority %d, this director %d", m.master, m.masterPriority, m.priority()))
	default:
		m.becomeMaster(now, ReasonSilence, fmt.Sprintf("no advertisement received for %.3f s", now.Sub(m.downFrom).Seconds()))
	}
}

// followed returns the master that this instance follows, for the other members of
// its sync group. It counts as present for two intervals: when all members lose
// their master, the first down timer finds the last advert of each older than that.
func (m *machine) followed() groupMaster {
	if m.state != Backup || m.lastAdvertAt.IsZero() || m.resigned {
		return groupMaster{}
	}
	wins := m.masterPriority > m.priority() || m.masterPriority == m.priority() && m.master.Compare(m.source) > 0
	if m.outranked && !wins {
		return groupMaster{}
	}
	return groupMaster{member: m.cfg.Name, master: m.master, until: m.lastAdvertAt.Add(2 * m.active), wins: wins}
}
