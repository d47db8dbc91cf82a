// Addresses, prefixes, netmasks, ports, host names, interfaces and paths.

package values

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// NameCharacters are the characters of a name that becomes a label of metrics and
// an argument of commands.
const NameCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

// CheckName validates the name of a director, an instance or a service.
func CheckName(s string) string {
	switch {
	case s == "":
		return "must not be empty"
	case len(s) > 64:
		return fmt.Sprintf("must be at most 64 characters, not %d", len(s))
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(NameCharacters, r) }) {
		return "must be made of letters, digits, dot, dash and underscore, not " + Quote(s) + ": it becomes a label of the metrics"
	}
	return ""
}

// CheckInterface validates an interface's name as the kernel would
// (dev_valid_name in net/core/dev.c).
func CheckInterface(s string) string {
	switch {
	case s == "":
		return "must not be empty"
	case len(s) > 15:
		return fmt.Sprintf("must be at most 15 bytes for the kernel, not %d", len(s))
	case s == ".", s == "..", strings.ContainsAny(s, "/: \t\n\v\f\r\x00"):
		return "is not the name of an interface: " + Quote(s)
	}
	return ""
}

// CheckPath validates the path of a file or folder.
func CheckPath(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return "must be an absolute path, not " + Quote(s)
	case strings.ContainsRune(s, 0):
		return "must not contain a NUL byte"
	}
	return ""
}

// ParseIP reads an address that a host can have.
func ParseIP(s string) (netip.Addr, string) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, Quote(s) + ` is not an IP address, such as "10.0.0.9"; names are not resolved`
	}
	return a, CheckHost(a)
}

// CheckHost validates that a host can have the address.
func CheckHost(a netip.Addr) string {
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

// RequirePort as the default port refuses an address without one.
const RequirePort = -1

// ParseAddrPort reads IP:PORT. port is the default. Whether
// port 0 is allowed is up to the caller.
func ParseAddrPort(s string, port int) (netip.AddrPort, string) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		if withPort := MissingBrackets(s); withPort != "" {
			return ap, fmt.Sprintf(`%s can be read in two ways: write %q, or "[%s]" for an address without a port`, Quote(s), withPort, s)
		}
		a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
		switch {
		case err == nil && port == RequirePort:
			return ap, fmt.Sprintf("has no port: write %q", netip.AddrPortFrom(a.WithZone("").Unmap(), 80).String())
		case err != nil:
			return ap, Quote(s) + ` is not IP:PORT, such as "10.0.0.9:80" or "[2001:db8::9]:80"; names are not resolved`
		}
		ap = netip.AddrPortFrom(a, uint16(port))
	}
	return ap, CheckHost(ap.Addr())
}

// MissingBrackets returns an IPv6 address with a port, as it must be written, for one
// whose last group could be either; "" for any other text.
func MissingBrackets(s string) string {
	cut := strings.LastIndexByte(s, ':')
	if cut < 0 {
		return ""
	}
	a, err := netip.ParseAddr(s[:cut])
	port, badPort := strconv.ParseUint(s[cut+1:], 10, 16)
	if err != nil || badPort != nil || a.Is4() {
		return ""
	}
	return netip.AddrPortFrom(a.WithZone(""), uint16(port)).String()
}

const NoPortZero = "port 0 is not a server's port: use a port from 1 to 65535"

// CheckHostName validates a name to be resolved (RFC 1123 §2.1, and
// underscores, which DNS allows).
func CheckHostName(s string) string {
	if name := strings.TrimSuffix(s, "."); len(name) > 253 || !isDNSLabels(name) {
		return Quote(s) + " is not a DNS name"
	}
	return ""
}

// isDNSLabels reports whether each part between the dots is a label of DNS.
func isDNSLabels(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool { return !strings.ContainsRune(NameCharacters, r) }) {
			return false
		}
	}
	return true
}

// ParsePrefix reads an address with or without a prefix length.
func ParsePrefix(s string) (netip.Prefix, string) {
	if !strings.Contains(s, "/") {
		a, problem := ParseIP(s)
		return netip.PrefixFrom(a, a.BitLen()), problem
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, Quote(s) + ` is not an address with a prefix length, such as "10.0.0.88/32"`
	}
	if problem := CheckHost(p.Addr()); problem != "" {
		return p, problem
	}
	if p.Bits() < p.Addr().BitLen()-1 && p == p.Masked() {
		return p, p.Addr().String() + " is the address of the network, not of a host in it"
	}
	return p, ""
}

// ParseNetmask reads a netmask or prefix length for addresses of that many bits.
func ParseNetmask(s string, of int) (int, string) {
	if n, err := strconv.Atoi(strings.TrimPrefix(s, "/")); err == nil {
		if n < 1 || n > of {
			return 0, fmt.Sprintf("must be a prefix length of 1 to %d, not %d", of, n)
		}
		return n, ""
	}
	a, err := netip.ParseAddr(s)
	switch {
	case of == 128:
		return 0, `must be an IPv6 prefix length such as "64", not ` + Quote(s)
	case err != nil || !a.Is4():
		return 0, `must be a netmask such as "255.255.255.0", not ` + Quote(s)
	}
	bits, ended := 0, false
	for _, b := range a.As4() {
		for i := 7; i >= 0; i-- {
			one := b>>i&1 == 1
			if one && ended {
				return 0, Quote(s) + " is not a netmask: its ones are not contiguous"
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

func IsIP(s string) bool { _, err := netip.ParseAddr(s); return err == nil }

// IsListenAddress reports whether s is IP:PORT or :PORT.
func IsListenAddress(s string) bool {
	if port, all := strings.CutPrefix(s, ":"); all {
		n, err := strconv.ParseUint(port, 10, 16)
		return err == nil && n > 0 && strings.Trim(port, "0123456789") == ""
	}
	ap, err := netip.ParseAddrPort(s)
	return err == nil && ap.Port() > 0 && !ap.Addr().IsMulticast()
}
