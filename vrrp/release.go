// This file holds how a master leaves: it goes on serving until its successor is
// heard and the neighbours have learnt of it, but answers no question for the
// addresses from then on, because two answers on one LAN undo the announcements.
//
// PURE.
package vrrp

import "time"

// yieldAfter is how long the successor must have been heard. Its second
// announcement is out by then.
const yieldAfter = announceGap + 100*time.Millisecond

// yielding reports whether addresses are kept on the way out.
func (m *machine) yielding() bool { return !m.yieldAt.IsZero() }

// handOver is for a master that is told to: it resigns, and stays as a backup. If
// nobody takes the addresses over, its own down timer makes it master again.
func (m *machine) handOver(now time.Time) {
	if m.state != Master {
		return
	}
	m.send(0)
	m.becomeBackup(now, ReasonHandover, "told to give the addresses to a peer", m.cfg.AdvertInterval)
}

// leave is for a master that becomes a backup.
func (m *machine) leave(now time.Time, reason string) {
	switch {
	case m.cfg.HandoverLimit == 0 || len(m.want) == 0:
		m.hold(nil)
	case reason == ReasonHandover || reason == ReasonGroup:
		m.beginYield(now)
		m.yieldAt = m.yieldLimit // until then a successor, or the down timer, decides
	default:
		m.beginQuiet(now) // the successor was heard
	}
}

// beginYield is for a master that has just resigned: the successor comes within
// its skew, which is less than an interval. One that missed the resignation is
// told once more, and no earlier, because it begins its skew anew.
func (m *machine) beginYield(now time.Time) {
	patience := m.cfg.AdvertInterval + m.cfg.AdvertInterval/16
	m.yieldLimit = now.Add(m.cfg.HandoverLimit)
	m.resignAt = now.Add(patience)
	m.yieldAt = now.Add(min(2*patience, m.cfg.HandoverLimit))
}

// beginQuiet is for a master whose successor is heard.
func (m *machine) beginQuiet(now time.Time) {
	if m.yieldLimit.IsZero() {
		m.yieldLimit = now.Add(m.cfg.HandoverLimit)
	}
	m.resignAt = time.Time{}
	m.yieldAt = earliest(now.Add(yieldAfter), m.yieldLimit)
	m.hold(m.want)
	m.out[len(m.out)-1].quiet = true
	m.quiet = true
}

// succeeded is an advert of the successor while this one yields.
func (m *machine) succeeded(now time.Time) {
	if m.yielding() && !m.quiet {
		m.beginQuiet(now)
	}
}

// yieldTick serves the timers of leaving.
func (m *machine) yieldTick(now time.Time) {
	if due(m.resignAt, now) {
		m.resignAt = time.Time{}
		m.send(0)
	}
	if due(m.yieldAt, now) {
		m.hold(nil)
	}
}
