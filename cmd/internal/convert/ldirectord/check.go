// Checks. A negotiation without a check type of its own becomes a tcp check with an
// equivalent exchange, where there is one.

package ldirectord

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvsd/cmd/internal/convert"
)

// defaultService is the default of service by port:
// ldirectord(8), service.
var defaultService = map[int]string{21: "ftp", 25: "smtp", 53: "dns", 80: "http", 110: "pop", 119: "nntp", 143: "imap", 389: "ldap", 443: "https",
	587: "submission", 636: "ldaps", 993: "imaps", 995: "pops", 1521: "oracle", 1812: "radius", 3128: "http_proxy", 3306: "mysql", 5432: "pgsql", 5060: "sip"}

// servicePorts are the ports that are checked where neither the server nor checkport says
// one.
var servicePorts = func() map[string]int {
	ports := map[string]int{}
	for port, service := range defaultService {
		ports[service] = port
	}
	return ports
}()

// service is the protocol of a negotiation.
func (r *virtualReader) service() string {
	return cmp.Or(r.text("service"), defaultService[int(r.address.Port())], "none")
}

// check returns the check of one real server: its address, the port of its entry
// (-1 = none) and the port that ldirectord.cf says for it (0 = none).
func (r *virtualReader) check(a netip.Addr, port, written int, asked []string, line setting) *convert.Table {
	kind, from := r.text("checktype"), r.at("checktype")
	c := &convert.Table{From: from}
	if n, isNumber := convert.ParseInt(kind, 0, 1<<30); isNumber {
		if n > 1 {
			r.notes.Add(convert.LeftOut, from, "lvsd negotiates at every interval, and not only after "+kind+" connects")
		}
		kind = "negotiate"
	}
	timeout, timeoutFrom := r.timeout("checktimeout", "negotiatetimeout", 5)
	switch kind {
	case "on", "off":
		c.Set("type", kind, from)
		return c
	case "ping":
		r.pingCheck(c, from)
	case "external", "external-perl":
		r.execCheck(c, a, written, kind, from)
	case "connect":
		if r.protocol == "udp" { // ldirectord(8), checktype
			r.pingCheck(c, from)
			break
		}
		c.Set("type", "connect", from)
	case "negotiate", "":
		if !slices.Contains(bothTimeouts, r.service()) {
			timeout, timeoutFrom = r.timeout("negotiatetimeout", "checktimeout", 30)
		} else if d, from := r.timeout("negotiatetimeout", "checktimeout", 30); d < timeout {
			timeout, timeoutFrom = d, from
		}
		r.negotiate(c, asked, line)
	default:
		r.notes.Add(convert.LeftOut, from, "is not a check type: the servers are treated as up")
		c.Set("type", "on", from)
	}
	switch c.Str("type") {
	case "on":
		return c
	case "ping", "exec":
	default:
		probed := r.checkPort(cmp.Or(written, servicePorts[r.service()], max(port, 0)))
		if probed > 0 && probed != port && !c.Has("address") {
			c.Set("address", ":"+strconv.Itoa(probed), r.at("checkport"))
		}
		if probed == 0 && !c.Has("address") {
			r.notes.Add(convert.ToDo, line.from, "neither the server nor checkport nor service has a port to check: the servers are treated as up")
			on := &convert.Table{From: from}
			on.Set("type", "on", from)
			return on
		}
		convert.QuietConnect(c, probed, r.notes)
	}
	c.Set("interval", time.Duration(r.number("checkinterval", 10, 3600))*time.Second, r.at("checkinterval"))
	c.Set("timeout", timeout, timeoutFrom)
	c.Set("rise", 1, c.From) // one success suffices
	c.Set("fall", r.number("failurecount", 1, 1000), r.at("failurecount"))
	return c
}

// checkPort returns checkport, or otherwise where there is none.
func (r *virtualReader) checkPort(otherwise int) int {
	if s := r.settings["checkport"]; r.numberOf(s, 0, 1<<62) > 65535 {
		r.notes.Add(convert.LeftOut, s.from, "is not a port")
		return otherwise
	}
	return r.number("checkport", otherwise, 65535)
}

func (r *virtualReader) pingCheck(c *convert.Table, from convert.Origin) {
	c.Set("type", "ping", from)
	c.Set("count", r.number("checkcount", 1, 10), r.at("checkcount"))
}

// execCheck runs the program with the four arguments of ldirectord.
func (r *virtualReader) execCheck(c *convert.Table, a netip.Addr, written int, kind string, from convert.Origin) {
	argv := convert.Argv(convert.SplitWords(r.text("checkcommand")))
	if len(argv) == 0 {
		argv = []string{"/bin/true"}
	}
	if kind == "external-perl" && argv[0] != "/bin/true" {
		argv = append([]string{"/usr/bin/perl"}, argv...)
	}
	service, servicePort := strconv.Itoa(r.mark), "0"
	if r.mark == 0 {
		service, servicePort = r.address.Addr().String(), strconv.Itoa(int(r.address.Port()))
	}
	c.Set("type", "exec", from)
	c.Set("command", append(argv, service, servicePort, a.String(), strconv.Itoa(written)), r.at("checkcommand"))
}

// exchange is what a negotiation sends and expects, with the lines of both.
type exchange struct {
	request, receive         string
	fromRequest, fromReceive convert.Origin
}

// exchange returns the request and receive of a real server, or else of the service.
func (r *virtualReader) exchange(asked []string, line setting) exchange {
	x := exchange{r.text("request"), r.text("receive"), r.at("request"), r.at("receive")}
	if len(asked) > 0 {
		x.request, x.fromRequest = asked[0], line.from
	}
	if len(asked) > 1 {
		x.receive, x.fromReceive = asked[1], line.from
	}
	return x
}

// bothTimeouts are services whose negotiation ends by checktimeout as a whole, and by
// negotiatetimeout within: the shorter one counts.
var bothTimeouts = []string{"ldap", "ldaps", "radius"}

// negotiate converts a negotiation in the protocol of the service.
func (r *virtualReader) negotiate(c *convert.Table, asked []string, line setting) {
	service := r.service()
	r.negotiateService(c, service, r.exchange(asked, line))
	if service == "pops" || service == "imaps" || service == "ldaps" {
		unverified(c, r.notes, r.at("service"))
	}
}

// dialogues are the checks of services that lvsd has a dialogue for.
var dialogues = map[string]string{"pop": "pop3", "pops": "pop3s", "imap": "imap", "imaps": "imaps", "ftp": "ftp", "nntp": "nntp",
	"ldap": "ldap", "ldaps": "ldaps", "mysql": "mysql", "pgsql": "postgres", "radius": "radius", "sip": "sip"}

// negotiateService writes the check for one service.
func (r *virtualReader) negotiateService(c *convert.Table, service string, x exchange) {
	from := r.at("service")
	if kind := dialogues[service]; kind != "" {
		r.dialogueCheck(c, kind, x)
		return
	}
	switch service {
	case "http", "https":
		r.httpCheck(c, service, x.request, x.receive, x.fromRequest, x.fromReceive)
	case "http_proxy":
		r.proxyCheck(c, x)
	case "smtp", "submission":
		c.Set("type", "smtp", from)
	case "dns":
		r.dnsCheck(c, x.request, x.receive, x.fromRequest, x.fromReceive)
	case "simpletcp":
		r.tcpCheck(c, from, strings.ReplaceAll(strings.TrimPrefix(x.request, "/"), `\n`, "\n"), x.receive)
	case "oracle":
		c.Set("type", "syn", from)
		r.notes.Add(convert.LeftOut, from, "lvsd has no check of Oracle: that the port accepts is checked. An exec check with the database's own client asks a question")
	case "none":
		c.Set("type", "on", from)
	default:
		c.Set("type", "on", from)
		r.notes.Add(convert.LeftOut, from, "lvsd does not support this service: the servers are treated as up")
	}
}

// proxyCheck sends a request to an HTTP proxy.
func (r *virtualReader) proxyCheck(c *convert.Table, x exchange) {
	method := "GET"
	if strings.EqualFold(r.text("httpmethod"), "HEAD") {
		method = "HEAD"
	}
	r.tcpCheck(c, r.at("service"), "", "", method+" "+x.request+" HTTP/1.0\r\n\r\n", `^HTTP/1\.[01] 2`)
	if x.receive != "" {
		r.notes.Add(convert.LeftOut, x.fromReceive, "of a proxy's answer the status is judged, and not the body")
	}
}

// dialogueCheck writes a check of a type that lvsd has for the protocol.
func (r *virtualReader) dialogueCheck(c *convert.Table, kind string, x exchange) {
	from := r.at("service")
	c.Set("type", kind, from)
	login := r.text("login")
	switch kind {
	case "ftp":
		login = cmp.Or(login, "anonymous")
		if x.request != "" || x.receive != "" {
			r.notes.Add(convert.LeftOut, x.fromRequest, "the login is checked, and no file is fetched")
		}
	case "mysql", "postgres":
		if login == "" {
			login = "lvsd"
			r.notes.Add(convert.ToDo, from, "names no login: the check needs a user that may log in, without any right")
		}
		if x.request != "" {
			c.Set("query", x.request, x.fromRequest)
		}
		if s := r.text("database"); s != "" {
			c.Set("database", s, r.at("database"))
		}
	case "ldap", "ldaps":
		if base := strings.TrimPrefix(x.request, "/"); base != "" {
			c.Set("base", base, x.fromRequest)
		}
		if x.receive != "" {
			c.Set("expect", x.receive, x.fromReceive)
		}
	case "radius":
		r.secretFile(c, "secret_file", "secret", r.text("secret"))
	case "sip":
		if r.protocol != "udp" {
			c.Set("tcp", true, from)
		}
	case "nntp":
		return // ldirectord reads the greeting only
	}
	if login == "" {
		return
	}
	c.Set("user", login, r.at("login"))
	passwd := r.text("passwd")
	if kind == "sip" || passwd == "" && (kind == "ftp" || kind == "mysql" || kind == "postgres") {
		return
	}
	r.secretFile(c, "password_file", "passwd", passwd)
}

// secretFile names the file that a password is to be written into: it does not belong in
// lvsd.toml.
func (r *virtualReader) secretFile(c *convert.Table, key, keyword, value string) {
	file := "/etc/lvsd/" + r.s.Str("name") + "." + strings.TrimSuffix(key, "_file")
	c.Set(key, file, r.at(keyword))
	if value != "" {
		r.notes.Add(convert.ToDo, r.at(keyword), "write it into "+file+", which no other than lvsd's user may read (mode 0600)")
	} else {
		r.notes.Add(convert.ToDo, r.at("service"), "says no "+keyword+": write it into "+file)
	}
}

// unverified adds TLS that accepts any certificate, as in ldirectord.
func unverified(c *convert.Table, notes *convert.Notes, from convert.Origin) {
	notes.Hint(convert.LegacySuites)
	t := &convert.Table{From: from}
	t.Set("verify", false, from)
	t.Set("cipher_suites", "legacy", from)
	c.Set("tls", t, from)
}

// tcpCheck writes a check of type tcp; turns are what is sent and expected.
func (r *virtualReader) tcpCheck(c *convert.Table, from convert.Origin, turns ...string) {
	c.Set("type", "tcp", from)
	var steps []*convert.Table
	for i := 0; i+1 < len(turns); i += 2 {
		t := &convert.Table{From: from}
		if turns[i] != "" {
			t.Set("send", turns[i], from)
		}
		if turns[i+1] != "" {
			t.Set("expect", turns[i+1], from)
		}
		if len(t.Entries) > 0 {
			steps = append(steps, t)
		}
	}
	switch len(steps) {
	case 0:
		c.Set("type", "connect", from)
	case 1:
		for _, e := range steps[0].Entries {
			c.Set(e.Key, e.Value, e.From)
		}
	default:
		c.Set("steps", steps, from)
	}
}

// httpCheck converts a request for a page. A request that is a URL names another server.
func (r *virtualReader) httpCheck(c *convert.Table, service, request, receive string, fromRequest, fromReceive convert.Origin) {
	c.Set("type", service, r.at("service"))
	if service == "https" {
		c.Set("verify", false, r.at("service")) // LWP accepts any certificate
		c.Set("cipher_suites", "legacy", r.at("service"))
		r.notes.Hint(convert.LegacySuites)
	}
	host := r.text("virtualhost")
	if scheme, rest, isURL := strings.Cut(request, "://"); isURL && (scheme == "http" || scheme == "https") {
		name, path, _ := strings.Cut(rest, "/")
		request = path
		if name != "" {
			c.Set("address", name, fromRequest)
			if !strings.Contains(name, ":") {
				c.Set("address", name+":"+map[string]string{"http": "80", "https": "443"}[scheme], fromRequest)
			}
			if host == "" {
				host = name
			}
		}
	}
	if path := "/" + strings.TrimPrefix(request, "/"); path != "/" {
		c.Set("path", path, fromRequest)
	}
	if host != "" {
		c.Set("host", host, r.at("virtualhost"))
	}
	if m := strings.ToUpper(r.text("httpmethod")); m == "HEAD" {
		c.Set("method", m, r.at("httpmethod"))
		if receive != "" {
			r.notes.Add(convert.LeftOut, fromReceive, "an answer to HEAD has no body")
			receive = ""
		}
	}
	if receive != "" {
		c.Set("expect", receive, fromReceive)
	}
	c.Set("follow_redirects", 7, r.at("service")) // as LWP does
}

// dnsCheck converts a query for an address, or for the name of one.
func (r *virtualReader) dnsCheck(c *convert.Table, request, receive string, fromRequest, fromReceive convert.Origin) {
	if request == "" {
		r.notes.Add(convert.ToDo, r.at("service"), "says no request: the check asks for the root's name servers")
		request = "."
		c.Set("record", "NS", fromRequest)
	}
	c.Set("type", "dns", r.at("service"))
	if a, isAddr := convert.ParseAddr(request); isAddr {
		c.Set("name", reverse(a), fromRequest)
		c.Set("record", "PTR", fromRequest)
	} else {
		c.Set("name", request, fromRequest)
	}
	switch {
	case receive == "":
	case regexp.QuoteMeta(receive) == receive || isAddrText(receive):
		c.Set("answer", receive, fromReceive)
	default:
		r.notes.Add(convert.LeftOut, fromReceive, "of a DNS answer one record can be named by answer, and not described by an expression")
	}
}

func isAddrText(s string) bool { _, ok := convert.ParseAddr(s); return ok }

// reverse returns the name of the PTR record of an address.
func reverse(a netip.Addr) string {
	var b strings.Builder
	raw := a.AsSlice()
	for i := len(raw) - 1; i >= 0; i-- {
		if a.Is4() {
			b.WriteString(strconv.Itoa(int(raw[i])) + ".")
			continue
		}
		const hex = "0123456789abcdef"
		b.WriteString(string([]byte{hex[raw[i]&15], '.', hex[raw[i]>>4], '.'}))
	}
	if a.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}
