// The types of the table: virtual services and their real servers as comparable
// values, with the names that the kernel and ipvsadm have for them.

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

// ParseProtocol returns the protocol of the name "tcp", "udp" or "sctp".
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

// ServiceKey identifies a virtual service in the kernel: by protocol, address and
// port, or by a firewall mark and an address family. With a Mark, Protocol and Address
// are zero; IPv6 counts only with a Mark. Port 0 means all ports of the address.
// Everything else of a service can be changed in place.
type ServiceKey struct {
	Protocol Protocol
	Address  netip.AddrPort
	Mark     uint32
	IPv6     bool
}

// String returns for example "tcp 10.0.0.88:80", "mark 7" or "mark 7 ipv6".
func (k ServiceKey) String() string {
	switch {
	case k.Mark == 0:
		return k.Protocol.String() + " " + k.Address.String()
	case k.IPv6:
		return fmt.Sprintf("mark %d ipv6", k.Mark)
	}
	return fmt.Sprintf("mark %d", k.Mark)
}

// Is4 reports whether the service is one of IPv4.
func (k ServiceKey) Is4() bool {
	if k.Mark != 0 {
		return !k.IPv6
	}
	return k.Address.Addr().Is4()
}

// Compare orders keys by protocol, with marks first, then mark, family, address, port.
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

// Forward is the forwarding method of a real server, in the kernel's values
// (IP_VS_CONN_F_* in include/uapi/linux/ip_vs.h).
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

// SchedulerFlags are the flags of a service, except "persistent", for which there is
// Service.Persistence, and "hashed", which is internal to the kernel. The meaning of
// Sched1 to Sched3 depends on the scheduler.
type SchedulerFlags uint32

// Flags in the kernel's bits (IP_VS_SVC_F_* in include/uapi/linux/ip_vs.h, for mh also
// net/netfilter/ipvs/ip_vs_mh.c).
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

// ParseSchedulerFlags parses the names of ipvsadm's --sched-flags: sh-fallback,
// sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3.
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

// Names returns the flags by ipvsadm's names for that scheduler, in the order of their
// bits. Bits without a name are returned in hexadecimal.
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
	// Persistence is how long a client stays with its real server, in seconds; 0
	// disables it.
	Persistence uint32
	// PersistenceBits is the prefix length that groups clients; 0 means one host (32
	// or 128). It is -1 for an IPv4 netmask in the kernel that is not a prefix, which
	// is not valid in a desired table.
	PersistenceBits int
	Engine          string // persistence engine, "" or "sip"
	Destinations    map[netip.AddrPort]Destination
}

// Destination is a real server of one virtual service.
type Destination struct {
	Address netip.AddrPort
	Forward Forward
	Weight  int // 0 to 65535; 0 takes no new connections
	// UpperThreshold is the number of connections at which the kernel stops sending
	// new ones, until the number falls below LowerThreshold; 0 disables it.
	UpperThreshold, LowerThreshold uint32
	Encap                          Encap
}

// Encap is the encapsulation of Tunnel. The zero value is ipip.
type Encap struct {
	Type  EncapType
	Port  uint16 // UDP port of gue, 1 to 65535; 0 for other types
	Flags uint16 // 0, EncapChecksum or EncapRemoteChecksum; 0 for ipip
}

// EncapType is the type of a tunnel (IP_VS_CONN_F_TUNNEL_TYPE_* in
// include/uapi/linux/ip_vs.h).
type EncapType uint8

// The kinds of tunnels.
const (
	IPIP EncapType = 0
	GUE  EncapType = 1
	GRE  EncapType = 2
)

// Flags of an Encap (IP_VS_TUNNEL_ENCAP_FLAG_* in include/uapi/linux/ip_vs.h). gre
// supports only EncapChecksum.
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

// ParseEncap returns the encapsulation of a configuration: kind is "ipip", "gue" or
// "gre" ("" means ipip), port the port of gue, checksum "none", "csum" or "remcsum" (""
// means none). It returns an error for a combination that the kernel does not support.
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

// String returns for example "gue port 6080 csum".
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

// String returns the settings of the destination for log lines, for example
// "dr weight 5".
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

// String returns the settings of the service for log lines, for example
// "scheduler wlc persistence 300s".
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

// AddrBits returns the length of the service's addresses in bits, 32 or 128.
func (k ServiceKey) AddrBits() int {
	if k.Is4() {
		return 32
	}
	return 128
}

// PersistencePrefix returns PersistenceBits with the default filled in.
func (s Service) PersistencePrefix() int {
	if s.PersistenceBits == 0 {
		return s.Key.AddrBits()
	}
	return s.PersistenceBits
}

// sameSettings reports whether two services are equal except for their destinations.
func (s Service) sameSettings(o Service) bool {
	return s.Key == o.Key && s.Scheduler == o.Scheduler && s.Flags == o.Flags &&
		s.Persistence == o.Persistence && s.PersistencePrefix() == o.PersistencePrefix() && s.Engine == o.Engine
}

// Addresses returns the addresses of the destinations, in order.
func (s Service) Addresses() []netip.AddrPort { return sortedAddrs(s.Destinations) }

// Usable returns the number of destinations with a weight above 0.
func (s Service) Usable() int {
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

// Clone returns a deep copy of the table.
func (t Table) Clone() Table {
	c := make(Table, len(t))
	for k, s := range t {
		s.Destinations = maps.Clone(s.Destinations)
		c[k] = s
	}
	return c
}

// equal reports whether two tables are the same.
func (t Table) equal(o Table) bool {
	return maps.EqualFunc(t, o, func(a, b Service) bool {
		return a.sameSettings(b) && maps.Equal(a.Destinations, b.Destinations)
	})
}

// Keys returns the keys of the table in order.
func (t Table) Keys() []ServiceKey { return sortedKeys(t) }

func sortedKeys[V any](m map[ServiceKey]V) []ServiceKey {
	return slices.SortedFunc(maps.Keys(m), ServiceKey.Compare)
}

func sortedAddrs[V any](m map[netip.AddrPort]V) []netip.AddrPort {
	return slices.SortedFunc(maps.Keys(m), netip.AddrPort.Compare)
}

// ForeignPolicy is what happens to real servers that another process added to one of
// our services.
type ForeignPolicy uint8

// Policies for foreign real servers: Alarm leaves and reports them, Ignore leaves them
// without a report, Remove deletes and reports them.
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

// Desired is the state that the kernel is kept in.
type Desired struct {
	Table Table
	// Names are the names of services in log lines. The default is the key.
	Names map[ServiceKey]string
	// Connection timeouts of the namespace, rounded up to seconds; 0 leaves the
	// kernel's.
	TimeoutTCP, TimeoutTCPFin, TimeoutUDP time.Duration
	// ManageSysctls sets expire_nodest_conn and expire_quiescent_template of
	// net.ipv4.vs.
	ManageSysctls bool
	// KeepTemplates sets expire_quiescent_template to 0 instead of 1, so that
	// persistent clients stay on destinations of weight 0.
	KeepTemplates bool
	Foreign       ForeignPolicy
	// ResyncInterval is the time between full comparisons; 0 means 10 s.
	ResyncInterval time.Duration
	// Sync configures both sync daemons; nil stops them if they are ours.
	Sync *SyncConfig
	// Drain is how long a destination that leaves a service of the table may keep its
	// connections. It gets weight 0 and is deleted when it has no connection left, or
	// after this time. It is deleted at once without an entry, with 0, and with a
	// hashing scheduler without fallback, which would refuse clients at weight 0.
	Drain map[ServiceKey]time.Duration
	// Prime is the weight that destinations of weight 0 get for a moment before they get
	// 0: mh builds its table from the last weight above 0 (ip_vs_mh.c), so that kernels
	// that were primed equally send each client to the same destination. Without an entry
	// a destination is not primed.
	Prime map[Entry]int
	// NoDrain are destinations that are deleted at once when they leave, because they
	// failed.
	NoDrain map[Entry]struct{}
}

// Counters grow as long as their service exists. The kernel's estimator adds to them
// with a delay of up to 2 s.
type Counters struct {
	Connections, PacketsIn, PacketsOut, BytesIn, BytesOut uint64
}

// Rates are the kernel's moving averages per second: every 2 s an average moves by a
// quarter towards the present value (net/netfilter/ipvs/ip_vs_est.c).
type Rates struct {
	Connections, PacketsIn, PacketsOut, BytesIn, BytesOut uint64
}

// ServiceStats are the counters of a service and of its destinations.
type ServiceStats struct {
	Counters
	Rates        Rates
	Destinations map[netip.AddrPort]DestinationStats
}

// DestinationStats are the counters and the present connections of a real server.
type DestinationStats struct {
	Counters
	Rates      Rates
	Active     uint32 // established TCP
	Inactive   uint32 // all other connections: TCP that is not established, UDP
	Persistent uint32 // persistence templates
}
