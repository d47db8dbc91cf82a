// Checks. A negotiation without a check type of its own becomes a tcp check with an
// equivalent exchange, where there is one.

package ldirectord

import (
	"cmp"
	"net/netip"
	"regexp"
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
		timeout, timeoutFrom = r.timeout("negotiatetimeout", "checktimeout", 30)
		r.negotiate(c, asked, line)
	default:
		r.notes.Add(convert.LeftOut, from, "is no type of check: the servers count as up")
		c.Set("type", "on", from)
	}
	switch c.Str("type") {
	case "on":
		return c
	case "ping", "exec":
	default:
		probed := r.number("checkport", cmp.Or(written, servicePorts[r.service()], max(port, 0)), 65535)
		if probed > 0 && probed != port && !c.Has("address") {
			c.Set("address", ":"+strconv.Itoa(probed), r.at("checkport"))
		}
		if probed == 0 && !c.Has("address") {
			r.notes.Add(convert.ToDo, line.from, "neither the server nor checkport nor service says a port to check: the servers count as up")
			on := &convert.Table{From: from}
			on.Set("type", "on", from)
			return on
		}
	}
	c.Set("interval", time.Duration(r.number("checkinterval", 10, 3600))*time.Second, r.at("checkinterval"))
	c.Set("timeout", timeout, timeoutFrom)
	c.Set("rise", 1, c.From) // one success suffices
	c.Set("fall", r.number("failurecount", 1, 1000), r.at("failurecount"))
	return c
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

// negotiate converts a negotiation in the protocol of the service.
func (r *virtualReader) negotiate(c *convert.Table, asked []string, line setting) {
	service := r.service()
	r.negotiateService(c, service, r.exchange(asked, line))
	if r.text("passwd") != "" && strings.Contains(convert.Literal(c), r.text("passwd")) {
		r.notes.Add(convert.ToDo, r.at("passwd"), "the password is in the result now: let nobody but lvsd's user read the file (mode 0600)")
	}
	if service == "pops" || service == "imaps" {
		unverified(c, r.at("service"))
	}
}

// substitutes are the checks of services that lvsd cannot negotiate with, and what is
// lost by them.
var substitutes = map[string]struct{ checkType, lost string }{
	"ldap":   {"connect", noLDAP},
	"ldaps":  {"connect", noLDAP},
	"mysql":  {"connect", noDatabase},
	"pgsql":  {"connect", noDatabase},
	"oracle": {"connect", noDatabase},
	"radius": {"ping", "lvsd has no check of RADIUS: that the host answers is checked. An exec check with radclient asks a question"},
}

const (
	noLDAP     = "lvsd has no check of LDAP: that the port answers is checked. An exec check with ldapsearch asks a question"
	noDatabase = "lvsd has no check of databases: that the port answers is checked. An exec check with the database's own client asks a question"
)

// negotiateService writes the check for one service.
func (r *virtualReader) negotiateService(c *convert.Table, service string, x exchange) {
	from := r.at("service")
	if s, ok := substitutes[service]; ok {
		c.Set("type", s.checkType, from)
		if s.checkType == "ping" {
			r.pingCheck(c, from)
		}
		r.notes.Add(convert.LeftOut, from, s.lost)
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
	case "ftp":
		r.ftpCheck(c, x)
	case "pop", "pops":
		r.loginCheck(c, `^\+OK`, func(login, passwd string) []string {
			return []string{"USER " + login + "\r\n", `^\+OK`, "PASS " + passwd + "\r\n", `^\+OK`}
		})
	case "imap", "imaps":
		r.loginCheck(c, `^\* (OK|PREAUTH)`, func(login, passwd string) []string {
			return []string{"a LOGIN " + imapQuoted(login) + " " + imapQuoted(passwd) + "\r\n", "^a OK"}
		})
	case "nntp":
		r.tcpCheck(c, from, "", "^2")
	case "simpletcp":
		r.tcpCheck(c, from, strings.ReplaceAll(strings.TrimPrefix(x.request, "/"), `\n`, "\n"), x.receive)
	case "sip":
		r.sipCheck(c, from)
	case "none":
		c.Set("type", "on", from)
	default:
		c.Set("type", "on", from)
		r.notes.Add(convert.LeftOut, from, "lvsd knows no such service: the servers count as up")
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

// ftpCheck logs in.
func (r *virtualReader) ftpCheck(c *convert.Table, x exchange) {
	login, passwd := r.text("login"), r.text("passwd")
	if login == "" {
		login, passwd = "anonymous", "lvsd@"
	}
	r.tcpCheck(c, r.at("service"), "", "^220", "USER "+login+"\r\n", "^(331|230)", "PASS "+passwd+"\r\n", "^230")
	if x.request != "" || x.receive != "" {
		r.notes.Add(convert.LeftOut, x.fromRequest, "the login is checked, and no file is fetched")
	}
}

// loginCheck expects a banner and, with a login, sends it.
func (r *virtualReader) loginCheck(c *convert.Table, banner string, turns func(login, passwd string) []string) {
	steps := []string{"", banner}
	if login := r.text("login"); login != "" {
		steps = append(steps, turns(login, r.text("passwd"))...)
	}
	r.tcpCheck(c, r.at("service"), steps...)
}

// unverified adds TLS that accepts any certificate, as in ldirectord.
func unverified(c *convert.Table, from convert.Origin) {
	t := &convert.Table{From: from}
	t.Set("verify", false, from)
	c.Set("tls", t, from)
}

// imapQuoted writes a string of IMAP (RFC 9051 §4.3).
func imapQuoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
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

// sipCheck sends OPTIONS and expects 200 (RFC 3261 §11).
func (r *virtualReader) sipCheck(c *convert.Table, from convert.Origin) {
	who := r.text("login")
	if who == "" {
		who = "lvsd@localhost"
	}
	lines := []string{
		"OPTIONS sip:" + who + " SIP/2.0",
		"Via: SIP/2.0/" + strings.ToUpper(cmp.Or(r.protocol, "tcp")) + " localhost;branch=z9hG4bKlvsd;rport",
		"Max-Forwards: 70", "To: <sip:" + who + ">", "From: <sip:" + who + ">;tag=lvsd",
		"Call-ID: lvsd@localhost", "CSeq: 1 OPTIONS", "Contact: <sip:" + who + ">", "Accept: application/sdp", "Content-Length: 0", "", "",
	}
	c.Set("type", "tcp", from)
	if r.protocol == "udp" {
		c.Set("type", "udp", from)
	}
	c.Set("send", strings.Join(lines, "\r\n"), from)
	c.Set("expect", `^SIP/2\.0 200`, from)
	r.notes.Add(convert.ToDo, from, "try the check on a server: lvsd sends the same request each time, with one branch and Call-ID")
}
