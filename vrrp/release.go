// This file holds how a master leaves: it goes on serving until its successor is
// heard and the neighbours have learnt of it, but answers no question for the
// addresses from then on, because two answers on one LAN undo the announcements.
//
// PURE.
package vrrp

import "time"

// releaseDelay is how long the successor must have been heard. Its second
// announcement is out by then.
const releaseDelay = announceGap + 100*time.Millisecond

// releasing reports whether addresses are kept on the way out.
func (m *machine) releasing() bool { return !m.releaseAt.IsZero() }

// handOver is for a master that is told to: it resigns, and stays as a backup. If
// nobody takes the addresses over, its own down timer makes it master again.
func (m *machine) handOver(now time.Time) {
	if m.state != Master {
		return
	}
	m.send(0)
	m.becomeBackup(now, ReasonHandover, "told to give the addresses to a peer", m.cfg.AdvertInterval)
}

// release is for a master that becomes a backup.
func (m *machine) release(now time.Time, reason string) {
	switch {
	case m.cfg.HandoverLimit == 0 || len(m.want) == 0:
		m.hold(nil)
	case reason == ReasonHandover || reason == ReasonGroup:
		m.beginRelease(now)
		m.releaseAt = m.releaseLimit // until then a successor, or the down timer, decides
	default:
		m.silenceARP(now) // the successor was heard
	}
}

// beginRelease is for a master that has just resigned: the successor comes within
// its skew, which is less than an interval. One that missed the resignation is
// told once more, and no earlier, because it begins its skew anew.
func (m *machine) beginRelease(now time.Time) {
	patience := m.cfg.AdvertInterval + m.cfg.AdvertInterval/16
	m.releaseLimit = now.Add(m.cfg.HandoverLimit)
	m.resignAt = now.Add(patience)
	m.releaseAt = now.Add(min(2*patience, m.cfg.HandoverLimit))
}

// silenceARP is for a master whose successor is heard.
func (m *machine) silenceARP(now time.Time) {
	if m.releaseLimit.IsZero() {
		m.releaseLimit = now.Add(m.cfg.HandoverLimit)
	}
	m.resignAt = time.Time{}
	m.releaseAt = earliest(now.Add(releaseDelay), m.releaseLimit)
	m.hold(m.want)
	m.out[len(m.out)-1].arpSilenced = true
	m.arpSilenced = true
}

// onSuccessor is an advert of the successor while this one yields.
func (m *machine) onSuccessor(now time.Time) {
	if m.releasing() && !m.arpSilenced {
		m.silenceARP(now)
	}
}

// releaseTick serves the timers of leaving.
func (m *machine) releaseTick(now time.Time) {
	if due(m.resignAt, now) {
		m.resignAt = time.Time{}
		m.send(0)
	}
	if due(m.releaseAt, now) {
		m.hold(nil)
	}
}
