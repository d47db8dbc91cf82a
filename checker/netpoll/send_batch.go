package netpoll

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// batchSize is how many segments one system call takes.
const batchSize = 32

// segmentSize holds an IPv4 header with options and a TCP header, in bytes.
const segmentSize = 128

// sendBatch has the buffers for sendmmsg(2) and recvmmsg(2); its zero value is ready.
type sendBatch struct {
	messages [batchSize]rawMessage
	iovecs   [batchSize]unix.Iovec
	addrs    [batchSize]rawSockaddr
	bytes    [batchSize][segmentSize]byte
}

// send sends the SYNs of the first batchSize probes and returns how many were sent. An
// error belongs to the first that was not sent.
func (m *sendBatch) send(fd int, all []*Inflight) (int, error) {
	all = all[:min(len(all), batchSize)]
	for i, f := range all {
		p := f.Probe.SYN
		header := appendSYN(m.bytes[i][:0], p.from, f.synKey.port, f.Probe.Dialer.To, f.synSeq)
		m.iovecs[i].Base = &header[0]
		m.iovecs[i].SetLen(len(header))
		msg := &m.messages[i].Msghdr
		*msg = unix.Msghdr{Name: &p.to.b[0], Namelen: p.to.n, Iov: &m.iovecs[i], Control: &p.control[0]}
		msg.SetIovlen(1)
		msg.SetControllen(len(p.control))
	}
	return rawSend(fd, m.messages[:len(all)])
}

// receive returns how many segments were received.
func (m *sendBatch) receive(fd int) (int, error) {
	for i := range m.messages {
		m.iovecs[i].Base = &m.bytes[i][0]
		m.iovecs[i].SetLen(segmentSize)
		msg := &m.messages[i].Msghdr
		*msg = unix.Msghdr{Name: &m.addrs[i].b[0], Namelen: uint32(len(m.addrs[i].b)), Iov: &m.iovecs[i]}
		msg.SetIovlen(1)
	}
	return rawReceive(fd, m.messages[:])
}

// segment returns the i-th received segment and its source address.
func (m *sendBatch) segment(i int) ([]byte, netip.Addr) {
	return m.bytes[i][:min(m.messages[i].n, segmentSize)], m.addrs[i].addrPort().Addr()
}
