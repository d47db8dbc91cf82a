// This file is the election of RFC 9568 §6 as a function: of a state, an input
// and the present time it makes the next state and a list of actions. It never
// sends, waits, or asks what time it is.
//
// PURE.
package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// machine is one election on one director. The zero timers are those not set.
type machine struct {
	cfg     Config
	source  netip.Addr // what adverts are sent from; decides a tie
	ready   bool       // the interface works
	stopped bool       // it left for good
	out     []action   // reused by each Step

	state          State
	since          time.Time
	reason, detail string
	master         netip.Addr
	masterPriority uint8

	active    time.Duration // the master's advert interval, §6.1 Active_Adver_Interval
	lastHeard time.Time     // the last valid advert, in this state

	// Backup.
	downFrom   time.Time // when the down timer was set
	downAt     time.Time
	resigned   bool      // it was set by a priority 0, so it is the skew
	adopting   bool      // a killed run's mastership goes on where nobody took over: one advert and the skew
	outranked  bool      // the master heard since then has a lower priority
	preemptAt  time.Time // when preempt_delay is over
	preempting bool      // preemptAt was armed; stays so until a better master is heard

	// Master.
	advertAt     time.Time
	announceAt   time.Time
	announceLast time.Time
	announceLeft int

	// Fault by a failed action, and what lingers of one.
	retryAt      time.Time
	failure      string        // what failed last
	holdoff      time.Duration // how long, from its first advert on, a live master is left alone for it
	sendFailures int           // adverts in a row that did not leave
	sendErr      string        // why

	// The addresses: wanted on the interface, and known to be on it.
	want          []netip.Prefix
	holdSeq       uint64 // number of the last doHold
	holdAcked     uint64 // and of the last one whose result is known
	present       []netip.Prefix
	holdErr       string
	removeRetryAt time.Time // when to try again to remove them

	trackedDelta int    // what tracked things add to the priority
	trackedFault string // what of them keeps this director out; empty: nothing

	// Leaving.
	releaseAt    time.Time // when to give the addresses up; zero: not leaving
	releaseLimit time.Time // the latest for it
	resignAt     time.Time // when to resign once more
	arpSilenced  bool      // nobody is answered for the addresses

	conflict      string // by whom; empty: by nobody
	conflictFrom  netip.Addr
	conflictUntil time.Time
	mismatch      string // a peer's addresses differ
	mismatchFrom  netip.Addr
	mismatchUntil time.Time
	mismatched    uint64
}

func newMachine(cfg Config, now time.Time) *machine {
	return &machine{cfg: cfg, state: Init, since: now, active: cfg.AdvertInterval}
}

// Deadline is when the next inTick is due; the zero Time: never.
func (m *machine) Deadline() time.Time {
	return earliest(m.downAt, m.advertAt, m.announceAt, m.retryAt, m.removeRetryAt, m.conflictUntil, m.mismatchUntil,
		m.releaseAt, m.resignAt)
}

// Step takes one input. The actions are valid until the next Step. An inTick
// before the Deadline does nothing: a timer that was replaced after it fired.
func (m *machine) Step(now time.Time, in input) []action {
	clear(m.out) // drop references to old slices
	m.out = m.out[:0]
	switch in.kind {
	case inTick:
		m.tick(now)
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
			in.detail = m.conflict // one text a peer, or each advert would be news
		}
		m.setConflict(now, in.from, in.detail)
	case inSent:
		m.onSent(in.detail)
	case inAddresses:
		m.onHoldResult(now, in)
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

// snapshot is how the election stands.
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
	} {
		if p.detail != "" {
			parts = append(parts, p.what+p.detail)
		}
	}
	return strings.Join(parts, "; ")
}

// start remembers what a killed run left on the interface. It is kept, and
// served, until a master is heard or this director becomes one; so that nobody
// who was served by it is left alone while the election runs.
func (m *machine) start(leftover []netip.Prefix) {
	m.present = slices.Clone(leftover)
	if len(leftover) > 0 {
		m.hold(intersect(m.cfg.allAddresses(), leftover))
	}
}

// tick serves every timer that has come.
func (m *machine) tick(now time.Time) {
	if due(m.conflictUntil, now) {
		m.conflict, m.conflictUntil = "", time.Time{}
	}
	if due(m.mismatchUntil, now) {
		m.mismatch, m.mismatchUntil = "", time.Time{}
	}
	if due(m.downAt, now) {
		m.takeOver(now)
	}
	if due(m.advertAt, now) {
		// The next is counted from when this was due, so that a late timer does
		// not stretch the interval; after a long stop it is not made up for.
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
			m.hold(m.want)
		}
	}
	m.releaseTick(now)
}

// becomeReady: the interface works, and adverts leave from source.
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
		m.holdoff = 0 // the interface is not what it was: judge it anew
		m.startUp(now, ReasonLinkUp, "")
	}
}

// becomeUnready: the interface cannot carry the election.
func (m *machine) becomeUnready(now time.Time, reason, detail string) {
	m.ready = false
	if m.stopped {
		return
	}
	if m.state != Fault {
		m.becomeFault(now, reason, detail)
		return
	}
	m.reason, m.detail, m.retryAt = reason, detail, time.Time{}
}

// startUp is the event of RFC 9568 §6.4.1.
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
	if reason == ReasonStart && len(m.want) > 0 && !m.cfg.Standby {
		// What a killed run left is served. Had another taken over, its advert would
		// come within one interval; to wait for three would let the others' time run
		// out, and the addresses go there and back. RFC 9568 knows no restart.
		m.adopting = true
		m.recomputeDownTimer()
	}
}

// onAdvert is a valid advert of another director.
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

// advertAsBackup is RFC 9568 §6.4.2.
func (m *machine) advertAsBackup(now time.Time, in input) {
	m.lastHeard = now
	m.master, m.masterPriority = in.from, in.priority
	if len(m.want) > 0 && !m.releasing() {
		m.hold(nil) // left over, and now there is a master
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
		m.outranked = true // discarded: the down timer runs on
	}
}

// acceptMaster takes an advert as the master's.
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

// advertAsMaster is RFC 9568 §6.4.3. A master that steps back sends no priority
// 0: the other one is master already.
func (m *machine) advertAsMaster(now time.Time, in input) {
	mine := m.priority()
	switch {
	case in.priority == 0:
		m.advertise(now)
	case in.priority > mine:
		m.becomeBackup(now, ReasonHigherPriority,
			fmt.Sprintf("%v has priority %d, this director %d", in.from, in.priority, mine), in.interval)
		m.lastHeard, m.master, m.masterPriority = now, in.from, in.priority
	case in.priority == mine && in.from.Compare(m.source) > 0: // unsigned, as RFC 9568 §6.4.3 wants it
		m.becomeBackup(now, ReasonHigherAddress,
			fmt.Sprintf("%v has priority %d too, and the greater address", in.from, mine), in.interval)
		m.lastHeard, m.master, m.masterPriority = now, in.from, in.priority
	case m.sendFailures >= sendFailureLimit:
		m.fail(now, ReasonSendFailed, fmt.Sprintf("%v is master, and adverts to it fail: %s", in.from, m.sendErr))
	default:
		m.lastHeard = now
		m.conflictWith(now, in)
		m.advertise(now)
		m.announceSoon(now)
	}
}

func (m *machine) conflictWith(now time.Time, in input) {
	detail := m.conflict
	if detail == "" || m.conflictFrom != in.from {
		detail = fmt.Sprintf("%v is master too, with priority %d", in.from, in.priority)
	}
	m.setConflict(now, in.from, detail)
}

// setConflict notes that somebody else claims the addresses, or may.
func (m *machine) setConflict(now time.Time, by netip.Addr, detail string) {
	m.conflict, m.conflictFrom = detail, by
	m.conflictUntil = now.Add(3 * m.slowestInterval())
}

// slowestInterval is the slower of the advert intervals in use.
func (m *machine) slowestInterval() time.Duration { return max(m.active, m.cfg.AdvertInterval) }

// compareAddresses raises an alarm when a peer's list differs; its advert is
// taken all the same (RFC 9568 §7.1).
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

// takeOver: the down timer ran out.
func (m *machine) takeOver(now time.Time) {
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

// advertise sends an advert and waits an interval for the next.
func (m *machine) advertise(now time.Time) {
	m.send(m.priority())
	m.advertAt = now.Add(m.cfg.AdvertInterval)
}

// announce makes the neighbours learn where the addresses are, and plans the next time.
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
		m.holdoff = 0 // it has been a good master
	}
}

// announceSoon starts the announcements over: somebody taught the neighbours
// otherwise. Not more often than neighbours listen.
func (m *machine) announceSoon(now time.Time) {
	m.announceLeft = announceRepeats
	if next := m.announceLast.Add(announceGap); next.After(now) {
		m.announceAt = next
		return
	}
	m.announce(now)
}

// onSent is how the last advert left; an empty error: well.
func (m *machine) onSent(err string) {
	m.sendErr = err
	if err == "" {
		m.sendFailures = 0
		return
	}
	m.sendFailures++
}

// onHoldResult is what is on the interface, and how a doHold went.
func (m *machine) onHoldResult(now time.Time, in input) {
	m.present = slices.Clone(in.prefixes)
	if in.holdSeq != m.holdSeq {
		return // the answer to an older wish
	}
	m.holdAcked, m.holdErr = in.holdSeq, in.detail
	if m.state != Master && m.cfg.Priority == 255 {
		m.holdErr = "" // an owner's addresses may be the interface's own, and stay
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
		m.holdoff = 0 // what failed may be gone from the file
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
	// Left over from an earlier run: kept as long as it is configured.
	if keep := intersect(held, m.want); len(keep) != len(m.want) {
		m.want = keep
		if m.arpSilenced {
			m.silenceARP(now)
		} else {
			m.hold(keep)
		}
	}
}

// replaceAddresses changes the addresses of a master. Those that stay are not touched.
func (m *machine) replaceAddresses(now time.Time, held []netip.Prefix) {
	added := subtract(held, m.want)
	if len(added) == 0 && len(held) == len(m.want) {
		return
	}
	m.hold(held)
	if len(added) > 0 {
		m.emit(action{kind: doAnnounce, prefixes: added})
		m.announceLast, m.announceLeft = now, announceRepeats-1
		m.announceAt = now.Add(announceGap)
	}
}

// stop is the shutdown of RFC 9568 §6.4.
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
		m.hold(nil)
	}
	m.emit(became)
}

// fail: an action of this director failed such that it must not be master.
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
	m.sendFailures, m.sendErr = 0, "" // a backup sends nothing that could fail
	m.active = active
	m.setDownTimer(now)
	m.emit(became)
}

func (m *machine) becomeMaster(now time.Time, reason, detail string) {
	became := m.become(now, Master, reason, detail)
	m.master, m.masterPriority = m.source, m.priority()
	m.active = m.cfg.AdvertInterval
	// The advert first: it stops the others, and needs no answer of the kernel's.
	m.advertise(now)
	m.hold(m.cfg.allAddresses())
	m.announceLeft = announceRepeats
	m.announce(now)
	m.emit(became)
}

func (m *machine) becomeFault(now time.Time, reason, detail string) {
	if m.state == Master {
		m.send(0) // others need not wait for the silence, if it leaves at all
	}
	became := m.become(now, Fault, reason, detail)
	m.hold(nil)
	m.emit(became)
}

// become leaves the old state with all that belongs to it. What it returns is to
// be done last, so that telling people delays nothing.
func (m *machine) become(now time.Time, to State, reason, detail string) action {
	a := action{kind: didChangeState, from: m.state, to: to, reason: reason, detail: detail}
	m.state, m.since, m.reason, m.detail = to, now, reason, detail
	m.master, m.masterPriority, m.lastHeard = netip.Addr{}, 0, time.Time{}
	m.downFrom, m.downAt, m.resigned, m.adopting, m.outranked = time.Time{}, time.Time{}, false, false, false
	m.preemptAt, m.preempting = time.Time{}, false
	m.advertAt, m.announceAt, m.announceLast, m.announceLeft = time.Time{}, time.Time{}, time.Time{}, 0
	m.retryAt = time.Time{}
	return a
}

// hold states the addresses that shall be on the interface.
func (m *machine) hold(want []netip.Prefix) {
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
