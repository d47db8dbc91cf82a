// Inputs and actions of the machine, its snapshot, and the formulas of its
// timers.

package vrrp

import (
	"net/netip"
	"slices"
	"time"

	"lvsd/vrrp/conflict"
)

// skew returns Skew_Time, RFC 9568 §6.1. It multiplies before it divides: at
// short intervals the result is less than a millisecond.
func skew(priority uint8, active time.Duration) time.Duration {
	return (256 - time.Duration(priority)) * active / 256
}

// skew returns Skew_Time for the configured version. In version 2 it does not
// depend on the interval, RFC 3768 §6.1.
func (m *machine) skew() time.Duration {
	if m.cfg.version() == 2 {
		return skew(m.priority(), time.Second)
	}
	return skew(m.priority(), m.active)
}

const (
	// announceGap separates repeated announcements: other stacks, and Linux
	// before 4.13, ignore a second change of a neighbour within one second.
	announceGap = 1100 * time.Millisecond
	// announceRepeats announcements follow the first one at announceGap.
	announceRepeats = 4
	// announceRefresh repeats announcements forever: a switch forgets a MAC address that
	// only receives, and then floods every packet to it.
	announceRefresh = time.Minute
	// contendedRefresh is the same while another host uses an address.
	contendedRefresh = 5 * time.Second
	// lateRefresh is the same while the LAN may not forward yet, see lateForwarding: the
	// first announcements were lost then.
	lateRefresh = 10 * time.Second

	// answersPerInterval is how many other masters' adverts a master answers in its
	// interval at most.
	answersPerInterval = 16

	// retryAfter is the time in Fault after a failed action, and between attempts
	// to remove an address.
	retryAfter = time.Second
	// A director that failed as master does not preempt a live master for
	// holdoffMin, doubled with each failure up to holdoffMax: a working peer
	// matters more than priority.
	holdoffMin = 10 * time.Second
	holdoffMax = 5 * time.Minute

	// flapsAllowed is how many times in a row the link may fail within a minute
	// before a live master is not preempted for holdoffMin, doubled with each more.
	flapsAllowed = 2

	// lateForwarding is how long after it started without receiving adverts a master
	// yields to another one that it may not preempt: the port of a switch may begin
	// to forward only after the spanning tree's 50 s.
	lateForwarding = 2 * time.Minute

	// A master that receives another one steps down after sendFailureLimit unsent
	// adverts in a row: by then the other directors have timed it out.
	sendFailureLimit = 3
)

// input is one event.
type input struct {
	kind inputKind

	from      netip.Addr    // inAdvert, inDropped: the sender; inReady: the source address of our adverts
	priority  uint8         // inAdvert
	interval  time.Duration // inAdvert
	addresses []netip.Addr  // inAdvert: valid during the step only

	drop   DropReason // inDropped
	reason string     // inUnready: one of the Reason constants
	detail string     // inUnready, inDropped: text; inSent, inAddresses: the error or ""

	prefixes []netip.Prefix // inStart, inAddresses: our addresses on the interface
	addrSeq  uint64         // inAddresses: number of the doSetAddresses it is the result of
	restored bool           // inAddresses: a removed address was restored

	holders   []conflict.Holder // inSighting: one; inLocalHolders: all
	solicited bool              // inSighting: the holder replied to this host only

	config Config // inUpdate

	delta int   // inTrack; detail is the fault or empty
	to    State // inGroup: Master or Backup

	group []groupMaster // inTick: whom the other members of the sync group follow
}

type inputKind uint8

const (
	inTick         inputKind = iota // a timer expired, at or after the Deadline
	inStart                         // start; prefixes: left by an earlier run
	inReady                         // the interface works
	inUnready                       // the interface does not work
	inAdvert                        // a valid advert of another director
	inDropped                       // an advert for this VRID was dropped
	inSent                          // result of the last doSend; optional while sending succeeds
	inAddresses                     // result of the last doSetAddresses, or a change on the interface
	inMoved                         // the hardware address of the interface changed
	inSighting                      // another host uses an address
	inLocalHolders                  // who else has our addresses on this host
	inUpdate                        // new configuration
	inTrack                         // new sum of the tracked objects
	inGroup                         // another member of the sync group changed state
	inHandOver                      // resign and stay in the election as backup
	inStop                          // shut down
)

// groupMaster is a master that another member of the sync group follows.
type groupMaster struct {
	member string
	master netip.Addr
	until  time.Time // when the member no longer counts it as present
	wins   bool      // this director would lose against it
}

// action is one thing to do. Actions are done in order; the results of doSend and
// doSetAddresses come back as inputs.
type action struct {
	kind        actionKind
	priority    uint8          // doSend
	prefixes    []netip.Prefix // doSetAddresses, doAnnounce; read-only
	addrSeq     uint64         // doSetAddresses
	arpSilenced bool           // doSetAddresses: serve the addresses without answering ARP/ND for them
	probe       bool           // doAnnounce: ask for other holders too

	from, to       State // didChangeState
	reason, detail string
}

type actionKind uint8

const (
	doSend         actionKind = iota // send an advert of this priority
	doSetAddresses                   // have exactly these of our addresses on the interface
	doAnnounce                       // send gratuitous ARP/NA for these once they are on the interface
	didChangeState                   // report only
)

// snapshot is what the machine shows to others. Comparable fields come first.
type snapshot struct {
	state          State
	since          time.Time
	reason, detail string
	priority       uint8
	master         netip.Addr
	masterPriority uint8
	conflict       bool
	groupWait      bool
	warning        string
	present        []netip.Prefix
	holders        []conflict.Holder
}

// equal reports whether a and b are the same.
func (a *snapshot) equal(b *snapshot) bool {
	return a.state == b.state && a.since.Equal(b.since) && a.reason == b.reason && a.detail == b.detail &&
		a.priority == b.priority && a.master == b.master && a.masterPriority == b.masterPriority &&
		a.conflict == b.conflict && a.warning == b.warning &&
		slices.Equal(a.present, b.present) && slices.Equal(a.holders, b.holders)
}

// earliest returns the first of the times that are set, or the zero Time.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// due reports whether a timer is set and has expired.
func due(timer, now time.Time) bool { return !timer.IsZero() && !now.Before(timer) }

// intersect returns the prefixes of all that are also in some, in the order of
// all.
func intersect(all, some []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range all {
		if slices.Contains(some, p) {
			out = append(out, p)
		}
	}
	return out
}

// subtract returns the prefixes of all that are not in some.
func subtract(all, some []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range all {
		if !slices.Contains(some, p) {
			out = append(out, p)
		}
	}
	return out
}

// sameAddresses reports whether an advert lists exactly the configured addresses,
// in any order.
func sameAddresses(ours []netip.Prefix, theirs []netip.Addr) bool {
	if len(ours) != len(theirs) {
		return false
	}
	if slices.EqualFunc(ours, theirs, func(p netip.Prefix, a netip.Addr) bool { return p.Addr() == a }) {
		return true // the usual case; the loop below is quadratic
	}
	for _, p := range ours {
		if !slices.Contains(theirs, p.Addr()) {
			return false
		}
	}
	return true
}
