// This file builds the checks: what a check of each type may say, and how a
// check written once for a service becomes one for each of its real servers.
// It never probes.
//
// PURE.
package config

import (
	"cmp"
	"maps"
	"net/netip"
	"regexp"
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
	family           bool // the mismatch of source and target has been said
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
	switch k.Type {
	case "tcp":
		k.Send, k.Expect = c.str("send"), c.pattern("expect")
	case "http", "https":
		c.request(k)
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
		if f.set && k.types != nil && !slices.Contains(k.types, kind) {
			c.fail(f.node.key, c.path.key(k.name), "means nothing in a check of type %q: it belongs to %s", kind, list(supportedOf(k.types)))
			f.bad = true
		}
	}
}

// supportedOf leaves out the types of check that do not work yet.
func supportedOf(types []string) []string {
	return slices.DeleteFunc(slices.Clone(types), func(s string) bool { return !slices.Contains(checkTypes, s) })
}

// target reads the key address of a check: IP:PORT, or IP or :PORT alone, the
// other half being the real server's.
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
	} else {
		p.override, complaint = addressPort(s, 0)
		p.anyHost, p.anyPort = false, false
	}
	if complaint != "" {
		p.anyHost, p.anyPort = true, true
		c.spoil("address", "%s", complaint)
	}
}

// pattern reads a regular expression. Each is compiled once, however many real
// servers carry it.
func (c *record) pattern(name string) string {
	s := c.str(name)
	complaint, known := c.patterns[s]
	if !known {
		if _, err := regexp.Compile(s); err != nil {
			complaint = strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		}
		c.patterns[s] = complaint
	}
	if complaint != "" {
		c.complain(name, `is not a regular expression: %s; put a backslash before characters that are meant literally`, complaint)
	}
	return s
}

// request reads the keys of http and https.
func (c *record) request(k *Check) {
	k.Method, k.Path, k.Host = c.str("method"), c.str("path"), c.str("host")
	k.BodyExpect = c.pattern("expect")
	k.Headers, _ = c.get("headers").(map[string]string)
	k.Status = c.statuses()
	if !token(k.Method) {
		c.complain("method", `must be a method such as "GET" or "HEAD", not %s`, quoted(k.Method))
	}
	if k.Method == "HEAD" && k.BodyExpect != "" {
		c.complain("expect", "cannot match: an answer to HEAD has no body")
	}
	if !strings.HasPrefix(k.Path, "/") || strings.ContainsFunc(k.Path, unprintable) {
		c.complain("path", `must begin with a slash and be free of spaces, such as "/healthz", not %s`, quoted(k.Path))
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
	if k.Type == "https" {
		k.TLS = TLS{Verify: c.flag("verify"), ServerName: c.str("server_name"), CAFile: c.str("ca_file")}
		if k.TLS.CAFile != "" {
			if complaint := fileComplaint(k.TLS.CAFile); complaint != "" {
				c.complain("ca_file", "%s", complaint)
			}
		}
		if s := k.TLS.ServerName; c.set("server_name") && c.good("server_name") && (s == "" || strings.ContainsAny(s, "/@?#:") && !isAddress(s) || strings.ContainsFunc(s, unprintable)) {
			c.complain("server_name", `must be a name as in a certificate, such as "www.example.com", not %s`, quoted(s))
		}
	}
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
func (p *checkPlan) resolve(server netip.AddrPort) Check {
	k := p.check
	host, port := server.Addr(), server.Port()
	if !p.anyHost {
		host = p.override.Addr()
	}
	if !p.anyPort {
		port = p.override.Port()
	}
	k.Address = netip.AddrPortFrom(host, port)
	if k.From.IsValid() && host.IsValid() && k.From.Is4() != host.Is4() && !p.family {
		p.family = true
		p.record.complain("from", "%s cannot reach %s: one is IPv4, the other IPv6", k.From, host)
	}
	if k.Type != "http" && k.Type != "https" {
		return k
	}
	if k.Host == "" {
		k.Host = hostHeader(k.Type, k.Address)
	}
	if k.Type == "https" && k.TLS.ServerName == "" {
		k.TLS.ServerName = hostOnly(k.Host)
	}
	return k
}

// hostHeader is the Host header for an address: without the port where it is
// the scheme's own (RFC 9110 §7.2).
func hostHeader(scheme string, a netip.AddrPort) string {
	if scheme == "http" && a.Port() == 80 || scheme == "https" && a.Port() == 443 {
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
