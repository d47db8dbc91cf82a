// Real servers and their checks.

package keepalived

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"lvsd/cmd/internal/convert"
)

// realServers converts the real servers of a service, each with its checks.
func (r *serverReader) realServers(s *convert.Table, t target) {
	quiesced, all, seen := 0, 0, map[string]bool{}
	for _, n := range r.servers {
		rs, inhibit := r.realServer(n, t)
		if rs == nil {
			continue
		}
		if seen[rs.Str("address")] {
			r.note(convert.LeftOut, n, "duplicate")
			continue
		}
		seen[rs.Str("address")] = true
		if convert.Equal(rs.Get("forward"), r.forward) {
			rs.Delete("forward")
		}
		all++
		if inhibit {
			quiesced++
		}
		s.Append("real_servers", rs)
	}
	r.onFailure(s, quiesced, all)
	convert.HoistCheck(s)
}

// onFailure writes what happens to failed servers, which is one setting a service.
func (r *serverReader) onFailure(s *convert.Table, quiesced, all int) {
	if quiesced > 0 && quiesced < all {
		r.notes.Add(convert.ToDo, r.from, "some of its servers have inhibit_on_failure and some do not: in lvsd on_failure is for all of a service, and now all have it")
	}
	switch {
	case all == 0:
	case quiesced > 0:
		s.Set("on_failure", "quiesce", r.from)
	default:
		s.Set("on_failure", "remove", r.from)
		r.notes.Hint(`on_failure = "remove" is what keepalived does without inhibit_on_failure: the connections of a failed server end. Without it lvsd gives the server weight 0, and they continue.`)
	}
}

// realServer converts one real_server, and reports whether it has
// inhibit_on_failure.
func (r *serverReader) realServer(b *node, t target) (rs *convert.Table, inhibit bool) {
	a, ok := convert.ParseAddr(b.arg(0))
	if !ok {
		r.note(convert.LeftOut, b, "%q is not an address, and names are not looked up", b.arg(0))
		return nil, false
	}
	port := t.port
	if p, given := convert.ParseInt(b.arg(1), 1, 65535); given {
		port = p
	}
	rs = &convert.Table{From: b.from}
	rs.Set("weight", r.weight, b.from)
	inhibit = r.inhibit
	when := r.timing.copy()
	forward := r.forward
	var probes []*node
	for _, n := range b.block {
		switch n.keyword() {
		case "weight":
			if w, ok := convert.ParseInt(n.arg(0), 0, 65535); ok {
				rs.Set("weight", w, n.from)
			} else {
				r.note(convert.LeftOut, n, "is not a weight from 0 to 65535")
			}
		case "lvs_method", "lb_kind":
			forward = r.method(n)
			rs.Set("forward", forward, n.from)
		case "uthreshold", "lthreshold":
			key := map[string]string{"uthreshold": "upper_threshold", "lthreshold": "lower_threshold"}[n.keyword()]
			if v, ok := convert.ParseInt(n.arg(0), 0, 1<<32-1); ok && v > 0 {
				rs.Set(key, v, n.from)
			}
		case "notify_up", "notify_down":
			r.serviceProgram(rs, n)
		case "inhibit_on_failure":
			inhibit = n.arg(0) == "" || yes(n.arg(0))
		case "TCP_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK", "DNS_CHECK", "MISC_CHECK", "PING_CHECK", "UDP_CHECK":
			if !n.ignored {
				probes = append(probes, n)
			}
		default:
			if !when.keyword(r.keepalived, n) {
				r.leaveOut(n, serverKeywords, "is not a setting of a real_server that keepalived.conf(5) describes")
			}
		}
	}
	p := checkReader{keepalived: r.keepalived, port: port}
	switch {
	case t.mark != 0 || t.port == 0:
		r.markPort(t, port, forward, b)
		port, p.otherPort = -1, port > 0
	case forward != "nat" && port != t.port:
		r.note(convert.NotNeeded, b, "port %d is only probed: without NAT a packet reaches a server at the port of the service, %d", port, t.port)
		port, p.otherPort = t.port, true
	}
	rs.Set("address", convert.FormatEndpoint(a, port), b.from)
	var all []*convert.Table
	for _, n := range probes {
		all = append(all, p.read(n, when)...)
	}
	if len(all) == 0 {
		on := &convert.Table{From: b.from}
		on.Set("type", "on", b.from)
		all = append(all, on)
	}
	rs.Set("check", convert.CheckValue(all), all[0].From)
	return rs, inhibit
}

// markPort notes the port of a server of a mark, to which the kernel sends what it masquerades.
func (r *serverReader) markPort(t target, port int, forward any, n *node) {
	if t.mark != 0 && port > 0 && forward == "nat" && !r.s.Has("persistence") {
		r.notes.Add(convert.ToDo, n.from, convert.MarkPort(port))
	}
}

// checkReader converts the checks of one real server.
type checkReader struct {
	*keepalived
	port      int  // of the real server, in keepalived
	otherPort bool // lvsd's real server does not have this port
}

// checkKinds are keepalived's checks: the type in lvsd, the default of retry, and of
// delay_before_retry (0 = delay_loop).
var checkKinds = map[string]struct {
	name  string
	retry int
	delay time.Duration
}{
	"TCP_CHECK": {"connect", 1, time.Second}, "HTTP_GET": {"http", 1, 3 * time.Second}, "SSL_GET": {"https", 1, 3 * time.Second},
	"SMTP_CHECK": {"smtp", 1, time.Second}, "DNS_CHECK": {"dns", 3, 0}, "MISC_CHECK": {"exec", 0, time.Second},
	"PING_CHECK": {"ping", 1, time.Second}, "UDP_CHECK": {"udp", 1, time.Second},
}

// read converts one check: several for several URLs or hosts.
func (p *checkReader) read(b *node, when timing) []*convert.Table {
	kind := checkKinds[b.keyword()]
	when = when.copy()
	c := &convert.Table{From: b.from}
	c.Set("type", kind.name, b.from)
	host, port := "", 0
	var urls, hosts []*node
	for _, n := range b.block {
		switch n.keyword() {
		case "connect_ip":
			host = n.arg(0)
		case "connect_port":
			port, _ = convert.ParseInt(n.arg(0), 1, 65535)
		case "bindto", "bind_to":
			c.Set("from", n.arg(0), n.from)
		case "fwmark":
			if m, ok := convert.ParseInt(n.arg(0), 1, 1<<32-1); ok {
				c.Set("mark", m, n.from)
			}
		case "url":
			urls = append(urls, n)
		case "host":
			hosts = append(hosts, n)
		default:
			if !p.typeKeyword(c, n) && !when.keyword(p.keepalived, n) {
				p.leaveOut(n, serverKeywords, "is not a setting of this check that keepalived.conf(5) describes")
			}
		}
	}
	p.address(c, b, host, port)
	p.times(c, b, when, kind.retry, kind.delay)
	switch kind.name {
	case "http", "https":
		return p.httpChecks(c, b, urls, when.host)
	case "smtp":
		return p.smtpChecks(c, hosts)
	case "connect":
		convert.QuietConnect(c, cmp.Or(port, p.port), p.notes)
	case "dns":
		if !c.Has("name") {
			c.Set("name", ".", b.from)
		}
		if !c.Has("record") {
			c.Set("record", "SOA", b.from)
		}
	case "exec":
		if !c.Has("command") {
			p.note(convert.LeftOut, b, "has no misc_path")
			return nil
		}
		if u := p.user(b); u != nil {
			c.Set("user", u.arg(0), u.from)
			if u.arg(1) != "" {
				p.note(convert.LeftOut, u, "the program runs with the user's own group")
			}
		}
	}
	return []*convert.Table{c}
}

// typeKeyword reads a keyword that only one type of check has.
func (p *checkReader) typeKeyword(c *convert.Table, n *node) bool {
	switch n.keyword() {
	case "helo_name":
		c.Set("helo", n.arg(0), n.from)
	case "type":
		if c.Str("type") != "dns" {
			return false
		}
		c.Set("record", strings.ToUpper(n.arg(0)), n.from)
	case "name":
		if c.Str("type") != "dns" {
			return false
		}
		c.Set("name", n.arg(0), n.from)
	case "misc_path":
		if argv := convert.Argv(n.args()); len(argv) > 0 {
			c.Set("command", argv, n.from)
		}
	case "misc_timeout":
		if d, ok := p.seconds(n, n.arg(0)); ok && d > 0 {
			c.Set("timeout", d, n.from)
		}
	case "user": // with script_user
	case "payload":
		if hex, ok := hexBytes(n.args()); ok {
			c.Set("send_hex", hex, n.from)
		} else {
			p.note(convert.LeftOut, n, "are not hexadecimal digits")
		}
	case "require_reply":
		hex, ok := hexBytes(n.args())
		switch {
		case len(n.args()) == 0:
			c.Set("require_reply", true, n.from)
		case ok:
			c.Set("expect_hex", hex, n.from)
		default:
			p.note(convert.LeftOut, n, "an answer is required, and its bytes are not judged: write what it must have as expect, a regular expression")
			c.Set("require_reply", true, n.from)
		}
	default:
		return false
	}
	return true
}

// address writes the probed address where it is not the real server's.
func (p *checkReader) address(c *convert.Table, b *node, host string, port int) {
	kind := c.Str("type")
	if kind == "exec" || kind == "ping" && host == "" {
		return
	}
	if port == 0 && (p.otherPort || host != "") {
		port = p.port
	}
	if port == p.port && !p.otherPort && host == "" {
		port = 0
	}
	a, isAddr := convert.ParseAddr(host)
	switch {
	case host != "" && !isAddr:
		p.note(convert.LeftOut, b, "connect_ip %q is not an address", host)
	case host != "" && (kind == "ping" || port == 0):
		c.Set("address", convert.FormatEndpoint(a, -1), b.from)
	case host != "":
		c.Set("address", convert.FormatEndpoint(a, port), b.from)
	case port > 0:
		c.Set("address", ":"+strconv.Itoa(port), b.from)
	}
}

// times writes intervals, rise and fall. In keepalived one success suffices.
func (p *checkReader) times(c *convert.Table, b *node, when timing, retry int, delay time.Duration) {
	if when.retry >= 0 {
		retry = when.retry
	}
	if when.delay >= 0 {
		delay = when.delay
	}
	loop := p.atMost(when.origin(b, "delay_loop"), max(when.loop, 10*time.Millisecond), time.Hour)
	c.Set("interval", loop, when.origin(b, "delay_loop"))
	if when.set["delay_loop"] == nil {
		p.notes.Hint(`interval = "60s" is keepalived's default delay_loop: a dead server is noticed after a minute or more. lvsd's default is "2s".`)
	}
	switch {
	case retry == 0 || delay == 0:
	case delay < loop:
		c.Set("fast_interval", max(delay, 10*time.Millisecond), when.origin(b, "delay_before_retry"))
	case delay > loop && when.set["delay_before_retry"] != nil:
		p.note(convert.LeftOut, b, "delay_before_retry is longer than delay_loop: after a failure lvsd probes again at the interval")
	}
	timeout, from := when.timeout, when.origin(b, "connect_timeout")
	if c.Str("type") == "exec" {
		timeout, from = loop, b.from
	}
	if own := c.Entry("timeout"); own != nil { // misc_timeout
		timeout, from = own.Value.(time.Duration), own.From
	}
	c.Set("timeout", p.atMost(from, max(timeout, time.Millisecond), time.Hour), from)
	c.Set("rise", 1, b.from)
	c.Set("fall", retry+1, when.origin(b, "retry", "nb_get_retry"))
}

// httpChecks returns a check for each URL.
func (p *checkReader) httpChecks(c *convert.Table, b *node, urls []*node, host string) []*convert.Table {
	if c.Str("type") == "https" {
		c.Set("verify", false, b.from)
		c.Set("cipher_suites", "legacy", b.from)
		p.notes.Hint(convert.LegacySuites)
		for _, e := range p.certs {
			c.Set(e.Key, e.Value, e.From)
		}
	}
	var all []*convert.Table
	for _, u := range urls {
		one := c.Clone()
		one.From = u.from
		p.url(one, u, host)
		all = append(all, one)
	}
	return all
}

// url reads one block url.
func (p *checkReader) url(c *convert.Table, u *node, host string) {
	pattern, not, options := (*node)(nil), false, ""
	for _, n := range u.block {
		switch n.keyword() {
		case "path":
			c.Set("path", n.arg(0), n.from)
		case "digest":
			c.Set("digest", "md5:"+n.arg(0), n.from)
		case "status_code":
			if len(n.args()) > 0 {
				c.Set("status", strings.Join(n.args(), ", "), n.from)
			}
		case "virtualhost":
			host = n.arg(0)
		case "regex":
			pattern = n
		case "regex_no_match":
			not = true
		case "regex_options":
			options = p.regexOptions(n)
		default:
			p.leaveOut(n, serverKeywords, "is not a setting of a url that keepalived.conf(5) describes")
		}
	}
	if host != "" {
		c.Set("host", host, u.from)
	}
	if c.Has("digest") && !c.Has("status") {
		p.notes.Hint("a url with a digest must also be answered with a status from 200 to 299, as in keepalived since 2.0.17; before, the digest alone decided.")
	}
	if pattern == nil {
		return
	}
	key := "expect"
	if not {
		key = "expect_not"
	}
	c.Set(key, options+pattern.arg(0), pattern.from)
}

// regexOptions writes options of PCRE in the syntax of RE2.
func (p *checkReader) regexOptions(n *node) string {
	known := map[string]string{"caseless": "i", "multiline": "m", "dotall": "s", "ungreedy": "U"}
	letters := ""
	for _, o := range n.args() {
		if l, ok := known[o]; ok {
			letters += l
			continue
		}
		p.note(convert.LeftOut, n, "lvsd's regular expressions (RE2) have no option %s", o)
	}
	if letters == "" {
		return ""
	}
	return "(?" + letters + ")"
}

// smtpChecks returns a check for each block host, as SMTP_CHECK may have.
func (p *checkReader) smtpChecks(c *convert.Table, hosts []*node) []*convert.Table {
	if len(hosts) == 0 {
		return []*convert.Table{c}
	}
	var all []*convert.Table
	for _, h := range hosts {
		one := c.Clone()
		one.From = h.from
		ip, port := "", 0
		for _, n := range h.block {
			switch n.keyword() {
			case "connect_ip":
				ip = n.arg(0)
			case "connect_port":
				port, _ = convert.ParseInt(n.arg(0), 1, 65535)
			case "bindto":
				one.Set("from", n.arg(0), n.from)
			default:
				p.leaveOut(n, serverKeywords, "is not a setting of this check that keepalived.conf(5) describes")
			}
		}
		p.address(one, h, ip, port)
		all = append(all, one)
	}
	return all
}

// hexBytes reads hexadecimal digits: two of a word make a byte, and a single one at its
// end another.
func hexBytes(words []string) (string, bool) {
	var all []string
	for _, w := range strings.Fields(strings.Join(words, " ")) {
		for len(w) > 0 {
			digits := w[:min(2, len(w))]
			w = w[len(digits):]
			if strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
				return "", false
			}
			if len(digits) == 1 {
				digits = "0" + digits
			}
			all = append(all, strings.ToLower(digits))
		}
	}
	return strings.Join(all, " "), len(all) > 0
}
