// The generic netlink messages of the sync daemons, and of zeroing counters.

package netlink

import (
	"fmt"

	"lvsd/ipvs"
)

// Attributes of a daemon, IPVS_DAEMON_ATTR_*.
const (
	daemonState     = 1
	daemonInterface = 2
	daemonID        = 3
	daemonMaxLen    = 4
	daemonGroup     = 5
	daemonGroup6    = 6
	daemonPort      = 7
	daemonTTL       = 8
)

// encodeDaemon returns the attributes of NEW_DAEMON. What is zero is left to the kernel.
func encodeDaemon(role ipvs.SyncRole, c ipvs.SyncConfig) []byte {
	return nested(nil, attrDaemon, func(b []byte) []byte {
		b = appendUint32(b, daemonState, uint32(role))
		b = appendString(b, daemonInterface, c.Interface)
		b = appendUint32(b, daemonID, uint32(c.ID))
		if c.MaxLen != 0 {
			b = appendUint16(b, daemonMaxLen, uint16(c.MaxLen))
		}
		switch {
		case c.Group.Is4():
			b = appendAttr(b, daemonGroup, c.Group.AsSlice())
		case c.Group.Is6():
			b = appendAttr(b, daemonGroup6, c.Group.AsSlice())
		}
		if c.Port != 0 {
			b = appendUint16(b, daemonPort, c.Port) // in host byte order, unlike all other ports
		}
		if c.TTL != 0 {
			b = appendAttr(b, daemonTTL, []byte{c.TTL})
		}
		return b
	})
}

// encodeRole returns the attributes of DEL_DAEMON.
func encodeRole(role ipvs.SyncRole) []byte {
	return nested(nil, attrDaemon, func(b []byte) []byte { return appendUint32(b, daemonState, uint32(role)) })
}

// decodeDaemon parses a message of the reply to GET_DAEMON into the state of its role.
func decodeDaemon(msg []byte, into *ipvs.SyncState) error {
	d := ipvs.SyncDaemon{Running: true}
	var role ipvs.SyncRole
	err := eachIn(msg, attrDaemon, func(typ uint16, v []byte) (err error) {
		var n uint64
		switch typ {
		case daemonState:
			n, err = number(v)
			role = ipvs.SyncRole(n)
		case daemonInterface:
			d.Interface = text(v)
		case daemonID:
			n, err = number(v)
			d.ID = uint32(n)
		case daemonMaxLen:
			n, err = number(v)
			d.MaxLen = uint16(n)
		case daemonGroup:
			d.Group, err = address(v, afInet)
		case daemonGroup6:
			d.Group, err = address(v, afInet6)
		case daemonPort:
			n, err = number(v)
			d.Port = uint16(n)
		case daemonTTL:
			n, err = number(v)
			d.TTL = uint8(n)
		}
		return err
	})
	if err != nil {
		return err
	}
	switch role {
	case ipvs.SyncMaster:
		into.Master = d
	case ipvs.SyncBackup:
		into.Backup = d
	default:
		return fmt.Errorf("synchronisation daemon of unknown state %d", role)
	}
	return nil
}

// encodeZero returns the attributes of ZERO; without a service it is for all.
func encodeZero(k *ipvs.ServiceKey) []byte {
	if k == nil {
		return nil
	}
	return encodeKey(nil, *k)
}
