// This file writes the header of the PROXY protocol, which a connection begins
// with: it says that this machine is itself the client.
//
// PURE.
package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// ProxyHeader is the header of version "v1" or "v2" for a connection from one
// address to another (HAProxy's doc/proxy-protocol.txt §2.1, §2.2).
func ProxyHeader(version string, from, to netip.AddrPort) []byte {
	from, to = Unmapped(from), Unmapped(to)
	if version == "v1" {
		family := "TCP4"
		if to.Addr().Is6() {
			family = "TCP6"
		}
		return fmt.Appendf(nil, "PROXY %s %v %v %d %d\r\n", family, from.Addr(), to.Addr(), from.Port(), to.Port())
	}
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21) // version 2, command PROXY
	if to.Addr().Is6() {
		b = append(b, 0x21, 0, 36) // TCP over IPv6
	} else {
		b = append(b, 0x11, 0, 12) // TCP over IPv4
	}
	b = append(b, from.Addr().AsSlice()...)
	b = append(b, to.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	return binary.BigEndian.AppendUint16(b, to.Port())
}

func Unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
