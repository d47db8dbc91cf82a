// Messages of rtnetlink, parsed so that a malformed one is an error and no panic.

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// parseAddress parses an address message: struct ifaddrmsg and attributes.
func parseAddress(b []byte) (index int, e entry, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return 0, e, false
	}
	bits, flags, scope := int(b[1]), int(b[2]), int(b[3])
	index = int(int32(binary.NativeEndian.Uint32(b[4:8])))
	attrs, err := parseAttrs(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return 0, e, false
	}
	var address, local netip.Addr
	var label string
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_LABEL:
			label = unix.ByteSliceToString(a.Value)
		case unix.IFA_FLAGS:
			if len(a.Value) >= 4 {
				flags = int(binary.NativeEndian.Uint32(a.Value))
			}
		}
	}
	if local.IsValid() {
		address = local // on a point-to-point link IFA_ADDRESS is the peer
	}
	return index, entry{netip.PrefixFrom(address, bits), scope, flags, label}, address.IsValid()
}

// parseLink parses a link message: struct ifinfomsg and attributes.
func parseLink(b []byte) (l netlink.Link, err error) {
	err = checked(func() error {
		l, err = netlink.LinkDeserialize(nil, b)
		return err
	})
	return l, err
}

// parseAttrs parses the attributes at the end of a message.
func parseAttrs(b []byte) (attrs []syscall.NetlinkRouteAttr, err error) {
	err = checked(func() error {
		attrs, err = nl.ParseRouteAttr(b)
		return err
	})
	return attrs, err
}

var errMalformed = errors.New("malformed netlink message")

// checked returns a panic of the netlink library as an error: it indexes what it
// reads of the kernel without looking at the length.
func checked(read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errMalformed, p)
		}
	}()
	return read()
}
