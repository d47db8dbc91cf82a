// The messages of the kernel's sync daemons, version 1 of the protocol
// (net/netfilter/ipvs/ip_vs_sync.c): building them.

package connsync

import (
	"encoding/binary"
	"net/netip"

	"lvsd/ipvs"
)

const (
	syncHeader = 8
	syncEntry4 = 36
	syncEntry6 = 72
	version    = 1
	syncInet6  = 1 // type of an entry of IPv6

	syncNoOutput = 0x0080 // IP_VS_CONN_F_NOOUTPUT: replies bypass the director, unlike with nat
	syncInactive = 0x0100 // IP_VS_CONN_F_INACTIVE: not established
	syncTemplate = 0x1000 // IP_VS_CONN_F_TEMPLATE: persistence template

	maxSyncEntries = 255 // the header counts them in one byte
)

// tcpStates are the kernel's numbers of the states of TCP (enum in
// include/net/ip_vs.h).
var tcpStates = map[string]uint16{
	"ESTABLISHED": 1, "SYN_SENT": 2, "SYN_RECV": 3, "FIN_WAIT": 4, "TIME_WAIT": 5, "CLOSE": 6, "CLOSE_WAIT": 7, "LAST_ACK": 8,
}

// templateStates are the states of a persistence template: whether a connection of it
// was established.
var templateStates = map[string]uint16{"NONE": 0, "ASSURED": 1}

const (
	tcpEstablished = 1
	udpNormal      = 0
)

// entry is a connection in a message.
type entry struct {
	protocol                    ipvs.Protocol
	flags                       uint32
	state                       uint16
	timeout                     uint32 // seconds; 0: what the receiver has for the state
	client, virtual, realServer netip.AddrPort
}

// newEntry returns the entry of a connection with the forwarding method of its real
// server. ok is false for connections that only the kernel can send.
func newEntry(c ipvs.Connection, forward ipvs.Forward) (entry, bool) {
	e := entry{flags: uint32(forward), client: c.Client, virtual: c.Virtual, realServer: c.RealServer}
	if c.Client.Addr().Is4() != c.Virtual.Addr().Is4() || c.RealServer.Addr().Is4() != c.Virtual.Addr().Is4() {
		return e, false // mixed address families: the kernel does not send those either
	}
	if forward != ipvs.NAT {
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

// size returns the length of the entry in bytes.
func (e entry) size() int {
	if e.virtual.Addr().Is4() {
		return syncEntry4
	}
	return syncEntry6
}

// append appends the entry: struct ip_vs_sync_v4 or ip_vs_sync_v6.
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
	b = binary.BigEndian.AppendUint32(b, 0) // the mark, which the list does not have
	b = binary.BigEndian.AppendUint32(b, e.timeout)
	for _, a := range []netip.AddrPort{e.client, e.virtual, e.realServer} {
		b = append(b, a.Addr().AsSlice()...)
	}
	return b
}

// message collects entries until it is full.
type message struct {
	id      uint8
	maxLen  int // bytes
	b       []byte
	entries int
}

// add appends an entry. It returns false if there is no room: flush the message first.
func (m *message) add(e entry) bool {
	if len(m.b) == 0 {
		m.b, m.entries = append(m.b, 0, m.id, 0, 0, 0, version, 0, 0), 0
	}
	if m.entries == maxSyncEntries || len(m.b)+e.size() > m.maxLen {
		return false
	}
	m.b = e.append(m.b)
	m.entries++
	return true
}

// flush returns the message and starts the next, nil if there are no entries. The bytes
// are valid until the next call of add.
func (m *message) flush() []byte {
	if m.entries == 0 {
		return nil
	}
	b := m.b
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[4] = byte(m.entries)
	m.b, m.entries = m.b[:0], 0
	return b
}
