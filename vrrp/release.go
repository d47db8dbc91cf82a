// Graceful release: a master that steps down keeps serving until its successor
// has advertised and announced the addresses, but stops answering ARP/ND for
// them: two answers on one LAN would undo the announcements.

package vrrp

import "time"

// releaseDelay is how long the addresses stay after the successor's first advert.
// By then its second announcement has been sent.
const releaseDelay = announceGap + 100*time.Millisecond

// releasing reports whether addresses are kept during a graceful release.
func (m *machine) releasing() bool { return !m.releaseAt.IsZero() }

// handOver resigns a master and keeps it as backup. If no other director takes
// over, its down timer makes it master again.
func (m *machine) handOver(now time.Time) {
	if m.state != Master {
		return
	}
	m.send(0)
	m.becomeBackup(now, ReasonHandover, "handover requested by operator", m.cfg.AdvertInterval)
}

// release is called when a master becomes backup.
func (m *machine) release(now time.Time, reason string) {
	switch {
	case m.cfg.HandoverLimit == 0 || len(m.want) == 0:
		m.requestAddresses(nil)
	case reason == ReasonHandover || reason == ReasonGroup:
		m.beginRelease(now)
		m.releaseAt = m.releaseLimit // ended earlier by a successor or by the down timer
	default:
		m.silenceARP(now) // the successor has advertised
	}
}

// beginRelease is called after priority 0 was sent. The successor takes over
// within its skew, which is less than an interval. The resignation is repeated
// once, in case it was lost, and no earlier, because each one restarts the skew.
func (m *machine) beginRelease(now time.Time) {
	patience := m.cfg.AdvertInterval + m.cfg.AdvertInterval/16
	m.releaseLimit = now.Add(m.cfg.HandoverLimit)
	m.resignAt = now.Add(patience)
	m.releaseAt = now.Add(min(2*patience, m.cfg.HandoverLimit))
}

// silenceARP is called when the successor has advertised.
func (m *machine) silenceARP(now time.Time) {
	if m.releaseLimit.IsZero() {
		m.releaseLimit = now.Add(m.cfg.HandoverLimit)
	}
	m.resignAt = time.Time{}
	m.releaseAt = earliest(now.Add(releaseDelay), m.releaseLimit)
	m.requestAddresses(m.want)
	m.out[len(m.out)-1].arpSilenced = true
	m.arpSilenced = true
}

// onSuccessor handles an advert of the successor during a release.
func (m *machine) onSuccessor(now time.Time) {
	if m.releasing() && !m.arpSilenced {
		m.silenceARP(now)
	}
}

// releaseTick handles the timers of a release.
func (m *machine) releaseTick(now time.Time) {
	if due(m.resignAt, now) {
		m.resignAt = time.Time{}
		m.send(0)
	}
	if due(m.releaseAt, now) {
		m.requestAddresses(nil)
	}
}
