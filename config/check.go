// This file builds the checks: what a check of each type may say, and how a
// check written once for a service becomes one for each of its real servers.
// It never probes.
//
// PURE.
package config

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// checkPlan is a check before it is known which real server it probes.
type checkPlan struct {
	record   *record
	check    Check // all but what depends on the real server
	override netip.AddrPort
	// anyHost: override has no address of its own, only a port; likewise
	// anyPort.
	anyHost, anyPort bool
	// What depends on the real server and has been said for one of them.
	family, portless, through bool
}

// plans reads the checks under the key "check" of a service or real server.
func (c *record) plans() []*checkPlan {
	records := c.records("check")
	if len(records) == 0 && c.set("check") && c.good("check") {
		c.complain("check", `must hold at least one check: { type = "on" } is one that is always up`)
		return nil
	}
	plans := make([]*checkPlan, 0, len(records))
	for _, r := range records {
		plans = append(plans, r.plan())
	}
	return plans
}

// plan reads one check.
func (c *record) plan() *checkPlan {
	p := &checkPlan{record: c, anyHost: true, anyPort: true}
	k := &p.check
	k.Type, k.Position = c.str("type"), c.at
	k.Interval, k.Timeout = c.duration("interval"), c.duration("timeout")
	k.Rise, k.Fall = int(c.num("rise")), int(c.num("fall"))
	k.Mark = uint32(c.num("mark"))
	c.applicable(k.Type)

	if !c.set("timeout") {
		k.Timeout = min(defaultTimeout, k.Interval)
	}
	if k.FastInterval = c.duration("fast_interval"); k.FastInterval == 0 {
		k.FastInterval = k.Interval
	}
	if k.FastInterval > k.Interval {
		c.complain("fast_interval", "must be at most interval, which is %s, not %s", short(k.Interval), short(k.FastInterval))
	}
	if k.Timeout > k.Interval {
		c.doubt("timeout", "%s is longer than interval, %s: a probe that hangs delays the next one, and a dead server is noticed later", short(k.Timeout), short(k.Interval))
	}
	if s := c.str("from"); s != "" {
		from, complaint := ipAddress(s)
		if complaint != "" {
			c.complain("from", "%s", complaint)
		} else {
			k.From = from
		}
	}
	if c.set("address") && c.good("address") {
		p.target(c.str("address"))
	}
	if k.Through = c.flag("through"); k.Through && !p.anyHost {
		c.complain("through", "probes the service's address on the real server, and address names another: leave one out")
	}
	if k.Through && k.Mark != 0 {
		c.complain("mark", "is chosen by through, from [ipvs] through_marks: leave one out")
	}
	switch k.Type {
	case "tcp":
		c.dialogue(k)
		c.encryption(k)
	case "udp":
		c.datagram(k)
	case "http", "https":
		c.request(k)
		c.encryption(k)
	case "ping":
		k.Count = int(c.num("count"))
	case "dns":
		c.query(k)
	case "smtp":
		c.greeting(k)
		c.encryption(k)
	case "exec":
		c.program(k)
	case "agent":
		p.agent()
	case "grpc":
		k.GRPCService = c.str("service")
		c.encryption(k)
	}
	return p
}

// applicable refuses keys that a check of this type does not look at.
func (c *record) applicable(kind string) {
	if kind == "" {
		return // what is wrong with the type has been said
	}
	for i, k := range c.table.keys {
		f := &c.fields[i]
		if f.set && !f.bad && k.types != nil && !slices.Contains(k.types, kind) {
			c.fail(f.node.key, c.path.key(k.name), "means nothing in a check of type %q: it belongs to %s", kind, list(k.types))
			f.bad = true
		}
	}
}

// target reads the key address of a check: IP:PORT, or IP or :PORT alone, the
// other half being the real server's. In place of the IP there may be a name.
func (p *checkPlan) target(s string) {
	c, complaint := p.record, ""
	if port, only := strings.CutPrefix(s, ":"); only {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			complaint = "must be a port from 1 to 65535 after the colon, not " + quoted(s)
		}
		p.override, p.anyPort = netip.AddrPortFrom(netip.Addr{}, uint16(n)), false
	} else if a, err := netip.ParseAddr(s); err == nil {
		complaint = hostComplaint(a)
		p.override, p.anyHost = netip.AddrPortFrom(a, 0), false
	} else if named(s) {
		complaint = p.name(s)
	} else {
		p.override, complaint = addressPort(s, mustSay)
		if complaint == "" && p.override.Port() == 0 {
			complaint = noPortZero
		}
		p.anyHost, p.anyPort = false, false
	}
	if complaint != "" {
		p.anyHost, p.anyPort = true, true
		c.spoil("address", "%s", complaint)
	}
}

// named tells a name with or without a port from an address that is wrong: no
// top-level domain is a number (RFC 3696 §2).
func named(s string) bool {
	name, _, _ := strings.Cut(s, ":")
	name = strings.TrimSuffix(name, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Count(s, ":") < 2 && strings.Trim(last, "0123456789") != ""
}

// name reads a name with or without a port.
func (p *checkPlan) name(s string) (complaint string) {
	name, port, withPort := strings.Cut(s, ":")
	p.check.HostName, p.anyHost = strings.TrimSuffix(name, "."), false
	if withPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return "must have a port from 1 to 65535 after the colon, not " + quoted(s)
		}
		p.override, p.anyPort = netip.AddrPortFrom(netip.Addr{}, uint16(n)), false
	}
	return hostNameComplaint(name)
}

// pattern reads a regular expression. Each is compiled once, however many real
// servers carry it.
func (c *record) pattern(name string) string {
	s := c.str(name)
	complaint, known := c.patterns[s]
	if !known {
		if _, err := regexp.Compile(s); err != nil {
			complaint = regexpComplaint(err)
		}
		c.patterns[s] = complaint
	}
	if complaint != "" {
		c.complain(name, `is not a regular expression: %s; put a backslash before characters that are meant literally`, complaint)
	}
	return s
}

// regexpComplaint is what is wrong with an expression, with the place in it where
// that is short: a whole one may have a secret in it.
func regexpComplaint(err error) string {
	var e *syntax.Error
	if !errors.As(err, &e) || len(e.Expr) >= 8 {
		if e != nil {
			return e.Code.String()
		}
		return "it cannot be read"
	}
	return e.Code.String() + ": `" + e.Expr + "`"
}

// beforeQuery quotes a path without what follows its question mark, which may be a
// secret.
func beforeQuery(path string) string {
	path, _, more := strings.Cut(path, "?")
	if more {
		return quoted(path+"?") + "…"
	}
	return quoted(path)
}

// request reads the keys of http and https.
func (c *record) request(k *Check) {
	k.Method, k.Path, k.Host = c.str("method"), c.str("path"), c.str("host")
	k.BodyExpect = c.pattern("expect")
	k.Headers, _ = c.get("headers").(map[string]string)
	k.HeadersFile = c.file("headers_file")
	k.Status = c.statuses()
	if !token(k.Method) {
		c.complain("method", `must be a method such as "GET" or "HEAD", not %s`, quoted(k.Method))
	}
	if k.Method == "HEAD" && k.BodyExpect != "" {
		c.complain("expect", "cannot match: an answer to HEAD has no body")
	}
	if !strings.HasPrefix(k.Path, "/") || strings.ContainsFunc(k.Path, unprintable) {
		c.complain("path", `must begin with a slash and be free of spaces, such as "/healthz", not %s`, beforeQuery(k.Path))
	}
	if c.set("host") && (k.Host == "" || strings.ContainsAny(k.Host, "/@?#") || strings.ContainsFunc(k.Host, unprintable)) {
		c.complain("host", `must be a host name as in a URL, such as "www.example.com", not %s`, quoted(k.Host))
	}
	f, _ := c.field("headers")
	for _, name := range slices.Sorted(maps.Keys(k.Headers)) {
		value := k.Headers[name]
		complaint := ""
		switch {
		case !token(name):
			complaint = "is not the name of a header"
		case strings.EqualFold(name, "Host"):
			complaint = "is the key host of the check: write it there"
		case strings.ContainsAny(value, "\r\n\x00"):
			complaint = "must be one line"
		}
		if complaint != "" && f.node != nil {
			c.fail(f.node.get(name).value, c.path.key("headers").key(name), "%s", complaint)
		}
	}
	c.answer(k)
}

func isAddress(s string) bool { _, err := netip.ParseAddr(s); return err == nil }

// unprintable are the characters that may not stand in a request line.
func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }

// token says whether s is a token of HTTP (RFC 9110 §5.6.2).
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// statuses reads "200-299, 401".
func (c *record) statuses() []StatusRange {
	s := c.str("status")
	var ranges []StatusRange
	for part := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err1 := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
		last, err2 := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
		if err1 != nil || err2 != nil || first < 100 || last > 599 || first > last {
			c.complain("status", `must be codes from 100 to 599 or ranges of them, such as "200-299" or "200, 301-302", not %s`, quoted(s))
			return nil
		}
		ranges = append(ranges, StatusRange{int(first), int(last)})
	}
	slices.SortFunc(ranges, func(a, b StatusRange) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	return slices.Compact(ranges)
}

// resolve makes the check for one real server.
func (p *checkPlan) resolve(server RealServer) Check {
	k := p.check
	host, port := server.Address.Addr(), server.Address.Port()
	if !p.anyHost {
		host = p.override.Addr()
	}
	if !p.anyPort {
		port = p.override.Port()
	}
	if k.Type == "ping" {
		port = 0
	}
	k.Address = netip.AddrPortFrom(host, port)
	if server.Address.IsValid() {
		p.suits(k, server)
	}
	if k.Type == "agent" {
		k.Port = port
	}
	if k.Type == "http" || k.Type == "https" {
		if k.Host == "" {
			k.Host = p.hostHeader(k)
		}
	}
	if k.UseTLS && k.TLS.ServerName == "" {
		switch {
		case k.Host != "":
			k.TLS.ServerName = hostOnly(k.Host)
		case k.HostName != "":
			k.TLS.ServerName = k.HostName
		case host.IsValid():
			k.TLS.ServerName = host.String()
		}
	}
	return k
}

// suits judges what a check says by the real server that it is for, once.
func (p *checkPlan) suits(k Check, server RealServer) {
	host := k.Address.Addr()
	if k.From.IsValid() && host.IsValid() && k.From.Is4() != host.Is4() && !p.family {
		p.family = true
		p.record.complain("from", "%s cannot reach %s: one is IPv4, the other IPv6", k.From, host)
	}
	if k.Address.Port() == 0 && !p.portless && k.Type != "" && p.record.good("address") && !slices.Contains([]string{"ping", "exec", "on", "off"}, k.Type) {
		p.portless = true
		if k.Type == "agent" {
			p.record.fail(p.record.at, p.record.path.key("port"), "missing: say which port the agent answers on")
		} else {
			p.record.fail(p.record.at, p.record.path.key("address"), `missing: %s has no port, so say which one is probed, such as address = ":80"`, server.Address.Addr())
		}
	}
	if k.Through && server.Forward == "nat" && !p.through {
		p.through = true
		p.record.complain("through", `is for forward = "dr" and "tun": with "nat" real servers do not have the service's address`)
	}
}

// hostHeader is the Host header where the file says none.
func (p *checkPlan) hostHeader(k Check) string {
	if k.HostName == "" {
		return hostHeader(k.Type, k.Address)
	}
	if port := k.Address.Port(); port != schemePort[k.Type] {
		return k.HostName + ":" + strconv.Itoa(int(port))
	}
	return k.HostName
}

var schemePort = map[string]uint16{"http": 80, "https": 443}

// hostHeader is the Host header for an address: without the port where it is
// the scheme's own (RFC 9110 §7.2).
func hostHeader(scheme string, a netip.AddrPort) string {
	if a.Port() == schemePort[scheme] {
		if a.Addr().Is6() {
			return "[" + a.Addr().String() + "]"
		}
		return a.Addr().String()
	}
	return a.String()
}

// hostOnly takes the port and the brackets off a Host header.
func hostOnly(s string) string {
	if end := strings.LastIndexByte(s, ':'); end >= 0 && !strings.HasSuffix(s, "]") {
		s = s[:end]
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
}
