// This file reads and writes the small things that all formats share:
// addresses, durations, command lines, names. What cannot be read is told by
// false, and never ends anything.
//
// PURE.
package convert

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// seconds reads seconds with a fraction: "3", "0.25".
func seconds(s string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > 1e8 {
		return 0, false
	}
	return time.Duration(f*1e6+0.5) * time.Microsecond, true
}

// number reads a whole number in a range.
func number(s string, low, high int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= low && n <= high
}

// boolean reads what keepalived and ldirectord take for true and false.
func boolean(s string) (value, good bool) {
	switch strings.ToLower(s) {
	case "on", "true", "yes", "1":
		return true, true
	case "off", "false", "no", "0":
		return false, true
	}
	return false, false
}

// addr reads an address, also one in brackets.
func addr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// endpoint writes an address with a port, and without one where there is none.
func endpoint(a netip.Addr, port int) string {
	if port < 0 {
		return a.String()
	}
	return netip.AddrPortFrom(a, uint16(port)).String()
}

// words splits a line at spaces, heeding single and double quotes, which are
// taken off, as a shell does with what is in a quoted string already.
func words(s string) []string {
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

// after is the word behind the i-th, or "".
func after(all []string, i int) string {
	if i+1 < len(all) {
		return all[i+1]
	}
	return ""
}

// command makes a program and its arguments of what was written as one string
// or as words. Where the program is no absolute path, it is a line of the
// shell's, which finds it by PATH and knows redirections.
func command(given []string) []string {
	line := strings.Join(given, " ")
	argv := given
	if len(given) == 1 {
		argv = words(given[0])
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

// netmask says whether a mask makes a single host of it, which needs no word.
func wholeHost(mask string) bool {
	return mask == "255.255.255.255" || mask == "32" || mask == "128" || mask == "/32" || mask == "/128"
}

// portNames are how services are called by their usual ports.
var portNames = map[int]string{
	21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 53: "dns", 80: "http", 110: "pop3", 119: "nntp", 123: "ntp", 143: "imap",
	389: "ldap", 443: "https", 465: "smtps", 514: "syslog", 587: "submission", 636: "ldaps", 993: "imaps", 995: "pop3s",
	1521: "oracle", 1812: "radius", 1883: "mqtt", 3128: "proxy", 3306: "mysql", 5060: "sip", 5432: "pgsql", 6379: "redis",
	6443: "kubernetes", 8080: "http-8080", 8443: "https-8443",
}

// namer gives out names that config takes, each once: it knows how often each
// was wanted.
type namer map[string]int

func (n namer) name(wanted, otherwise string) string {
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

// service is a name for a service after its address.
func (n namer) service(protocol string, a netip.Addr, port int) string {
	what, known := portNames[port]
	switch {
	case !known && port > 0:
		return n.name(protocol+"-"+a.String()+"-"+strconv.Itoa(port), "service")
	case !known:
		what = protocol
	case protocol != "tcp":
		what += "-" + protocol
	}
	return n.name(what+"-"+a.String(), "service")
}

// hoist puts the check that most real servers of a service share into the
// service, and leaves the others where they are. The check of a server stands
// under "check" until then; common is what the service has without one.
func hoist(service *table, common any) {
	servers := service.tables("real_servers")
	best, most := any(nil), 0
	for i, s := range servers {
		if i > 100 { // a look at the first hundred is enough to choose by
			break
		}
		count := 0
		for _, other := range servers[:min(len(servers), 100)] {
			if same(s.get("check"), other.get("check")) {
				count++
			}
		}
		if count > most {
			best, most = s.get("check"), count
		}
	}
	if best == nil {
		checked(service)
		return
	}
	for _, s := range servers {
		if same(s.get("check"), best) {
			s.drop("check")
		}
	}
	if !same(best, common) {
		from := service.from
		if t, ok := best.(*table); ok {
			from = t.from
		}
		service.set("check", best, from)
	}
}

// checked gives a service that no check is said for, and that has no default,
// the one that is always up.
func checked(service *table) {
	if service.has("check") || service.text("protocol") == "" && !service.has("fwmark") {
		return
	}
	if all := service.tables("real_servers"); len(all) > 0 && all[0].has("check") {
		return
	}
	on := &table{from: service.from}
	on.set("type", "on", service.from)
	service.set("check", on, service.from)
}

// checks makes a value of a list of checks: one stands for itself.
func checks(all []*table) any {
	if len(all) == 1 {
		return all[0]
	}
	return all
}
