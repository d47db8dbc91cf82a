// The words of the control layer: what a virtual service, a real server and a
// table of them are, in values that can be compared, and the names that the
// kernel and ipvsadm use for them. It never talks to the kernel.
//
// PURE.

package ipvs

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Protocol is the IP protocol number of a virtual service.
type Protocol uint8

// The protocols that IPVS balances (IANA numbers).
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String returns "tcp", "udp", "sctp" or the number.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("protocol-%d", uint8(p))
}

// ParseProtocol is the inverse of Protocol.String for the three names.
func ParseProtocol(name string) (Protocol, error) {
	switch name {
	case "tcp":
		return TCP, nil
	case "udp":
		return UDP, nil
	case "sctp":
		return SCTP, nil
	}
	return 0, fmt.Errorf("unknown protocol %q: tcp, udp or sctp", name)
}

// ServiceKey is what the kernel tells virtual services apart by. Everything
// else of a service can be changed in place; another key is another service.
//
// A service is known by protocol, address and port, or by a firewall mark and a
// family: with a Mark, Protocol and Address are zero, and only with one IPv6
// counts. Port 0 is every port of the address.
type ServiceKey struct {
	Protocol Protocol
	Address  netip.AddrPort
	Mark     uint32
	IPv6     bool
}

// String is like "tcp 10.0.0.88:80", "mark 7" or "mark 7 ipv6".
func (k ServiceKey) String() string {
	switch {
	case k.Mark == 0:
		return k.Protocol.String() + " " + k.Address.String()
	case k.IPv6:
		return fmt.Sprintf("mark %d ipv6", k.Mark)
	}
	return fmt.Sprintf("mark %d", k.Mark)
}

// Is4 says whether the service is one of IPv4.
func (k ServiceKey) Is4() bool {
	if k.Mark != 0 {
		return !k.IPv6
	}
	return k.Address.Addr().Is4()
}

// Compare orders by protocol (marks first), then mark, family, address, port.
func (k ServiceKey) Compare(o ServiceKey) int {
	if c := cmp.Or(cmp.Compare(k.Protocol, o.Protocol), cmp.Compare(k.Mark, o.Mark)); c != 0 {
		return c
	}
	if k.IPv6 != o.IPv6 {
		if o.IPv6 {
			return -1
		}
		return 1
	}
	return k.Address.Compare(o.Address)
}

// Forward is the way a packet takes to a real server. The values are the
// kernel's (include/uapi/linux/ip_vs.h, IP_VS_CONN_F_*).
type Forward uint8

// The forwarding methods.
const (
	NAT         Forward = 0
	Local       Forward = 1
	Tunnel      Forward = 2
	DirectRoute Forward = 3
	Bypass      Forward = 4
)

// String returns "nat", "local", "tun", "dr" or "bypass".
func (f Forward) String() string {
	switch f {
	case NAT:
		return "nat"
	case Local:
		return "local"
	case Tunnel:
		return "tun"
	case DirectRoute:
		return "dr"
	case Bypass:
		return "bypass"
	}
	return fmt.Sprintf("forward-%d", uint8(f))
}

// ParseForward knows the names that can be wished for: "nat", "tun", "dr" and
// "local".
func ParseForward(name string) (Forward, error) {
	switch name {
	case "nat":
		return NAT, nil
	case "local":
		return Local, nil
	case "tun":
		return Tunnel, nil
	case "dr":
		return DirectRoute, nil
	}
	return 0, fmt.Errorf("unknown forwarding method %q: dr, nat, tun or local", name)
}

// SchedulerFlags are the flags of a service but for "persistent" (which
// Persistence says) and "hashed" (which the kernel keeps for itself). What
// sched-1 to sched-3 mean depends on the scheduler.
type SchedulerFlags uint32

// Flags in the kernel's bits (IP_VS_SVC_F_*). The names for sh are in the uapi
// header, those for mh in net/netfilter/ipvs/ip_vs_mh.c.
const (
	OnePacket  SchedulerFlags = 0x04
	Sched1     SchedulerFlags = 0x08
	Sched2     SchedulerFlags = 0x10
	Sched3     SchedulerFlags = 0x20
	SHFallback                = Sched1
	SHPort                    = Sched2
	MHFallback                = Sched1
	MHPort                    = Sched2
)

// ParseSchedulerFlags turns the names of ipvsadm's --sched-flags into bits:
// sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3.
func ParseSchedulerFlags(names []string) (SchedulerFlags, error) {
	var flags SchedulerFlags
	for _, name := range names {
		switch name {
		case "flag-1", "sh-fallback", "mh-fallback":
			flags |= Sched1
		case "flag-2", "sh-port", "mh-port":
			flags |= Sched2
		case "flag-3":
			flags |= Sched3
		default:
			return 0, fmt.Errorf("unknown scheduler flag %q: sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2 or flag-3", name)
		}
	}
	return flags, nil
}

// Names returns the flags as ipvsadm names them for that scheduler, in the
// order of their bits. Bits without a name are written in hexadecimal.
func (f SchedulerFlags) Names(scheduler string) []string {
	var names []string
	add := func(bit SchedulerFlags, name string) {
		if f&bit != 0 {
			names = append(names, name)
			f &^= bit
		}
	}
	add(OnePacket, "one-packet")
	switch scheduler {
	case "sh", "mh":
		add(Sched1, scheduler+"-fallback")
		add(Sched2, scheduler+"-port")
	}
	add(Sched1, "flag-1")
	add(Sched2, "flag-2")
	add(Sched3, "flag-3")
	if f != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(f)))
	}
	return names
}

// Service is a virtual service with its real servers.
type Service struct {
	Key       ServiceKey
	Scheduler string // "wlc"; the kernel's module is ip_vs_wlc
	Flags     SchedulerFlags
	// Persistence is how long a client stays with its real server, in
	// seconds; 0 is off.
	Persistence uint32
	// PersistenceBits is the prefix length by which clients count as one.
	// 0 stands for one host (32 or 128). -1 is read for an IPv4 netmask that
	// is no prefix, which can't be wished for.
	PersistenceBits int
	Engine          string // persistence engine, "" or "sip"
	Destinations    map[netip.AddrPort]Destination
}

// Destination is a real server of one virtual service.
type Destination struct {
	Address netip.AddrPort
	Forward Forward
	Weight  int // 0 to 65535; 0 takes no new connections
	// UpperThreshold is the number of connections from which on the kernel
	// sends no new ones, until they fall below LowerThreshold. 0 is off.
	UpperThreshold, LowerThreshold uint32
	Encap                          Encap
}

// Encap says how Tunnel wraps packets. The zero value is ipip.
type Encap struct {
	Type  EncapType
	Port  uint16 // gue's UDP port, not 0 with gue
	Flags uint16 // EncapChecksum or EncapRemoteChecksum, of gue and gre
}

// EncapType is what a tunnel wraps packets in (IP_VS_CONN_F_TUNNEL_TYPE_*).
type EncapType uint8

// The kinds of tunnels.
const (
	IPIP EncapType = 0
	GUE  EncapType = 1
	GRE  EncapType = 2
)

// The flags of an Encap (IP_VS_TUNNEL_ENCAP_FLAG_*). gre has no remote
// checksum.
const (
	EncapChecksum       = 1
	EncapRemoteChecksum = 2
)

// String returns "ipip", "gue" or "gre".
func (t EncapType) String() string {
	switch t {
	case IPIP:
		return "ipip"
	case GUE:
		return "gue"
	case GRE:
		return "gre"
	}
	return fmt.Sprintf("tunnel-%d", uint8(t))
}

// ParseEncap turns the words of a configuration into an Encap: the kind "ipip",
// "gue" or "gre" ("" is ipip), the port of gue, and the checksum "none", "csum"
// or "remcsum" ("" is none). It refuses what the kernel has no meaning for.
func ParseEncap(kind string, port uint16, checksum string) (Encap, error) {
	var e Encap
	switch kind {
	case "", "ipip":
	case "gue":
		e.Type = GUE
	case "gre":
		e.Type = GRE
	default:
		return Encap{}, fmt.Errorf("unknown tunnel %q: ipip, gue or gre", kind)
	}
	switch checksum {
	case "", "none":
	case "csum":
		e.Flags = EncapChecksum
	case "remcsum":
		e.Flags = EncapRemoteChecksum
	default:
		return Encap{}, fmt.Errorf("unknown checksum mode %q: none, csum or remcsum", checksum)
	}
	switch e.Port = port; {
	case e.Type == GUE && port == 0:
		return Encap{}, errors.New("gue needs the UDP port that the real server listens on")
	case e.Type != GUE && port != 0:
		return Encap{}, fmt.Errorf("%s has no port", e.Type)
	case e.Type == IPIP && e.Flags != 0:
		return Encap{}, errors.New("ipip has no checksum")
	case e.Type == GRE && e.Flags == EncapRemoteChecksum:
		return Encap{}, errors.New("gre has no remote checksum, only csum")
	}
	return e, nil
}

// String is like "gue port 6080 csum".
func (e Encap) String() string {
	s := e.Type.String()
	if e.Port != 0 {
		s += fmt.Sprintf(" port %d", e.Port)
	}
	switch e.Flags {
	case 0:
	case EncapChecksum:
		s += " csum"
	case EncapRemoteChecksum:
		s += " remcsum"
	default:
		s += fmt.Sprintf(" flags %#x", e.Flags)
	}
	return s
}

// String names what ipvsadm -S would show, for log lines.
func (d Destination) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s weight %d", d.Forward, d.Weight)
	if d.UpperThreshold != 0 || d.LowerThreshold != 0 {
		fmt.Fprintf(&b, " thresholds %d/%d", d.UpperThreshold, d.LowerThreshold)
	}
	if d.Encap != (Encap{}) {
		b.WriteString(" " + d.Encap.String())
	}
	return b.String()
}

// String names the service's own attributes, for log lines.
func (s Service) String() string {
	var b strings.Builder
	b.WriteString("scheduler " + s.Scheduler)
	if names := s.Flags.Names(s.Scheduler); len(names) > 0 {
		b.WriteString(" flags " + strings.Join(names, ","))
	}
	if s.Persistence != 0 {
		fmt.Fprintf(&b, " persistence %ds", s.Persistence)
	}
	if bits := s.PersistencePrefix(); bits != s.Key.AddrBits() {
		fmt.Fprintf(&b, " netmask /%d", bits)
	}
	if s.Engine != "" {
		b.WriteString(" engine " + s.Engine)
	}
	return b.String()
}

// AddrBits returns the length of the family's addresses, 32 or 128.
func (k ServiceKey) AddrBits() int {
	if k.Is4() {
		return 32
	}
	return 128
}

// PersistencePrefix is PersistenceBits with the default filled in.
func (s Service) PersistencePrefix() int {
	if s.PersistenceBits == 0 {
		return s.Key.AddrBits()
	}
	return s.PersistenceBits
}

// sameSettings says whether two services agree in all but their destinations.
func (s Service) sameSettings(o Service) bool {
	return s.Key == o.Key && s.Scheduler == o.Scheduler && s.Flags == o.Flags &&
		s.Persistence == o.Persistence && s.PersistencePrefix() == o.PersistencePrefix() && s.Engine == o.Engine
}

// Addresses returns the addresses of the destinations, in order.
func (s Service) Addresses() []netip.AddrPort { return sortedAddrs(s.Destinations) }

// Live counts the destinations that take new connections.
func (s Service) Live() int {
	n := 0
	for _, d := range s.Destinations {
		if d.Weight > 0 {
			n++
		}
	}
	return n
}

// Table is the virtual services of one network namespace.
type Table map[ServiceKey]Service

// Clone copies the table down to its destinations.
func (t Table) Clone() Table {
	c := make(Table, len(t))
	for k, s := range t {
		s.Destinations = maps.Clone(s.Destinations)
		c[k] = s
	}
	return c
}

// Keys returns the table's keys in order.
func (t Table) Keys() []ServiceKey { return sortedKeys(t) }

func sortedKeys[V any](m map[ServiceKey]V) []ServiceKey {
	return slices.SortedFunc(maps.Keys(m), ServiceKey.Compare)
}

func sortedAddrs[V any](m map[netip.AddrPort]V) []netip.AddrPort {
	return slices.SortedFunc(maps.Keys(m), netip.AddrPort.Compare)
}

// ForeignPolicy says what becomes of real servers that somebody else put into
// one of our services.
type ForeignPolicy uint8

// The policies. Alarm counts and leaves them, Ignore leaves them without a
// word, Remove deletes them.
const (
	Alarm ForeignPolicy = iota
	Ignore
	Remove
)

// String returns "alarm", "ignore" or "remove".
func (p ForeignPolicy) String() string {
	switch p {
	case Alarm:
		return "alarm"
	case Ignore:
		return "ignore"
	case Remove:
		return "remove"
	}
	return fmt.Sprintf("foreign-policy-%d", uint8(p))
}

// ParseForeignPolicy is the inverse of ForeignPolicy.String.
func ParseForeignPolicy(name string) (ForeignPolicy, error) {
	switch name {
	case "alarm":
		return Alarm, nil
	case "ignore":
		return Ignore, nil
	case "remove":
		return Remove, nil
	}
	return 0, fmt.Errorf("unknown policy %q for foreign entries: alarm, remove or ignore", name)
}

// Desired is everything that the kernel shall be kept at.
type Desired struct {
	Table Table
	// Names are what log lines call the services; those without one are
	// named by their key.
	Names map[ServiceKey]string
	// Connection timeouts of the namespace, to the second; 0 leaves the
	// kernel's.
	TimeoutTCP, TimeoutTCPFin, TimeoutUDP time.Duration
	// ManageSysctls sets expire_nodest_conn and expire_quiescent_template.
	ManageSysctls bool
	// KeepTemplates sets expire_quiescent_template to 0 instead of 1: persistent
	// clients stay on servers of weight 0.
	KeepTemplates bool
	Foreign       ForeignPolicy
	// ResyncInterval is how often the kernel is compared in full; 0 is 10 s.
	ResyncInterval time.Duration
	// Sync runs the connection synchronisation, both its sender and its
	// receiver; nil stops them if they were ours.
	Sync *SyncConfig
	// Drain is how long a destination that leaves the table of a service may
	// keep its connections: it goes to weight 0 and is deleted when it has no
	// connection left, at the latest after this time. Without an entry, or
	// with 0, it is deleted at once, and always where weight 0 would hurt: with
	// a hashing scheduler that has no fallback.
	Drain map[ServiceKey]time.Duration
	// NoDrain are destinations that are not to be drained when they leave: those
	// that failed.
	NoDrain map[Entry]struct{}
}

// Counters only grow while their service stands. The kernel's estimator adds
// to them with up to 2 s delay.
type Counters struct {
	Connections, PacketsIn, PacketsOut, BytesIn, BytesOut uint64
}

// Rates are the kernel's estimates of what goes on now, each second. A new rate
// moves a quarter of the way every 2 s (net/netfilter/ipvs/ip_vs_est.c).
type Rates struct {
	Connections, PacketsIn, PacketsOut, BytesIn, BytesOut uint64
}

// ServiceStats are the counters of a service and of its destinations.
type ServiceStats struct {
	Counters
	Rates        Rates
	Destinations map[netip.AddrPort]DestinationStats
}

// DestinationStats are the counters of a real server and the connections that
// it has now.
type DestinationStats struct {
	Counters
	Rates      Rates
	Active     uint32 // established TCP
	Inactive   uint32 // all other entries: closing TCP, UDP
	Persistent uint32
}
