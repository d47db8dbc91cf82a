package netpoll

import (
	"encoding/binary"
	"lvsd/checker/outcome"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// synRetransmit is the time after which an unanswered SYN is sent again (RFC 6298
// §2.1).
const synRetransmit = time.Second

// SYN is what a SYN scan keeps between two probes of one server. Its zero value is
// ready.
type SYN struct {
	source sourceAddr
	// The server's address and the control messages that go with each segment,
	// both made for the source address from.
	to      rawSockaddr
	from    netip.Addr
	control []byte
}

// prepare finds the source address and brings what depends on it up to date.
func (s *SYN) prepare(d *Dialer, now time.Time) error {
	from, err := s.source.resolve(d, now)
	if err != nil {
		return err
	}
	if from != s.from || s.to.n == 0 || d.To.Addr().Zone() != "" {
		if s.to, err = d.rawSockaddr(); err != nil {
			return err
		}
		s.to.clearPort() // a raw socket would take it for a protocol number
		s.from, s.control = from, synControl(from, d.Mark)
	}
	return nil
}

// synOutcome returns the outcome for the answer to a SYN.
func synOutcome(reason outcome.Reason) outcome.Outcome {
	if reason == outcome.Refused {
		return outcome.NewOutcome(outcome.Refused, outcome.PhaseConnect, "connection refused")
	}
	return outcome.NewOutcome(reason, outcome.PhaseConnect, "")
}

// synControl returns the control messages that go with a SYN: the source address,
// with which its checksum was computed, and the mark.
func synControl(from netip.Addr, mark uint32) []byte {
	var b []byte
	if from.Is4() {
		b = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: from.As4()})
	} else {
		b = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: from.As16()})
	}
	if mark == 0 {
		return b
	}
	at := len(b)
	b = append(b, make([]byte, unix.CmsgSpace(4))...)
	// struct cmsghdr is a length of a machine word, level and type.
	word := unix.CmsgLen(0) - 8
	if word == 8 {
		binary.NativeEndian.PutUint64(b[at:], uint64(unix.CmsgLen(4)))
	} else {
		binary.NativeEndian.PutUint32(b[at:], uint32(unix.CmsgLen(4)))
	}
	binary.NativeEndian.PutUint32(b[at+word:], unix.SOL_SOCKET)
	binary.NativeEndian.PutUint32(b[at+word+4:], unix.SO_MARK)
	binary.NativeEndian.PutUint32(b[at+unix.CmsgLen(0):], mark)
	return b
}

// sourceAddr caches the address that the kernel would send from, which the checksum of
// IPv4 includes. It is valid for sourceTTL, or until a probe fails.
type sourceAddr struct {
	addr       netip.Addr
	validUntil time.Time
}

const sourceTTL = time.Minute

func (s *sourceAddr) resolve(d *Dialer, now time.Time) (netip.Addr, error) {
	if now.Before(s.validUntil) {
		return s.addr, nil
	}
	fd, to, err := d.socket(unix.SOCK_DGRAM, 0)
	if err != nil {
		return netip.Addr{}, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return netip.Addr{}, err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}, err
	}
	s.addr, s.validUntil = addrPort(sa).Addr(), now.Add(sourceTTL)
	return s.addr, nil
}

func (s *sourceAddr) invalidate() { s.validUntil = time.Time{} }
