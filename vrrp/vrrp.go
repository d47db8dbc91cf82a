// Configuration, state, events and status of a VRRP instance: plain values that
// the rest of the daemon shares.

package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/vrrp/conflict"
	"lvsd/vrrp/link"
)

// Config is one VRRP instance. [Open] and [Engine.Update] check it.
type Config struct {
	Name      string // for logs and metrics
	Interface string // name of the network interface
	VRID      uint8  // virtual router identifier, 1 to 255 (RFC 9568 §5.2.3)
	Version   uint8  // 2 or 3; 0 means 3
	Priority  uint8  // 1 to 255; 255 is the owner of the addresses (§5.2.4)

	// AwaitInterface opens an instance whose interface is missing or has no address to
	// send from: it is in Fault until the interface works. Only [Open] reads it.
	AwaitInterface bool

	// AdvertInterval is the time between two adverts: 10 ms to 40.95 s in whole
	// centiseconds (§5.2.7); in version 2, 1 s to 255 s in whole seconds, the same
	// for all directors (RFC 3768 §5.3.7).
	AdvertInterval time.Duration

	// Preempt lets this director take over from a live master of lower priority,
	// PreemptDelay after that master's first advert.
	Preempt      bool
	PreemptDelay time.Duration

	// StartupDelay is the minimum time for which this director waits for adverts, after it
	// started or its interface began to work, before it becomes master. An owner waits too.
	StartupDelay time.Duration

	// Standby keeps this director from preempting, even as owner of the
	// addresses. It still takes over when no master is received, later than the
	// others and with priority 1, so that one of them takes over from it.
	Standby bool

	// Addresses of one family. In version 3 over IPv6 the first is link-local (§5.2.9).
	// Without any the instance has only a state: its adverts have a count of 0, which the
	// RFC does not have and keepalived sends too, and are IPv4 unless Excluded or Source is
	// IPv6.
	Addresses []netip.Prefix // listed in the adverts, in this order
	Excluded  []netip.Prefix // held with them, not listed in the adverts

	// Interfaces has the interface of each address that is not on Interface. Such an
	// address has the MAC address of that interface, also with VirtualMAC. No adverts are
	// sent there.
	Interfaces map[netip.Addr]string

	Routes []Route // present while the addresses are
	Rules  []Rule  // present while the addresses are

	// AnyIPv6 lets the first IPv6 address be other than link-local, for peers
	// that advertise none.
	AnyIPv6 bool

	// VirtualMAC uses the MAC address of the virtual router (§7.3) for the
	// addresses and for multicast adverts.
	VirtualMAC bool

	Checksum Checksum // form sent in version 3 over IPv4; both are accepted

	// Unicast lists the other directors that adverts are sent to and accepted
	// from; empty: multicast. Source is this director's own address; the zero
	// Addr: the first of the interface.
	Unicast []netip.Addr
	Source  netip.Addr

	UnicastHops uint8 // routers between unicast directors; adverts from beyond more are dropped

	Authentication Authentication

	// HandoverLimit is how long a master that steps down keeps serving at most,
	// until its successor has advertised and announced the addresses; 0: it
	// removes them at once.
	HandoverLimit time.Duration

	TrackInterfaces []TrackedInterface
	TrackScripts    []TrackedScript
	TrackFiles      []TrackedFile
	SyncGroup       string // instances of one process with the same group change state together; empty: none
}

// Route and Rule are present while the addresses are.
type (
	Route = link.Route
	Rule  = link.Rule
)

// TrackedInterface is an interface other than the instance's own.
type TrackedInterface struct {
	Name   string
	Weight int // -253 to 253: added while it is down (negative) or up (positive); 0: down means Fault
}

// TrackedFile is a file that contains a number.
type TrackedFile struct {
	Path   string
	Weight int // -253 to 253: factor of the number; 0: any number but 0 means Fault
}

// TrackedScript is a program; exit code 0 is success. The first result counts at
// once.
type TrackedScript struct {
	Command    []string      // program and arguments, without a shell
	Interval   time.Duration // from one start to the next
	Timeout    time.Duration // the program and its children are then killed, which is a failure
	Rise, Fall int           // consecutive results that change the state, at least 1
	Weight     int           // as for an interface
}

// Authentication is how adverts are authenticated.
type Authentication struct {
	Type    string // "": not; "pass": password of version 2; "hmac": docs/vrrp-authentication.md
	KeyFile string // absolute path; for "pass", the password is the first 8 octets of the first line
	// Key is the content of KeyFile, so that an instance reads no file: its disk may be
	// gone or hang when the priority changes or the process was restarted. Empty: KeyFile
	// is read.
	Key string

	// Permissive accepts and counts adverts that "hmac" would drop, while keys
	// are distributed.
	Permissive bool
}

// version returns 2 or 3.
func (c Config) version() uint8 {
	if c.Version == 0 {
		return 3
	}
	return c.Version
}

// v6 reports whether adverts and addresses are IPv6.
func (c Config) v6() bool {
	if all := c.allAddresses(); len(all) > 0 {
		return all[0].Addr().Is6()
	}
	return c.Source.Is6()
}

// Checksum is a form of the checksum of version 3 over IPv4.
type Checksum uint8

const (
	// RFC5798 includes the IPv4 pseudo-header (RFC 5798 §5.2.8). keepalived sends
	// this form and accepts no other up to version 2.2.
	RFC5798 Checksum = iota
	// RFC9568 covers the message only (RFC 9568 §5.2.8).
	RFC9568

	checksums = iota // number of forms
)

// String returns the name used in configuration and metrics.
func (c Checksum) String() string {
	switch c {
	case RFC5798:
		return "rfc5798"
	case RFC9568:
		return "rfc9568"
	}
	return fmt.Sprintf("checksum(%d)", uint8(c))
}

// State is the state of an instance.
type State string

// The states of RFC 9568 §6.3, and Fault: the interface does not work or an
// action failed; the addresses are not held.
const (
	Init   State = "init"
	Backup State = "backup"
	Master State = "master"
	Fault  State = "fault"
)

// Reasons of a state change: a bounded set, used as a metric label.
const (
	ReasonStart          = "start"           // the instance starts
	ReasonOwner          = "owner"           // priority 255 becomes master at once (RFC 9568 §6.4.1)
	ReasonSilence        = "silence"         // no advert received for the down interval
	ReasonResigned       = "resigned"        // the master sent priority 0
	ReasonPreempt        = "preempt"         // only adverts of lower priority received
	ReasonHigherPriority = "higher_priority" // a master of higher priority was received
	ReasonNoPreempt      = "no_preempt"      // a live master that may not be preempted was received late
	ReasonHigherAddress  = "higher_address"  // a master of the same priority and a greater address was received
	ReasonLinkDown       = "link_down"       // no carrier, or the interface is down
	ReasonLinkUp         = "link_up"         // the interface works again
	ReasonNoInterface    = "no_interface"    // the interface is gone
	ReasonNoAddress      = "no_address"      // the interface has no address to send from
	ReasonSocket         = "socket"          // the socket could not be opened
	ReasonAddressFailed  = "address_failed"  // an address could not be added
	ReasonSendFailed     = "send_failed"     // adverts cannot be sent while another master is received
	ReasonRetry          = "retry"           // retry after a failure
	ReasonStop           = "stop"            // the instance is shut down
	ReasonTracked        = "tracked"         // a tracked object or another member of the sync group is in fault
	ReasonRecovered      = "recovered"       // that fault has ended
	ReasonGroup          = "sync_group"      // another member of the sync group changed state
	ReasonHandover       = "handover"        // handover requested by operator
)

// Transition is a state change, the key of a counter.
type Transition struct {
	To     State
	Reason string
}

// MarshalText makes a Transition the key of a JSON object, such as
// "master/silence".
func (t Transition) MarshalText() ([]byte, error) {
	return []byte(string(t.To) + "/" + t.Reason), nil
}

// UnmarshalText is the inverse of MarshalText.
func (t *Transition) UnmarshalText(text []byte) error {
	to, reason, ok := strings.Cut(string(text), "/")
	if !ok {
		return fmt.Errorf("%q is not a transition", text)
	}
	t.To, t.Reason = State(to), reason
	return nil
}

// MasterConflict reports that a second master is active, or that adverts of a
// live peer are dropped, or the end of it.
type MasterConflict struct {
	At     time.Time
	Name   string // of the instance
	State  State  // of this instance during the conflict
	On     bool
	Detail string // text: which peer and why
}

// Holder is another holder of one of the addresses: another host, as seen by a master,
// or another interface or program of this host.
type Holder = conflict.Holder

// AddressConflict reports that an address has another holder, or the end of it.
type AddressConflict struct {
	At   time.Time
	Name string // of the instance
	On   bool
	Holder
}

// Restored reports that another program removed addresses of a master, and that they
// were put back: all of the last ten seconds.
type Restored struct {
	At        time.Time
	Name      string // of the instance
	Addresses []netip.Prefix
}

// Event is one state change.
type Event struct {
	At       time.Time
	Name     string // of the instance
	From, To State
	Reason   string // one of the Reason constants
	Detail   string // text: "no advertisement received for 3.609 s"
	Priority uint8  // effective priority of this director
}

// Status is an immutable snapshot of an instance.
type Status struct {
	Name      string
	Interface string
	VRID      uint8

	State  State
	Since  time.Time
	Reason string // of the last change: one of the Reason constants
	Detail string // text: "no advertisement received for 3.609 s"

	Priority       uint8      // effective priority of this director
	Master         netip.Addr // the present master; the zero Addr if unknown
	MasterPriority uint8

	// Contested: a second master is received in state Master, or adverts of a
	// live peer are dropped. It ends 3 advert intervals after the last of them.
	Contested bool
	// GroupWait: a backup receives no master and does not take over, because another
	// member of its sync group follows one.
	GroupWait bool
	// Alarm describes present problems (a second master, a different address
	// list, a failing action); empty if there are none.
	Alarm string

	LastAdvert time.Time // last valid advert received; zero: none

	AdvertsSent     uint64
	AdvertsReceived uint64 // valid adverts for this instance
	Restored        uint64 // addresses, routes and rules restored after another process removed them
	Announcements   uint64 // frames of gratuitous ARP and unsolicited neighbour advertisements
	Unauthenticated uint64 // adverts accepted only because authentication is permissive
	Mismatched      uint64 // adverts accepted with an address list other than ours

	Dropped     map[string]uint64 // dropped adverts by [DropReason]
	Checksums   map[string]uint64 // accepted adverts by the form of their checksum
	Transitions map[Transition]uint64

	Tracked []Tracked // tracked objects that have an effect, by name

	HasVIPs   bool           // at least one address is on the interface
	Addresses []netip.Prefix // addresses on the interface

	Configured []netip.Prefix // all addresses of a master
	Conflicts  []Holder       // other holders of them, by address
}

// Tracked is the effect of one tracked object.
type Tracked struct {
	Name  string // "interface eth1", "file /run/prefer", "script /usr/local/bin/uplink-ok", or a name given to [Engine.SetTracked]
	Delta int    // added to the priority
	Fault bool   // keeps the instance in Fault
}

// NeedsRestart reports whether [Engine.Update] cannot make the change from old to
// new: the instance must be closed and opened.
func NeedsRestart(old, new Config) bool {
	return old.Interface != new.Interface || old.VRID != new.VRID || old.version() != new.version() ||
		old.v6() != new.v6() || old.SyncGroup != new.SyncGroup || old.VirtualMAC != new.VirtualMAC || old.Source != new.Source || !slices.Equal(old.Unicast, new.Unicast)
}
