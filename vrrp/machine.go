// The state machine of RFC 9568 §6 as a pure function: state, input and time give
// the next state and a list of actions.

package vrrp

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/vrrp/conflict"
)

// machine is one VRRP instance on one director. A zero timer is not set.
type machine struct {
	cfg     Config
	source  netip.Addr // source address of the adverts; decides a tie
	ready   bool       // the interface can send and receive
	stopped bool       // the instance has been shut down
	out     []action   // reused by each Step

	state          State
	since          time.Time
	reason, detail string
	master         netip.Addr
	masterPriority uint8

	active       time.Duration // Active_Adver_Interval, §6.1: the master's advert interval
	lastAdvertAt time.Time     // when the last valid advert arrived, in this state

	// Backup.
	downFrom   time.Time // when the down timer was started
	downAt     time.Time
	resigned   bool      // the master sent priority 0: the down timer is the skew only
	adopting   bool      // the addresses were on the interface at start: the down timer is one interval and the skew
	outranked  bool      // the master has a lower priority and preemption is due
	unheard    bool      // no advert received since the interface began to work
	groupWait  string    // why the sync group keeps this instance from taking over; empty: it does not
	preemptAt  time.Time // when preempt_delay ends
	preempting bool      // preemptAt is set; until a master of higher priority is received

	// Master.
	tookOverInStandby bool

	releaseUntil time.Time // until then its LAN may not forward yet: it yields to a master that it may not preempt
	advertAt     time.Time
	answeredAt   time.Time // of the last advert that answered another master's, or of the next
	announceAt   time.Time
	announceLast time.Time
	announceLeft int

	// Fault after a failed action.
	retryAt      time.Time
	failure      string        // the last failure
	flaps        int           // link failures in a row that ended a mastership of less than a minute
	holdoff      time.Duration // how long a live master is not preempted after a failure, from its first advert
	sendFailures int           // consecutive adverts that could not be sent
	sendErr      string        // error of the last one

	// Addresses requested on the interface, and reported to be on it.
	want          []netip.Prefix
	addrSeq       uint64 // number of the last doSetAddresses
	addrAcked     uint64 // number of the last doSetAddresses with a known result
	present       []netip.Prefix
	addrErr       string
	removeRetryAt time.Time // when to retry their removal

	trackedDelta int    // priority adjustment by tracked objects
	trackedFault string // why tracking keeps the instance in Fault; empty: it does not

	// Graceful release.
	releaseAt    time.Time // when to remove the addresses; zero: not releasing
	releaseLimit time.Time // latest time for it
	resignAt     time.Time // when to repeat the resignation
	arpSilenced  bool      // the host no longer answers ARP/ND for the VIPs

	conflict      string // by which other master; empty: none
	conflictFrom  netip.Addr
	conflictUntil time.Time
	mismatch      string // how a peer's address list differs
	mismatchFrom  netip.Addr
	mismatchUntil time.Time
	mismatched    uint64

	holders conflict.Table // other holders of the addresses
}

func newMachine(cfg Config, now time.Time) *machine {
	return &machine{cfg: cfg, state: Init, since: now, active: cfg.AdvertInterval}
}

// Deadline returns when the next inTick is due, or the zero Time for never.
func (m *machine) Deadline() time.Time {
	return earliest(m.downAt, m.advertAt, m.announceAt, m.retryAt, m.removeRetryAt, m.conflictUntil, m.mismatchUntil,
		m.releaseAt, m.resignAt, m.holders.Deadline())
}

// Step processes one input. The actions are valid until the next Step. An inTick
// before the Deadline has no effect: it belongs to a timer that was replaced
// after it fired.
func (m *machine) Step(now time.Time, in input) []action {
	clear(m.out) // drop references to old slices
	m.out = m.out[:0]
	switch in.kind {
	case inTick:
		m.tick(now, in.group)
	case inStart:
		m.start(in.prefixes)
	case inReady:
		m.becomeReady(now, in.from)
	case inUnready:
		m.becomeUnready(now, in.reason, in.detail)
	case inAdvert:
		m.onAdvert(now, in)
	case inDropped:
		if m.conflict != "" && m.conflictFrom == in.from {
			in.detail = m.conflict // one text for each peer, so that not every advert changes the status
		}
		m.setConflict(now, in.from, in.detail)
	case inSent:
		m.onSent(in.detail)
	case inAddresses:
		m.onAddresses(now, in)
	case inMoved:
		if m.state == Master {
			m.restartAnnouncing(now)
		}
	case inSighting:
		m.sighted(now, in.holders[0], in.solicited)
	case inLocalHolders:
		m.holders.SetLocal(now, in.holders)
	case inUpdate:
		m.update(now, in.config)
	case inTrack:
		m.setTracked(now, in.delta, in.detail)
	case inGroup:
		m.followGroup(now, in.to, in.detail)
	case inHandOver:
		m.handOver(now)
	case inStop:
		m.stop(now)
	}
	return m.out
}

// snapshot returns the state as shown by [Engine.Status].
func (m *machine) snapshot() snapshot {
	return snapshot{
		state: m.state, since: m.since, reason: m.reason, detail: m.detail,
		priority: m.priority(), master: m.master, masterPriority: m.masterPriority,
		conflict: m.conflict != "", groupWait: m.groupWait != "", warning: m.warning(),
		present: m.present, holders: m.holders.Holders(),
	}
}

func (m *machine) warning() string {
	var parts []string
	for _, p := range []struct{ what, detail string }{
		{"contested: ", m.conflict},
		{"addresses differ: ", m.mismatch},
		{"address conflict: ", m.holders.String()},
		{"addresses: ", m.addrErr},
		{"the last advert could not be sent: ", m.sendErr},
		{"", m.groupWait},
	} {
		if p.detail != "" {
			parts = append(parts, p.what+p.detail)
		}
	}
	return strings.Join(parts, "; ")
}

// tick handles every timer that has expired.
func (m *machine) tick(now time.Time, group []groupMaster) {
	if due(m.conflictUntil, now) {
		m.conflict, m.conflictUntil = "", time.Time{}
	}
	if due(m.mismatchUntil, now) {
		m.mismatch, m.mismatchUntil = "", time.Time{}
	}
	if due(m.holders.Deadline(), now) {
		m.holders.Tick(now)
	}
	if due(m.downAt, now) {
		m.takeOver(now, group)
	}
	if due(m.advertAt, now) {
		// The next advert is due an interval after this one was due, so that a
		// late timer does not stretch the interval. Adverts missed in a long
		// pause are not sent later.
		next := m.advertAt.Add(m.cfg.AdvertInterval)
		m.advertise(now)
		if next.After(now) {
			m.advertAt = next
		}
	}
	if due(m.announceAt, now) {
		m.announce(now)
	}
	if due(m.retryAt, now) {
		m.startUp(now, ReasonRetry, m.failure)
	}
	if due(m.removeRetryAt, now) {
		if m.removeRetryAt = (time.Time{}); m.arpSilenced {
			m.silenceARP(now)
		} else {
			m.requestAddresses(m.want)
		}
	}
	m.releaseTick(now)
}

// advertise sends an advert and restarts the advert timer.
func (m *machine) advertise(now time.Time) {
	m.send(m.priority())
	m.advertAt = now.Add(m.cfg.AdvertInterval)
}

// announce sends gratuitous ARP/NA and schedules the next one. All but the first after
// a takeover ask for other holders too: by then the former master has silenced ARP.
func (m *machine) announce(now time.Time) {
	m.emit(action{kind: doAnnounce, prefixes: m.want, probe: !m.announceLast.IsZero()})
	m.announceLast = now
	if m.announceLeft > 0 {
		m.announceLeft--
		m.announceAt = now.Add(announceGap)
		return
	}
	switch {
	case m.holders.Contended():
		m.announceAt = now.Add(contendedRefresh)
	case now.Before(m.releaseUntil):
		m.announceAt = now.Add(lateRefresh)
	default:
		m.announceAt = now.Add(announceRefresh)
	}
	if m.sendFailures == 0 && now.Sub(m.since) > announceRefresh {
		m.holdoff, m.flaps = 0, 0 // long enough as master: earlier failures no longer count
	}
}

// restartAnnouncing restarts the series of announcements after another host has
// announced the addresses, at the rate that neighbours accept.
func (m *machine) restartAnnouncing(now time.Time) { m.restartAnnouncingFrom(now, now) }

func (m *machine) restartAnnouncingFrom(now, from time.Time) {
	m.announceLeft = announceRepeats
	if next := m.announceLast.Add(announceGap); next.After(from) {
		from = next
	}
	if from.After(now) {
		m.announceAt = earliest(m.announceAt, from)
		return
	}
	m.announce(now)
}

// onSent records whether the last advert was sent; an empty error means success.
func (m *machine) onSent(err string) {
	m.sendErr = err
	if err == "" {
		m.sendFailures = 0
		return
	}
	m.sendFailures++
}

// onAddresses records what is on the interface and the result of a doSetAddresses.
func (m *machine) onAddresses(now time.Time, in input) {
	m.present = slices.Clone(in.prefixes)
	if in.addrSeq != m.addrSeq {
		return // result of an older request
	}
	m.addrAcked, m.addrErr = in.addrSeq, in.detail
	if m.state != Master && m.cfg.Priority == 255 {
		m.addrErr = "" // the addresses of an owner may belong to the interface and stay
	}
	switch {
	case m.addrErr == "":
		m.removeRetryAt = time.Time{}
		if in.restored && m.state == Master {
			m.restartAnnouncing(now)
		}
	case m.state == Master:
		m.fail(now, ReasonAddressFailed, in.detail)
	default:
		m.removeRetryAt = now.Add(retryAfter)
	}
}

// update replaces the configuration. A changed priority is in the next advert.
func (m *machine) update(now time.Time, cfg Config) {
	old := m.cfg
	m.cfg = cfg
	held := cfg.allAddresses()
	if !slices.Equal(held, old.allAddresses()) {
		m.holdoff = 0 // the change may have fixed the failure
		m.mismatch, m.mismatchUntil = "", time.Time{}
	}
	switch m.state {
	case Master:
		m.masterPriority, m.active = m.priority(), cfg.AdvertInterval
		m.advertAt = earliest(m.advertAt, now.Add(cfg.AdvertInterval))
		m.replaceAddresses(now, held)
		return
	case Backup:
		if m.lastAdvertAt.IsZero() {
			m.active = cfg.AdvertInterval
		}
		m.recomputeDownTimer()
	}
	// Addresses of an earlier run stay while they are configured.
	if keep := intersect(held, m.want); len(keep) != len(m.want) {
		m.want = keep
		if m.arpSilenced {
			m.silenceARP(now)
		} else {
			m.requestAddresses(keep)
		}
	}
}

// replaceAddresses changes the addresses of a master. Unchanged ones are not
// touched.
func (m *machine) replaceAddresses(now time.Time, held []netip.Prefix) {
	added := subtract(held, m.want)
	if len(added) == 0 && len(held) == len(m.want) {
		return
	}
	m.requestAddresses(held)
	if len(added) > 0 {
		m.emit(action{kind: doAnnounce, prefixes: added})
		m.announceLast, m.announceLeft = now, announceRepeats-1
		m.announceAt = now.Add(announceGap)
	}
}

// requestAddresses requests exactly these addresses on the interface.
func (m *machine) requestAddresses(want []netip.Prefix) {
	m.want, m.removeRetryAt = want, time.Time{}
	m.arpSilenced = false
	if len(want) == 0 || m.state == Master {
		m.releaseAt, m.releaseLimit, m.resignAt = time.Time{}, time.Time{}, time.Time{}
	}
	m.addrSeq++
	m.emit(action{kind: doSetAddresses, prefixes: want, addrSeq: m.addrSeq})
}

func (m *machine) send(priority uint8) { m.emit(action{kind: doSend, priority: priority}) }

func (m *machine) emit(a action) { m.out = append(m.out, a) }
