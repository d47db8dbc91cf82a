package link

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// testCache is a cache without sockets, with one subscriber of routes.
func testCache() *addrCache {
	h := &addrCache{links: map[int]netlink.Link{}, byName: map[string]int{}, addrs: map[int]*addrTable{},
		subscribers: map[*subscriber]bool{}, owners: map[netip.Addr]map[*subscriber]bool{}}
	h.subscribers[&subscriber{name: "eth0", wantsRoutes: true, changed: func() {}, routes: []Route{{}}}] = true
	return h
}

// linkMessage is a link message with one attribute.
func linkMessage(attr uint16, value []byte) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[4] = 2 // the interface's index
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, attr)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// TestMalformedMessages requires that a message that the library cannot parse is
// an error and makes the cache stale, and does not end the process.
func TestMalformedMessages(t *testing.T) {
	for name, m := range map[string]syscall.NetlinkMessage{
		"a link without a name":    {Header: syscall.NlMsghdr{Type: unix.RTM_NEWLINK}, Data: linkMessage(unix.IFLA_IFNAME, nil)},
		"an address of 15 octets":  {Header: syscall.NlMsghdr{Type: unix.RTM_NEWADDR}, Data: make([]byte, 15)},
		"cut in an attribute":      {Header: syscall.NlMsghdr{Type: unix.RTM_NEWADDR}, Data: append(make([]byte, unix.SizeofIfAddrmsg), 7, 0, 0, 0, 0, 0, 0)},
		"an address of two octets": {Header: syscall.NlMsghdr{Type: unix.RTM_NEWADDR}, Data: make([]byte, 2)},
	} {
		h := testCache()
		if h.apply(&m, map[*subscriber]bool{}); !h.stale {
			t.Errorf("%s: the cache is not stale", name)
		}
	}
	if err := checked(func() error { panic("index out of range") }); !errors.Is(err, errMalformed) {
		t.Errorf("a panic of the library: %v", err)
	}
}

func FuzzNotification(f *testing.F) {
	f.Add(uint16(unix.RTM_NEWLINK), uint16(0), linkMessage(unix.IFLA_IFNAME, []byte("eth0\x00")))
	f.Add(uint16(unix.RTM_NEWLINK), uint16(0), make([]byte, 15))
	f.Add(uint16(unix.RTM_NEWADDR), uint16(0), append(make([]byte, unix.SizeofIfAddrmsg), 8, 0, unix.IFA_LOCAL, 0, 10, 0, 0, 1))
	f.Add(uint16(unix.RTM_NEWROUTE), uint16(unix.NLM_F_REPLACE), append(make([]byte, unix.SizeofRtMsg), 8, 0, unix.RTA_DST, 0, 10, 0, 0, 1))
	f.Add(uint16(unix.RTM_NEWROUTE), uint16(unix.NLM_F_REPLACE), []byte("000000000000\a\x0000000")) // ends inside an attribute
	f.Fuzz(func(_ *testing.T, kind, flags uint16, data []byte) {
		h := testCache()
		m := syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind, Flags: flags}, Data: slices.Clone(data)}
		h.apply(&m, map[*subscriber]bool{})
	})
}
