// The state machine of RFC 9568 §6 as a pure function: state, input and time give
// the next state and a list of actions.

package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
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

	active    time.Duration // Active_Adver_Interval, §6.1: the master's advert interval
	lastHeard time.Time     // when the last valid advert arrived, in this state

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
	yieldUntil   time.Time // until then it yields to a master that it may not preempt
	advertAt     time.Time
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
	holdSeq       uint64 // number of the last doHold
	holdAcked     uint64 // number of the last doHold with a known result
	present       []netip.Prefix
	holdErr       string
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
}

func newMachine(cfg Config, now time.Time) *machine {
	return &machine{cfg: cfg, state: Init, since: now, active: cfg.AdvertInterval}
}

// Deadline returns when the next inTick is due, or the zero Time for never.
func (m *machine) Deadline() time.Time {
	return earliest(m.downAt, m.advertAt, m.announceAt, m.retryAt, m.removeRetryAt, m.conflictUntil, m.mismatchUntil,
		m.releaseAt, m.resignAt)
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
		m.onHoldResult(now, in)
	case inMoved:
		if m.state == Master {
			m.announceSoon(now)
		}
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
		conflict: m.conflict != "", warning: m.warning(),
		present: m.present,
	}
}

func (m *machine) warning() string {
	var parts []string
	for _, p := range []struct{ what, detail string }{
		{"contested: ", m.conflict},
		{"addresses differ: ", m.mismatch},
		{"addresses: ", m.holdErr},
		{"the last advert could not be sent: ", m.sendErr},
		{"", m.groupWait},
	} {
		if p.detail != "" {
			parts = append(parts, p.what+p.detail)
		}
	}
	return strings.Join(parts, "; ")
}

// start records addresses that an earlier run left on the interface. They stay
// until another master is received or this director becomes master, so that
// clients are served during the election.
func (m *machine) start(leftover []netip.Prefix) {
	m.present = slices.Clone(leftover)
	if len(leftover) > 0 {
		m.requestAddresses(intersect(m.cfg.allAddresses(), leftover))
	}
}

// tick handles every timer that has expired.
func (m *machine) tick(now time.Time, group []groupMaster) {
	if due(m.conflictUntil, now) {
		m.conflict, m.conflictUntil = "", time.Time{}
	}
	if due(m.mismatchUntil, now) {
		m.mismatch, m.mismatchUntil = "", time.Time{}
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
			detail = fmt.Sprintf("the link fails again and again: a live master is not preempted for %v", m.holdoff)
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
	if m.cfg.Priority == 255 && m.holdoff == 0 && !m.cfg.Standby {
		m.becomeMaster(now, ReasonOwner, "owner of the addresses")
		return
	}
	m.becomeBackup(now, reason, detail, m.cfg.AdvertInterval)
	m.unheard = true
	if reason == ReasonStart && len(m.want) > 0 && !m.cfg.Standby {
		// The addresses of an earlier run are still served. Another master would
		// advertise within one interval; waiting for three would let the other
		// backups time out first and move the addresses twice. The RFC has no
		// restart.
		m.adopting = true
		m.recomputeDownTimer()
	}
}

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
		m.lastHeard = now
		m.master, m.masterPriority = in.from, in.priority
	}
}

// advertAsBackup handles an advert in state Backup, RFC 9568 §6.4.2.
func (m *machine) advertAsBackup(now time.Time, in input) {
	m.lastHeard, m.unheard, m.groupWait = now, false, ""
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
	case in.priority >= m.priority() || !m.cfg.Preempt || m.cfg.Standby:
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
	default:
		wait += 3 * m.active
	}
	m.downAt = m.downFrom.Add(wait)
}

// advertAsMaster handles an advert in state Master, RFC 9568 §6.4.3. Becoming
// backup sends no priority 0: there is another master.
func (m *machine) advertAsMaster(now time.Time, in input) {
	mine := m.priority()
	switch {
	case in.priority == 0:
		m.advertise(now)
		m.announceSoon(now) // the other master may have announced the addresses
	case in.priority > mine:
		m.advertise(now) // shows the winner that there were two masters
		m.becomeBackup(now, ReasonHigherPriority,
			fmt.Sprintf("%v has priority %d, this director %d", in.from, in.priority, mine), in.interval)
		m.lastHeard, m.master, m.masterPriority = now, in.from, in.priority
	case in.priority == mine && in.from.Compare(m.source) > 0: // unsigned, RFC 9568 §6.4.3
		m.advertise(now)
		m.becomeBackup(now, ReasonHigherAddress,
			fmt.Sprintf("%v has priority %d too, and the greater address", in.from, mine), in.interval)
		m.lastHeard, m.master, m.masterPriority = now, in.from, in.priority
	case m.sendFailures >= sendFailureLimit:
		m.fail(now, ReasonSendFailed, fmt.Sprintf("%v is master, and adverts to it fail: %s", in.from, m.sendErr))
	case now.Before(m.yieldUntil) && !m.mayPreempt() && now.Sub(m.since) > m.cfg.AdvertInterval:
		// Not within its first interval: of directors that start together and took
		// over at the same moment, all would step back.
		m.send(0)
		m.becomeBackup(now, ReasonNoPreempt,
			fmt.Sprintf("%v is master, and this director, which received no advertisement before, may not preempt it", in.from), in.interval)
		m.advertAsBackup(now, in)
	default:
		m.lastHeard = now
		if !m.preempted(now) {
			m.conflictWith(now, in)
		}
		m.advertise(now)
		m.announceSoon(now)
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
		detail = fmt.Sprintf("%v is master too, with priority %d", in.from, in.priority)
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
		// The group would follow to the other LAN, lose there and come back, for ever.
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
		m.becomeMaster(now, ReasonSilence, fmt.Sprintf("%.3f s of silence", now.Sub(m.downFrom).Seconds()))
	}
}

// followed returns the master that this instance follows, for the other members of
// its sync group. It counts as present for two intervals: when all members lose
// their master, the first down timer finds the last advert of each older than that.
func (m *machine) followed() groupMaster {
	if m.state != Backup || m.lastHeard.IsZero() || m.resigned {
		return groupMaster{}
	}
	wins := m.masterPriority > m.priority() || m.masterPriority == m.priority() && m.master.Compare(m.source) > 0
	if m.outranked && !wins {
		return groupMaster{}
	}
	return groupMaster{member: m.cfg.Name, master: m.master, until: m.lastHeard.Add(2 * m.active), wins: wins}
}

// advertise sends an advert and restarts the advert timer.
func (m *machine) advertise(now time.Time) {
	m.send(m.priority())
	m.advertAt = now.Add(m.cfg.AdvertInterval)
}

// announce sends gratuitous ARP/NA and schedules the next one.
func (m *machine) announce(now time.Time) {
	m.emit(action{kind: doAnnounce, prefixes: m.want})
	m.announceLast = now
	if m.announceLeft > 0 {
		m.announceLeft--
		m.announceAt = now.Add(announceGap)
		return
	}
	m.announceAt = now.Add(announceRefresh)
	if m.sendFailures == 0 && now.Sub(m.since) > announceRefresh {
		m.holdoff, m.flaps = 0, 0 // long enough as master: earlier failures no longer count
	}
}

// announceSoon restarts the series of announcements after another host has
// announced the addresses, at the rate that neighbours accept.
func (m *machine) announceSoon(now time.Time) {
	m.announceLeft = announceRepeats
	if next := m.announceLast.Add(announceGap); next.After(now) {
		m.announceAt = next
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

// onHoldResult records what is on the interface and the result of a doHold.
func (m *machine) onHoldResult(now time.Time, in input) {
	m.present = slices.Clone(in.prefixes)
	if in.holdSeq != m.holdSeq {
		return // result of an older request
	}
	m.holdAcked, m.holdErr = in.holdSeq, in.detail
	if m.state != Master && m.cfg.Priority == 255 {
		m.holdErr = "" // the addresses of an owner may belong to the interface and stay
	}
	switch {
	case m.holdErr == "":
		m.removeRetryAt = time.Time{}
		if in.restored && m.state == Master {
			m.announceSoon(now)
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
		if m.lastHeard.IsZero() {
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
	became := m.become(now, Master, reason, detail)
	if unheard {
		m.yieldUntil = now.Add(lateForwarding)
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
	m.master, m.masterPriority, m.lastHeard = netip.Addr{}, 0, time.Time{}
	m.downFrom, m.downAt, m.resigned, m.adopting, m.outranked = time.Time{}, time.Time{}, false, false, false
	m.preemptAt, m.preempting = time.Time{}, false
	m.advertAt, m.announceAt, m.announceLast, m.announceLeft = time.Time{}, time.Time{}, time.Time{}, 0
	m.retryAt, m.yieldUntil = time.Time{}, time.Time{}
	m.unheard, m.groupWait = false, ""
	return a
}

// requestAddresses requests exactly these addresses on the interface.
func (m *machine) requestAddresses(want []netip.Prefix) {
	m.want, m.removeRetryAt = want, time.Time{}
	m.arpSilenced = false
	if len(want) == 0 || m.state == Master {
		m.releaseAt, m.releaseLimit, m.resignAt = time.Time{}, time.Time{}, time.Time{}
	}
	m.holdSeq++
	m.emit(action{kind: doHold, prefixes: want, holdSeq: m.holdSeq})
}

func (m *machine) send(priority uint8) { m.emit(action{kind: doSend, priority: priority}) }

func (m *machine) emit(a action) { m.out = append(m.out, a) }
