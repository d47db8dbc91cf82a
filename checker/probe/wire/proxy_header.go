package wire

import (
	"fmt"
	"net/netip"
)

// ProxyHeader returns the PROXY header of version "v1" or "v2" for a connection between two
// addresses (HAProxy, doc/proxy-protocol.txt §2.1, §2.2): with v1 this machine is the
// client; v2 has a command for connections that are made for no client, such as a check's.
func ProxyHeader(version string, from, to netip.AddrPort) []byte {
	from, to = Unmapped(from), Unmapped(to)
	if version == "v1" {
		family := "TCP4"
		if to.Addr().Is6() {
			family = "TCP6"
		}
		return fmt.Appendf(nil, "PROXY %s %v %v %d %d\r\n", family, from.Addr(), to.Addr(), from.Port(), to.Port())
	}
	return []byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00") // version 2, command LOCAL, no addresses
}

// Unmapped returns an IPv4-mapped address as IPv4, without its zone.
func Unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
