package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// ProxyHeader returns the PROXY header of version "v1" or "v2" for a connection between two
// addresses: this machine is the client (HAProxy, doc/proxy-protocol.txt §2.1, §2.2).
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

// Unmapped returns an IPv4-mapped address as IPv4, without its zone.
func Unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
