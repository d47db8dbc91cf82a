// Package vrrp elects, by VRRP version 3 (RFC 9568, and RFC 5798 on the wire) or
// version 2 (RFC 3768), the one director of a LAN that holds a set of virtual
// addresses.
//
// [Open] looks at the interface and opens the sockets, [Engine.Run] takes part in
// the election until its context ends, [Engine.Status] says how it stands.
// An election waits for nobody: whatever the daemon does besides, it has its own
// goroutines and sockets, and a callback that blocked would be the only way to
// delay it (see [Options]).
//
// This file holds the words that the rest of the daemon shares with an election:
// its configuration, its state as seen from outside, and its events. All of them
// are plain values. It never opens, sends, waits for or changes anything.
//
// PURE.
package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/vrrp/link"
)

// Config is one election. Values are checked by [Open] and [Engine.Update].
type Config struct {
	Name      string // for logs, metrics and people
	Interface string // name of the network interface
	VRID      uint8  // virtual router identifier, 1 to 255 (RFC 9568 §5.2.3)
	Version   uint8  // 3, as which 0 counts too, or 2
	Priority  uint8  // 1 to 255; 255 is the owner of the addresses (§5.2.4)

	// AdvertInterval is the time between two adverts: 10 ms to 40.95 s in whole
	// centiseconds (§5.2.7); in version 2, 1 s to 255 s in whole seconds, the same
	// for all directors (RFC 3768 §5.3.7).
	AdvertInterval time.Duration

	// Preempt lets this director take the addresses from a live master of lower
	// priority, PreemptDelay after the first advert that was heard from one.
	Preempt      bool
	PreemptDelay time.Duration

	// Standby: this director stays away. It preempts nobody, the owner of the
	// addresses or not, and still takes over when no master is heard.
	Standby bool

	// All of one family. In version 3 over IPv6 the first is link-local (§5.2.9).
	Addresses []netip.Prefix // named in the adverts, in this order
	Excluded  []netip.Prefix // held along with them, not named in the adverts

	Routes []Route // that move with the addresses
	Rules  []Rule  // likewise

	// AnyIPv6 lets the first address of IPv6 be another than a link-local one, for
	// peers that advert none.
	AnyIPv6 bool

	// VirtualMAC gives the addresses the MAC address of the virtual router (§7.3),
	// from which adverts by multicast leave too.
	VirtualMAC bool

	Checksum Checksum // of version 3 over IPv4: the form that is sent; both are accepted

	// Unicast names the other directors that adverts go to and are taken from;
	// empty: multicast. Source is then this director's own address; the zero Addr:
	// the interface's first.
	Unicast []netip.Addr
	Source  netip.Addr

	Authentication Authentication

	// HandoverLimit is how long a leaving master goes on serving at most, until its
	// successor is heard and known to the neighbours; 0: not at all.
	HandoverLimit time.Duration

	TrackInterfaces []TrackedInterface
	TrackScripts    []TrackedScript
	TrackFiles      []TrackedFile
	SyncGroup       string // elections of one process that have the same move together; empty: alone
}

// Route and Rule are a route and a rule that exist while the addresses do.
type (
	Route = link.Route
	Rule  = link.Rule
)

// TrackedInterface is an interface that the election heeds besides its own.
type TrackedInterface struct {
	Name   string
	Weight int // -253 to 253: added while it is down (negative) or up (positive); 0: down is a fault
}

// TrackedFile is a file whose number the election heeds.
type TrackedFile struct {
	Path   string
	Weight int // -253 to 253: what the number is multiplied with; 0: another number than 0 is a fault
}

// TrackedScript is a program that the election heeds. Its exit code 0 is a
// success; the first result counts at once.
type TrackedScript struct {
	Command    []string      // program and arguments; no shell takes part
	Interval   time.Duration // from one start to the next
	Timeout    time.Duration // after it the program and all its children are killed, and it failed
	Rise, Fall int           // results in a row that change the verdict, at least 1
	Weight     int           // as of an interface
}

// Authentication is how adverts are proven to come from somebody who has a key.
type Authentication struct {
	Type    string // "": none; "pass": the password of version 2; "hmac": docs/vrrp-authentication.md
	KeyFile string // an absolute path; of "pass" the password is the first 8 octets of the first line

	// Permissive accepts and counts what "hmac" would refuse, for the time in which
	// the directors get their keys.
	Permissive bool
}

// version is 2 or 3.
func (c Config) version() uint8 {
	if c.Version == 0 {
		return 3
	}
	return c.Version
}

// v6 reports whether the election is one of IPv6.
func (c Config) v6() bool { return len(c.Addresses) > 0 && c.Addresses[0].Addr().Is6() }

// Checksum is a way to sum a version 3 message over IPv4.
type Checksum uint8

const (
	// RFC5798 sums the IPv4 pseudo-header too (RFC 5798 §5.2.8). It is what
	// keepalived sends and, up to version 2.2, the only form that it accepts.
	RFC5798 Checksum = iota
	// RFC9568 sums the message alone (RFC 9568 §5.2.8).
	RFC9568

	checksums = iota // how many there are
)

// String is the form's name in configuration and metrics.
func (c Checksum) String() string {
	switch c {
	case RFC5798:
		return "rfc5798"
	case RFC9568:
		return "rfc9568"
	}
	return fmt.Sprintf("checksum(%d)", uint8(c))
}

// State is where the election stands on this director.
type State string

// The states of RFC 9568 §6.3, and Fault: the interface cannot carry the
// election, or an action of it failed; the addresses are not held.
const (
	Init   State = "init"
	Backup State = "backup"
	Master State = "master"
	Fault  State = "fault"
)

// Reasons of a change of state: a bounded set, fit for a label.
const (
	ReasonStart          = "start"           // this director takes part from now on
	ReasonOwner          = "owner"           // priority 255 does not wait (RFC 9568 §6.4.1)
	ReasonSilence        = "silence"         // no master heard for the down interval
	ReasonResigned       = "resigned"        // the master sent priority 0
	ReasonPreempt        = "preempt"         // only masters of lower priority were heard
	ReasonHigherPriority = "higher_priority" // a master with a higher priority is heard
	ReasonHigherAddress  = "higher_address"  // the same priority, from a greater address
	ReasonLinkDown       = "link_down"       // no carrier, or the interface is down
	ReasonLinkUp         = "link_up"         // the interface works again
	ReasonNoInterface    = "no_interface"    // the interface is gone
	ReasonNoAddress      = "no_address"      // the interface has no address to send from
	ReasonSocket         = "socket"          // adverts cannot be received: the socket does not open
	ReasonAddressFailed  = "address_failed"  // an address could not be added
	ReasonSendFailed     = "send_failed"     // adverts cannot be sent while another master is heard
	ReasonRetry          = "retry"           // another try after a failure
	ReasonStop           = "stop"            // this director leaves
	ReasonTracked        = "tracked"         // something that is tracked failed, or another of the sync group
	ReasonRecovered      = "recovered"       // what is tracked works again
	ReasonGroup          = "sync_group"      // another election of the sync group moved
	ReasonHandover       = "handover"        // this director was told to give the addresses to a peer
)

// Transition counts changes of state by where they led and why.
type Transition struct {
	To     State
	Reason string
}

// MarshalText makes a Transition the key of a JSON object: "master/silence".
func (t Transition) MarshalText() ([]byte, error) {
	return []byte(string(t.To) + "/" + t.Reason), nil
}

// UnmarshalText is the reverse of MarshalText.
func (t *Transition) UnmarshalText(text []byte) error {
	to, reason, ok := strings.Cut(string(text), "/")
	if !ok {
		return fmt.Errorf("%q is no transition", text)
	}
	t.To, t.Reason = State(to), reason
	return nil
}

// MasterConflict is the beginning, or the end, of another master being heard or of a
// live peer's adverts being refused.
type MasterConflict struct {
	At     time.Time
	Name   string // of the election
	State  State  // of this director meanwhile
	On     bool
	Detail string // for people: by whom and why
}

// Event is one change of state.
type Event struct {
	At       time.Time
	Name     string // of the election
	From, To State
	Reason   string // one of the Reason constants
	Detail   string // for people: "3.609 s of silence"
}

// Status is an immutable picture of an election.
type Status struct {
	Name      string
	Interface string
	VRID      uint8

	State  State
	Since  time.Time
	Reason string // of the last change: one of the Reason constants
	Detail string // for people: "3.609 s of silence"

	Priority       uint8      // its own, with what tracked things add and take
	Master         netip.Addr // the master as far as it is known; the zero Addr when not
	MasterPriority uint8

	// Contested: another master is heard while this one is master, or the adverts
	// of a live peer are refused; ends 3 advert intervals after the last of them.
	Contested bool
	// Alarm says in words what is wrong at present (contested, addresses that
	// differ from a peer's, an action that fails); empty when nothing is.
	Alarm string

	LastAdvert time.Time // when a valid advert was last heard; zero: never

	AdvertsSent     uint64
	AdvertsReceived uint64 // valid ones, for this election
	Restored        uint64 // addresses, routes and rules that somebody else removed, and that were put back
	Announcements   uint64 // frames of gratuitous ARP and unsolicited neighbour advertisements
	Unproven        uint64 // adverts accepted only because authentication is permissive
	Mismatched      uint64 // adverts accepted although their addresses differ from ours

	Dropped     map[string]uint64 // adverts refused, by [Drop] reason
	Checksums   map[string]uint64 // adverts accepted, by the form of their checksum
	Transitions map[Transition]uint64

	Tracked []Tracked // what bends the election at present, by name

	Holding   bool           // at least one of the addresses is on the interface
	Addresses []netip.Prefix // those that are

	Configured []netip.Prefix // all that a master holds
}

// Tracked is something that bends an election.
type Tracked struct {
	Name  string // "interface eth1", "file /run/prefer", "script /usr/local/bin/uplink-ok", or what [Engine.SetTracked] was told
	Delta int    // what it adds to the priority
	Fault bool   // it keeps this director out of the election
}

// NeedsRestart reports whether the change from old to new cannot be made by
// [Engine.Update]: it is another election, to be closed and opened.
func NeedsRestart(old, new Config) bool {
	return old.Interface != new.Interface || old.VRID != new.VRID || old.version() != new.version() ||
		old.v6() != new.v6() || old.SyncGroup != new.SyncGroup || old.VirtualMAC != new.VirtualMAC || old.Source != new.Source || !slices.Equal(old.Unicast, new.Unicast)
}
