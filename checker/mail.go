// This file sends and receives the segments of half handshakes by the batch, one
// system call for many. It never decides what a segment means.

package checker

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// mailRoom is how many segments one system call takes.
const mailRoom = 32

// mailSize holds an IPv4 header with options, and a TCP header.
const mailSize = 128

// mail is the room for one batch; its zero value is ready.
type mail struct {
	messages [mailRoom]rawMessage
	parts    [mailRoom]unix.Iovec
	names    [mailRoom]rawName
	bytes    [mailRoom][mailSize]byte
}

// send sends the SYNs of as many flights as there is room for, and says how many.
// An error is of the first that was not sent.
func (m *mail) send(fd int, all []*flight) (int, error) {
	all = all[:min(len(all), mailRoom)]
	for i, f := range all {
		p := f.light.syn
		header := appendSYN(m.bytes[i][:0], p.from, f.half.port, f.light.dialer.to, f.sequence)
		m.parts[i].Base = &header[0]
		m.parts[i].SetLen(len(header))
		msg := &m.messages[i].Msghdr
		*msg = unix.Msghdr{Name: &p.to.b[0], Namelen: p.to.n, Iov: &m.parts[i], Control: &p.control[0]}
		msg.SetIovlen(1)
		msg.SetControllen(len(p.control))
	}
	return rawSend(fd, m.messages[:len(all)])
}

// receive takes what there is, and says how many segments that is.
func (m *mail) receive(fd int) (int, error) {
	for i := range m.messages {
		m.parts[i].Base = &m.bytes[i][0]
		m.parts[i].SetLen(mailSize)
		msg := &m.messages[i].Msghdr
		*msg = unix.Msghdr{Name: &m.names[i].b[0], Namelen: uint32(len(m.names[i].b)), Iov: &m.parts[i]}
		msg.SetIovlen(1)
	}
	return rawReceive(fd, m.messages[:])
}

// at is a segment that came, and who sent it.
func (m *mail) at(i int) ([]byte, netip.Addr) {
	return m.bytes[i][:min(m.messages[i].n, mailSize)], m.names[i].address().Addr()
}
