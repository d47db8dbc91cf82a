// This file reads addresses and the other small languages inside strings:
// prefixes, netmasks, ports, names, paths. Each function gives either a value
// or a complaint that says what to write instead. Names are never looked up.
//
// PURE.
package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// nameLetters are the characters of a name that becomes a label of metrics and
// an argument of commands.
const nameLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

// nameComplaint judges the name of a director, an election or a service.
func nameComplaint(s string) string {
	switch {
	case s == "":
		return "must not be empty"
	case len(s) > 64:
		return fmt.Sprintf("must be at most 64 characters, not %d", len(s))
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(nameLetters, r) }) {
		return "must be made of letters, digits, dot, dash and underscore, not " + quoted(s) + ": it becomes a label of the metrics"
	}
	return ""
}

// interfaceComplaint judges an interface's name as the kernel would
// (dev_valid_name in net/core/dev.c).
func interfaceComplaint(s string) string {
	switch {
	case s == "":
		return "must not be empty"
	case len(s) > 15:
		return fmt.Sprintf("must be at most 15 bytes for the kernel, not %d", len(s))
	case s == ".", s == "..", strings.ContainsAny(s, "/: \t\n\v\f\r\x00"):
		return "is not the name of an interface: " + quoted(s)
	}
	return ""
}

// fileComplaint judges the path of a file or folder.
func fileComplaint(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return "must be an absolute path, not " + quoted(s)
	case strings.ContainsRune(s, 0):
		return "must not contain a NUL byte"
	}
	return ""
}

// ipAddress reads an address that a host can have.
func ipAddress(s string) (netip.Addr, string) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, quoted(s) + ` is not an IP address, such as "10.0.0.9"; names are not looked up`
	}
	return a, hostComplaint(a)
}

// hostComplaint judges whether a host can have an address.
func hostComplaint(a netip.Addr) string {
	switch {
	case a.Zone() != "":
		return "must be without a zone: leave out %" + a.Zone()
	case a.Is4In6():
		return "is an IPv4 address inside an IPv6 one: write it as " + a.Unmap().String()
	case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return a.String() + " is not the address of a host"
	}
	return ""
}

// mustSay stands for the port that an address must have written.
const mustSay = -1

// addressPort reads IP:PORT. The port stands for one that is missing. Whether
// the port may be 0 is the caller's to judge.
func addressPort(s string, port int) (netip.AddrPort, string) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
		switch {
		case err == nil && port == mustSay:
			return ap, fmt.Sprintf("has no port: write %q", netip.AddrPortFrom(a.WithZone("").Unmap(), 80).String())
		case err != nil:
			return ap, quoted(s) + ` is not IP:PORT, such as "10.0.0.9:80" or "[2001:db8::9]:80"; names are not looked up`
		}
		ap = netip.AddrPortFrom(a, uint16(port))
	}
	return ap, hostComplaint(ap.Addr())
}

const noPortZero = "port 0 is not one that a server can have: write a port from 1 to 65535"

// hostNameComplaint judges a name that is to be looked up (RFC 1123 §2.1, and
// underscores, which DNS takes).
func hostNameComplaint(s string) string {
	if name := strings.TrimSuffix(s, "."); len(name) > 253 || !labels(name) {
		return quoted(s) + " is not a name of DNS"
	}
	return ""
}

// labels says whether each part between the dots is a label of DNS.
func labels(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool { return !strings.ContainsRune(nameLetters, r) }) {
			return false
		}
	}
	return true
}

// prefix reads an address with or without a prefix length.
func prefix(s string) (netip.Prefix, string) {
	if !strings.Contains(s, "/") {
		a, complaint := ipAddress(s)
		return netip.PrefixFrom(a, a.BitLen()), complaint
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, quoted(s) + ` is not an address with a prefix length, such as "10.0.0.88/32"`
	}
	if complaint := hostComplaint(p.Addr()); complaint != "" {
		return p, complaint
	}
	if p.Bits() < p.Addr().BitLen()-1 && p == p.Masked() {
		return p, p.Addr().String() + " is the address of the network, not of a host in it"
	}
	return p, ""
}

// maskBits reads a netmask or prefix length for addresses of that many bits.
func maskBits(s string, of int) (int, string) {
	if n, err := strconv.Atoi(strings.TrimPrefix(s, "/")); err == nil {
		if n < 1 || n > of {
			return 0, fmt.Sprintf("must be a prefix length of 1 to %d, not %d", of, n)
		}
		return n, ""
	}
	a, err := netip.ParseAddr(s)
	switch {
	case of == 128:
		return 0, `must be an IPv6 prefix length such as "64", not ` + quoted(s)
	case err != nil || !a.Is4():
		return 0, `must be a netmask such as "255.255.255.0", not ` + quoted(s)
	}
	bits, ended := 0, false
	for _, b := range a.As4() {
		for i := 7; i >= 0; i-- {
			one := b>>i&1 == 1
			if one && ended {
				return 0, quoted(s) + " is not a netmask: its ones are not in one piece"
			}
			if !one {
				ended = true
			} else {
				bits++
			}
		}
	}
	if bits == 0 {
		return 0, "must not be 0.0.0.0, which would make all clients one"
	}
	return bits, ""
}
