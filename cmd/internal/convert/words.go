// Values that all formats share: addresses, durations, command lines and names.

package convert

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ParseSeconds reads seconds with a fraction: "3", "0.25".
func ParseSeconds(s string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > 1e8 {
		return 0, false
	}
	return time.Duration(f*1e6+0.5) * time.Microsecond, true
}

// ParseInt reads a whole number in a range.
func ParseInt(s string, low, high int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= low && n <= high
}

// ParseBool reads a boolean of keepalived or ldirectord.
func ParseBool(s string) (value, good bool) {
	switch strings.ToLower(s) {
	case "on", "true", "yes", "1":
		return true, true
	case "off", "false", "no", "0":
		return false, true
	}
	return false, false
}

// ParseAddr reads an address, with or without brackets.
func ParseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// FormatEndpoint writes an address with a port, without it if the port is negative.
func FormatEndpoint(a netip.Addr, port int) string {
	switch {
	case port >= 0:
	case a.Is6(): // config takes the last group of one without brackets for a port
		return "[" + a.String() + "]"
	default:
		return a.String()
	}
	return netip.AddrPortFrom(a, uint16(port)).String()
}

// MailServer writes a mail server as HOST:PORT, with the port of SMTP if there is none.
func MailServer(host, port string) string {
	if port == "" {
		port = "25"
	}
	if a, ok := ParseAddr(host); ok && a.Is6() {
		return "[" + a.String() + "]:" + port
	}
	return host + ":" + port
}

// SplitWords splits a line at spaces, respecting single and double quotes, and
// removes these.
func SplitWords(s string) []string {
	var all []string
	var b strings.Builder
	in, quote := false, rune(0)
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, in = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if in {
				all, in = append(all, b.String()), false
				b.Reset()
			}
		default:
			in = true
			b.WriteRune(r)
		}
	}
	if in {
		all = append(all, b.String())
	}
	return all
}

// WordAfter returns the word after the i-th, or "".
func WordAfter(all []string, i int) string {
	if i+1 < len(all) {
		return all[i+1]
	}
	return ""
}

// Argv returns a program and its arguments, given as one string or as words. Without an
// absolute path, /bin/sh runs the line, for PATH and redirections.
func Argv(given []string) []string {
	line := strings.Join(given, " ")
	argv := given
	if len(given) == 1 {
		argv = SplitWords(given[0])
	} else {
		quoted := make([]string, len(given))
		for i, w := range given {
			quoted[i] = w
			if strings.ContainsAny(w, " \t'\"") {
				quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
			}
		}
		line = strings.Join(quoted, " ")
	}
	if len(argv) == 0 {
		return nil
	}
	if strings.HasPrefix(argv[0], "/") {
		return argv
	}
	return []string{"/bin/sh", "-c", line}
}

// IsHostMask reports whether a mask is that of a single host, the default.
func IsHostMask(mask string) bool {
	return mask == "255.255.255.255" || mask == "32" || mask == "128" || mask == "/32" || mask == "/128"
}

// portNames are the names of services by their usual ports.
var portNames = map[int]string{
	21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 53: "dns", 80: "http", 110: "pop3", 119: "nntp", 123: "ntp", 143: "imap",
	389: "ldap", 443: "https", 465: "smtps", 514: "syslog", 587: "submission", 636: "ldaps", 993: "imaps", 995: "pop3s",
	1521: "oracle", 1812: "radius", 1883: "mqtt", 3128: "proxy", 3306: "mysql", 5060: "sip", 5432: "pgsql", 6379: "redis",
	6443: "kubernetes", 8080: "http-8080", 8443: "https-8443",
}

// Namer returns out names that config takes, each once: it knows how often each
// was wanted.
type Namer map[string]int

func (n Namer) Unique(wanted, otherwise string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || r == '-' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' {
			return r
		}
		return '-'
	}, wanted)
	if strings.Trim(clean, "-") == "" {
		clean = otherwise
	}
	clean = clean[:min(len(clean), 60)]
	name := clean
	for n[name] > 0 {
		n[clean]++
		name = clean + "-" + strconv.Itoa(n[clean])
	}
	n[name]++
	return name
}

// Service returns a name for a service made of its address.
func (n Namer) Service(protocol string, a netip.Addr, port int) string {
	what, known := portNames[port]
	switch {
	case !known && port > 0:
		return n.Unique(protocol+"-"+a.String()+"-"+strconv.Itoa(port), "service")
	case !known:
		what = protocol
	case protocol != "tcp":
		what += "-" + protocol
	}
	return n.Unique(what+"-"+a.String(), "service")
}

// HoistCheck moves the check that all real servers of a service have to the service, so
// that a server which is added later has it, too. One that names the address of a server
// stays with that server.
func HoistCheck(service *Table) {
	servers := service.Tables("real_servers")
	if len(servers) == 0 {
		addAlwaysUp(service)
		return
	}
	common := servers[0].Entry("check")
	text := Literal(common.Value)
	for _, s := range servers {
		if !Equal(s.Get("check"), common.Value) || strings.Contains(text, hostOf(s.Str("address"))) {
			return
		}
	}
	service.Set("check", common.Value, common.From)
	for _, s := range servers {
		s.Delete("check")
	}
}

// hostOf returns the address of a real server without its port.
func hostOf(address string) string {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return ap.Addr().String()
	}
	return strings.Trim(address, "[]")
}

// addAlwaysUp adds { type = "on" } to a service without servers, where there is no
// default.
func addAlwaysUp(service *Table) {
	if service.Has("check") || connectCheck(service) != nil {
		return
	}
	on := &Table{From: service.From}
	on.Set("type", "on", service.From)
	service.Set("check", on, service.From)
}

// CheckValue returns the value of the key check: a table, or a list of several.
func CheckValue(all []*Table) any {
	if len(all) == 1 {
		return all[0]
	}
	return all
}

// Lookup reads an address with a port, either of which may be a name. The port is 0
// where there is none.
func Lookup(s, protocol string, w Env) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	if a, ok := ParseAddr(s); ok {
		return netip.AddrPortFrom(a, 0), nil
	}
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
	}
	a, ok := ParseAddr(host)
	if !ok {
		if w.LookupHost == nil {
			return netip.AddrPort{}, fmt.Errorf("%q is not an address", host)
		}
		found, err := w.LookupHost(host)
		if err != nil || len(found) == 0 {
			return netip.AddrPort{}, fmt.Errorf("%q is not an address, and no host of this name is found: write the address", host)
		}
		a = found[0].Unmap()
	}
	if port == "" {
		return netip.AddrPortFrom(a, 0), nil
	}
	n, ok := ParseInt(port, 0, 65535)
	if !ok {
		if w.LookupPort == nil {
			return netip.AddrPort{}, fmt.Errorf("%q is not a port", port)
		}
		var err error
		if n, err = w.LookupPort(protocol, port); err != nil {
			return netip.AddrPort{}, fmt.Errorf("%q is not a port, and no service of this name is found", port)
		}
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}

// Abbreviate returns the beginning of a line, for a note.
func Abbreviate(text string) string {
	const enough = 60
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= enough {
		return text
	}
	cut := strings.LastIndexByte(text[:enough], ' ')
	if cut < 0 {
		cut = enough
	}
	return strings.ToValidUTF8(text[:cut], "") + " …"
}

// SecretKeywords are keywords whose arguments are secret.
var SecretKeywords = map[string]bool{"auth_pass": true, "password": true, "passwd": true, "secret": true, "login": true}

// MaxRange bounds the services of a range of addresses.
const MaxRange = 512
