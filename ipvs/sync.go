// The words of the connection synchronisation, and what of it is wanted in the
// kernel's terms. It never talks to the kernel.
//
// PURE.

package ipvs

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// SyncConfig is the connection synchronisation of the namespace.
type SyncConfig struct {
	Interface string
	ID        uint8      // both sides need the same
	Group     netip.Addr // multicast; zero is the kernel's 224.0.0.81
	Port      uint16     // UDP; 0 is the kernel's 8848
	TTL       uint8      // 0 is the kernel's 1
	MaxLen    int        // bytes of a message; 0 is what fits into 1500 and the interface's MTU
	// Threshold are the two numbers of net.ipv4.vs.sync_threshold: a
	// connection is sent after so many packets, and again each so many. Both 0
	// leaves the kernel's.
	Threshold [2]int
	// RefreshPeriod is net.ipv4.vs.sync_refresh_period, to the second.
	RefreshPeriod time.Duration
}

// SyncRole is one half of the synchronisation (IP_VS_STATE_*).
type SyncRole uint32

// The two halves: the master sends, the backup receives.
const (
	SyncMaster SyncRole = 1
	SyncBackup SyncRole = 2
)

// String returns "master" or "backup".
func (r SyncRole) String() string {
	switch r {
	case SyncMaster:
		return "master"
	case SyncBackup:
		return "backup"
	}
	return fmt.Sprintf("sync-role-%d", uint32(r))
}

// SyncState is what the kernel says of the two halves of the connection
// synchronisation: the master is its sender, the backup its receiver.
type SyncState struct {
	Master, Backup SyncDaemon
}

// SyncDaemon is one half. The other fields count only when it runs.
type SyncDaemon struct {
	Running   bool
	Interface string
	ID        uint32
	Group     netip.Addr
	Port      uint16
	TTL       uint8
	MaxLen    uint16
}

// HeaderLen is what IP and UDP take of a packet of the synchronisation.
func (c SyncConfig) HeaderLen() int {
	if c.Group.Is6() {
		return 40 + 8
	}
	return 20 + 8
}

// Fits says whether the messages go unfragmented through an interface.
func (c SyncConfig) Fits(mtu int) error {
	if most := mtu - c.HeaderLen(); c.MaxLen > most {
		return fmt.Errorf("messages of %d bytes do not fit through %s, whose MTU is %d: at most %d", c.MaxLen, c.Interface, mtu, most)
	}
	return nil
}

// of is what one half is started with on an interface of that MTU. The sender
// keeps to the MTU; the receiver's length is that of its buffer, which shall be
// as large as the kernel makes it or larger, so that no peer's message is cut.
func (c SyncConfig) of(role SyncRole, mtu int) SyncConfig {
	c.Threshold, c.RefreshPeriod = [2]int{}, 0
	most := min(mtu, ethernetMTU) - c.HeaderLen()
	switch {
	case role == SyncMaster && c.MaxLen == 0 && mtu < ethernetMTU:
		c.MaxLen = most
	case role == SyncBackup && c.MaxLen <= ethernetMTU-c.HeaderLen():
		c.MaxLen = 0
	}
	return c
}

// sysctls are the settings that the synchronisation wants.
func (c SyncConfig) sysctls() []sysctl {
	var all []sysctl
	if c.Threshold != [2]int{} {
		all = append(all, sysctl{"sync_threshold", fmt.Sprintf("%d %d", c.Threshold[0], c.Threshold[1])})
	}
	period := (c.RefreshPeriod + time.Second - 1) / time.Second
	return append(all, sysctl{"sync_refresh_period", strconv.FormatInt(int64(period), 10)})
}

// The kernel's defaults (IP_VS_SYNC_GROUP and IP_VS_SYNC_PORT in
// net/netfilter/ipvs/ip_vs_sync.c), and the MTU of Ethernet, to which the
// kernel's sender keeps whatever the interface has.
const (
	defaultSyncPort = 8848
	defaultSyncTTL  = 1
	ethernetMTU     = 1500
)

var defaultSyncGroup = netip.AddrFrom4([4]byte{224, 0, 0, 81})

// WithDefaults returns c with the kernel's defaults for a zero Group, Port and
// TTL.
func (c SyncConfig) WithDefaults() SyncConfig {
	if !c.Group.IsValid() {
		c.Group = defaultSyncGroup
	}
	c.Port, c.TTL = cmp.Or(c.Port, defaultSyncPort), cmp.Or(c.TTL, defaultSyncTTL)
	return c
}

// Destination returns the group and the port that the messages are sent to.
func (c SyncConfig) Destination() netip.AddrPort {
	c = c.WithDefaults()
	return netip.AddrPortFrom(c.Group, c.Port)
}

// Equal reports whether two configurations are the same; nil is equal to nil
// alone.
func (c *SyncConfig) Equal(o *SyncConfig) bool {
	if c == nil || o == nil {
		return c == o
	}
	return *c == *o
}

// differs names what of a running half is not as it was to be started; "" is
// nothing.
func (c SyncConfig) differs(role SyncRole, d SyncDaemon) string {
	c = c.WithDefaults()
	want := SyncDaemon{Interface: c.Interface, ID: uint32(c.ID), Group: c.Group, Port: c.Port, TTL: c.TTL,
		MaxLen: uint16(cmp.Or(c.MaxLen, ethernetMTU-c.HeaderLen()))}
	switch {
	case !d.Running:
		return "not running"
	case d.Interface != want.Interface:
		return "interface " + d.Interface
	case d.ID != want.ID:
		return fmt.Sprintf("id %d", d.ID)
	case d.Group.IsValid() && d.Group != want.Group: // kernels before 4.3 do not say
		return "group " + d.Group.String()
	case d.Port != 0 && d.Port != want.Port:
		return fmt.Sprintf("port %d", d.Port)
	case d.TTL != 0 && d.TTL != want.TTL:
		return fmt.Sprintf("ttl %d", d.TTL)
	case role == SyncMaster && d.MaxLen != 0 && d.MaxLen != want.MaxLen,
		role == SyncBackup && d.MaxLen != 0 && d.MaxLen < want.MaxLen:
		return fmt.Sprintf("maxlen %d", d.MaxLen)
	}
	return ""
}

// String is like "eth1 id 5".
func (c SyncConfig) String() string { return fmt.Sprintf("%s id %d", c.Interface, c.ID) }

// String is like "eth1 id 5".
func (d SyncDaemon) String() string { return fmt.Sprintf("%s id %d", d.Interface, d.ID) }

// Daemon returns one half of the state.
func (s SyncState) Daemon(role SyncRole) SyncDaemon {
	if role == SyncMaster {
		return s.Master
	}
	return s.Backup
}

func (s *SyncState) SetDaemon(role SyncRole, d SyncDaemon) {
	if role == SyncMaster {
		s.Master = d
		return
	}
	s.Backup = d
}
