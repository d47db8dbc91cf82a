// This file holds the vocabulary of the machine: what can happen to it, what it
// asks for, what it shows, and the formulas of its timers. It never does any of
// it and holds no state.
//
// PURE.
package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// skew orders the takeovers of several backups, RFC 9568 §6.1. It is multiplied
// before it is divided: at short intervals it is less than a millisecond.
func skew(priority uint8, active time.Duration) time.Duration {
	return (256 - time.Duration(priority)) * active / 256
}

// downInterval is how long a backup bears silence, RFC 9568 §6.1.
func downInterval(priority uint8, active time.Duration) time.Duration {
	return 3*active + skew(priority, active)
}

// skew is that of the election's version: in version 2 it does not depend on the
// interval, RFC 3768 §6.1.
func (m *machine) skew() time.Duration {
	if m.cfg.version() == 2 {
		return skew(m.priority(), time.Second)
	}
	return skew(m.priority(), m.active)
}

const (
	// Other stacks, and Linux before 4.13, ignore a second change of a neighbour
	// within a second, so repeats keep further apart than that.
	announceGap = 1100 * time.Millisecond
	// announceRepeats follow the first announcement at announceGap.
	announceRepeats = 4
	// announceRefresh is for ever: a switch may forget a station that is only
	// ever sent to, and floods every packet to it from then on.
	announceRefresh = time.Minute

	// retryAfter is how long a failed director stays out of the election, and
	// how often an address that would not go is tried again.
	retryAfter = time.Second
	// A director that failed to be master does not take the addresses from a
	// live one for a while, longer after each failure: a peer that works is
	// better than being right about the priority.
	holdoffMin = 10 * time.Second
	holdoffMax = 5 * time.Minute

	// sendFailureLimit is how many adverts in a row may fail to leave before a master
	// that hears another one steps back: by then the others counted it as gone.
	sendFailureLimit = 3
)

// An input is one thing that happened.
type input struct {
	kind inputKind

	from      netip.Addr    // inAdvert, inRefused: the sender; inReady: the address that we send from
	priority  uint8         // inAdvert
	interval  time.Duration // inAdvert
	addresses []netip.Addr  // inAdvert: only read during the step

	drop   DropReason // inRefused
	reason string     // inUnready: one of the Reason constants
	detail string     // inUnready, inRefused, inSent, inAddresses: for people; of the last two: the error, or ""

	prefixes []netip.Prefix // inStart, inAddresses: those of ours on the interface
	holdSeq  uint64         // inAddresses: number of the doHold that is answered
	restored bool           // inAddresses: somebody else had removed one, and it was put back

	config Config // inUpdate

	delta int   // inTrack; its detail is the fault, or empty
	to    State // inMoved: Master or Backup
}

type inputKind uint8

const (
	inTick      inputKind = iota // the Deadline came, or seems to have
	inStart                      // take part; prefixes: left over from an earlier run
	inReady                      // the interface works
	inUnready                    // it does not
	inAdvert                     // a valid advert of another director
	inDropped                    // an advert for this election that was refused
	inSent                       // how the last doSend went; may be left out while all goes well
	inAddresses                  // how the last doHold went, or what the interface lost
	inUpdate                     // another configuration
	inTrack                      // what is tracked adds up to something else
	inGroup                      // another election of the sync group moved
	inHandOver                   // give the addresses to a peer, and stay in the election
	inStop                       // leave
)

// An action is one thing to do. Actions are to be done in their order; what
// became of doSend and doHold comes back as an input.
type action struct {
	kind        actionKind
	priority    uint8          // doSend
	prefixes    []netip.Prefix // doHold, doAnnounce; not to be changed
	holdSeq     uint64         // doHold
	arpSilenced bool           // doHold: serve them, and let nobody hear of it

	from, to       State // didBecome
	reason, detail string
}

type actionKind uint8

const (
	doSend         actionKind = iota // an advert of that priority, at once
	doHold                           // exactly these of our addresses shall be on the interface
	doAnnounce                       // gratuitous ARP for these, once they are on it
	didChangeState                   // nothing to do: the state changed
)

// snapshot is what the machine shows of itself. Comparable parts come first.
type snapshot struct {
	state          State
	since          time.Time
	reason, detail string
	priority       uint8
	master         netip.Addr
	masterPriority uint8
	conflict       bool
	warning        string
	present        []netip.Prefix
}

// equal reports whether a and b show the same.
func (a *snapshot) equal(b *snapshot) bool {
	return a.state == b.state && a.since.Equal(b.since) && a.reason == b.reason && a.detail == b.detail &&
		a.priority == b.priority && a.master == b.master && a.masterPriority == b.masterPriority &&
		a.conflict == b.conflict && a.warning == b.warning &&
		slices.Equal(a.present, b.present)
}

// earliest is the first of the times that are set; the zero Time when none is.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// due reports whether a timer is set and has come.
func due(timer, now time.Time) bool { return !timer.IsZero() && !now.Before(timer) }

// intersect keeps the addresses of all that are also in some, in the order of all.
func intersect(all, some []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range all {
		if slices.Contains(some, p) {
			out = append(out, p)
		}
	}
	return out
}

// subtract keeps the addresses of all that are not in some.
func subtract(all, some []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range all {
		if !slices.Contains(some, p) {
			out = append(out, p)
		}
	}
	return out
}

// sameAddresses reports whether an advert names exactly the configured addresses, in any
// order.
func sameAddresses(ours []netip.Prefix, theirs []netip.Addr) bool {
	if len(ours) != len(theirs) {
		return false
	}
	for _, p := range ours {
		if !slices.Contains(theirs, p.Addr()) {
			return false
		}
	}
	return true
}
