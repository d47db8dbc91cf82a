// The messages by which the kernels of two directors tell each other their
// connections: version 1 of the protocol of the synchronisation daemons
// (net/netfilter/ipvs/ip_vs_sync.c). It only makes them, and never reads one.
//
// PURE.

package connsync

import (
	"encoding/binary"
	"net/netip"

	"lvsd/ipvs"
)

const (
	syncHeader  = 8
	syncEntry4  = 36
	syncEntry6  = 72
	syncVersion = 1
	syncInet6   = 1 // type of an entry of IPv6

	syncNoOutput = 0x0080 // IP_VS_CONN_F_NOOUTPUT: answers do not come by here, as they do by nat
	syncInactive = 0x0100 // IP_VS_CONN_F_INACTIVE: not established
	syncTemplate = 0x1000 // IP_VS_CONN_F_TEMPLATE: of a persistent client

	maxSyncEntries = 255 // the header counts them in one byte
)

// tcpStates are the kernel's numbers of a TCP connection's states.
var tcpStates = map[string]uint16{
	"ESTABLISHED": 1, "SYN_SENT": 2, "SYN_RECV": 3, "FIN_WAIT": 4, "TIME_WAIT": 5, "CLOSE": 6, "CLOSE_WAIT": 7, "LAST_ACK": 8,
}

// templateStates are those of a persistent client's template: a connection of it
// was seen to be answered, or not yet.
var templateStates = map[string]uint16{"NONE": 0, "ASSURED": 1}

const (
	tcpEstablished = 1
	udpNormal      = 0
)

// entry is a connection as it is told.
type entry struct {
	protocol                    ipvs.Protocol
	flags                       uint32
	state                       uint16
	timeout                     uint32 // seconds; 0: what the receiver has for the state
	client, virtual, realServer netip.AddrPort
}

// newEntry puts a connection of the list into the form in which it is told, with
// the way to its real server. False: it is of a kind that only the kernel can tell.
func newEntry(c ipvs.Connection, way ipvs.Forward) (entry, bool) {
	e := entry{flags: uint32(way), client: c.Client, virtual: c.Virtual, realServer: c.RealServer}
	if c.Client.Addr().Is4() != c.Virtual.Addr().Is4() || c.RealServer.Addr().Is4() != c.Virtual.Addr().Is4() {
		return e, false // of two families: the kernel does not tell it either
	}
	if way != ipvs.NAT {
		e.flags |= syncNoOutput
	}
	switch c.Protocol {
	case "TCP":
		e.protocol = ipvs.TCP
	case "UDP":
		e.protocol = ipvs.UDP
	default:
		return e, false
	}
	if state, template := templateStates[c.State]; template && c.Client.Port() == 0 {
		e.flags, e.state = e.flags|syncTemplate|syncInactive, state
		e.timeout = uint32(max(c.Expires.Seconds(), 1))
		return e, true
	}
	if e.protocol == ipvs.UDP {
		e.state, e.flags = udpNormal, e.flags|syncInactive
		return e, c.State == "UDP"
	}
	var known bool
	if e.state, known = tcpStates[c.State]; e.state != tcpEstablished {
		e.flags |= syncInactive
	}
	return e, known
}

// size is that of the entry in a message.
func (e entry) size() int {
	if e.virtual.Addr().Is4() {
		return syncEntry4
	}
	return syncEntry6
}

// append writes the entry: struct ip_vs_sync_v4, ip_vs_sync_v6.
func (e entry) append(b []byte) []byte {
	kind := byte(0)
	if !e.virtual.Addr().Is4() {
		kind = syncInet6
	}
	b = append(b, kind, byte(e.protocol))
	b = binary.BigEndian.AppendUint16(b, uint16(e.size())) // the upper four bits: version 0 of the entry
	b = binary.BigEndian.AppendUint32(b, e.flags)
	b = binary.BigEndian.AppendUint16(b, e.state)
	for _, a := range []netip.AddrPort{e.client, e.virtual, e.realServer} {
		b = binary.BigEndian.AppendUint16(b, a.Port())
	}
	b = binary.BigEndian.AppendUint32(b, 0) // the mark, which the list does not say
	b = binary.BigEndian.AppendUint32(b, e.timeout)
	for _, a := range []netip.AddrPort{e.client, e.virtual, e.realServer} {
		b = append(b, a.Addr().AsSlice()...)
	}
	return b
}

// A message grows by entries until it is full.
type message struct {
	id      uint8
	most    int // bytes
	b       []byte
	entries int
}

// add puts one more entry in; false: there is no room, take the bytes first.
func (m *message) add(e entry) bool {
	if len(m.b) == 0 {
		m.b, m.entries = append(m.b, 0, m.id, 0, 0, 0, syncVersion, 0, 0), 0
	}
	if m.entries == maxSyncEntries || len(m.b)+e.size() > m.most {
		return false
	}
	m.b = e.append(m.b)
	m.entries++
	return true
}

// take answers the message and begins the next; nil when there is nothing in it.
func (m *message) take() []byte {
	if m.entries == 0 {
		return nil
	}
	b := m.b
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[4] = byte(m.entries)
	m.b, m.entries = m.b[:0], 0
	return b
}
