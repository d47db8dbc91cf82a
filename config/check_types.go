// The keys of checks that only some types have: exchanges, responses, TLS, DNS
// queries, programs and agents.

package config

import (
	"encoding/hex"
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/values"
)

// tcpExchange reads the keys of tcp: one exchange, or steps.
func tcpExchange(t *reader.Table, check *Check) {
	one := buildStep(t)
	check.Send, check.Expect, check.ExpectText, check.ExpectNot = one.Send, one.Expect, one.ExpectText, one.ExpectNot
	check.ProxyProtocol = t.Str("proxy_protocol")
	check.ReadLimit = tcpReadLimit
	if t.IsSet("read_limit") && t.Valid("read_limit") {
		if check.ReadLimit = int(t.Int("read_limit")); check.ReadLimit == 0 {
			t.Errorf("read_limit", "must be at least 1 for tcp, which reads only where something is expected")
		}
	}
	for _, r := range t.Tables("steps") {
		step := buildStep(r)
		switch starts := r.Bool("starttls"); {
		case starts && step != (Step{}):
			r.Errorf("starttls", "is a step of its own: send and expect before it")
		case starts:
			step.StartTLS = true
		case step == (Step{}) && r.Valid("expect"):
			r.ErrorAt(r.Start, r.Path, "has no effect: set send or expect")
		}
		check.Steps = append(check.Steps, step)
	}
	for _, name := range []string{"send", "send_hex", "expect", "expect_text", "expect_hex", "expect_not"} {
		if len(check.Steps) > 0 && t.IsSet(name) {
			t.Errorf(name, "cannot be combined with steps: make it one of them")
		}
	}
}

// buildStep reads what is sent and expected, each by one of its keys.
func buildStep(t *reader.Table) Step {
	requireAtMostOne(t, "send", "send_hex")
	requireAtMostOne(t, "expect", "expect_text", "expect_hex")
	s := Step{Send: t.Str("send"), Expect: t.Regexp("expect"), ExpectText: t.Str("expect_text"), ExpectNot: t.Regexp("expect_not")}
	if b := hexValue(t, "send_hex"); b != "" {
		s.Send = b
	}
	if b := hexValue(t, "expect_hex"); b != "" {
		s.ExpectText = b
	}
	if s.ExpectNot != "" && s.Expect == "" && s.ExpectText == "" {
		t.Errorf("expect_not", "needs expect, expect_text or expect_hex: without them nothing is read")
	}
	return s
}

// sentPassword reads the file whose password is sent where {password} stands.
func sentPassword(t *reader.Table, check *Check) {
	file := pathValue(t, "password_file")
	if file == "" {
		return
	}
	check.Dialogue = &Dialogue{PasswordFile: file}
	if !strings.Contains(check.Send, "{password}") && !slices.ContainsFunc(check.Steps, func(s Step) bool { return strings.Contains(s.Send, "{password}") }) {
		t.Errorf("password_file", "has no effect: write {password} in send, where it is sent")
	}
}

// requireAtMostOne refuses more than one of several keys for the same thing.
func requireAtMostOne(t *reader.Table, names ...string) {
	first := ""
	for _, name := range names {
		switch {
		case t.Str(name) == "":
		case first == "":
			first = name
		default:
			t.Errorf(name, "and %s mean the same: remove one", first)
		}
	}
}

// hexValue reads hexadecimal digits, which may be separated by spaces: "00 ff 0a".
func hexValue(t *reader.Table, name string) string {
	text := t.Str(name)
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil || text != "" && len(b) == 0 {
		t.Errorf(name, `must be pairs of hexadecimal digits, such as "00 ff 0a", not %s`, values.Redact(text))
		return ""
	}
	return string(b)
}

// udpExchange reads the keys of udp.
func udpExchange(t *reader.Table, check *Check) {
	one := buildStep(t)
	check.Send, check.Expect, check.ExpectText, check.ExpectNot = one.Send, one.Expect, one.ExpectText, one.ExpectNot
	expects := check.Expect != "" || check.ExpectText != ""
	if expects && t.IsSet("require_reply") && !t.Bool("require_reply") && t.Valid("require_reply") {
		t.Errorf("require_reply", "cannot be false where an answer is expected: remove it")
	}
	check.RequireReply = expects || t.Bool("require_reply")
}

// What is read of an answer where the file does not say, in bytes.
const (
	httpReadLimit   = 256 << 10
	digestReadLimit = 16 << 20
	tcpReadLimit    = 16 << 10
)

// httpResponse reads the keys of http and https that go beyond one plain request.
func httpResponse(t *reader.Table, check *Check) {
	check.Body, check.ExpectNot, check.Digest = t.Str("body"), t.Regexp("expect_not"), bodyDigest(t)
	check.FollowRedirects, check.HTTP2, check.ProxyProtocol = int(t.Int("follow_redirects")), t.Bool("http2"), t.Str("proxy_protocol")
	check.ReadLimit = httpReadLimit
	if check.Digest != "" {
		check.ReadLimit = digestReadLimit
	}
	if t.IsSet("read_limit") && t.Valid("read_limit") {
		check.ReadLimit = int(t.Int("read_limit"))
	}
	if check.ReadLimit == 0 {
		for _, name := range []string{"expect", "expect_not", "digest"} {
			if t.Str(name) != "" {
				t.Errorf("read_limit", "cannot be 0 with %s, which looks at the body", name)
			}
		}
	}
	if check.Method == "HEAD" {
		for _, name := range []string{"expect_not", "digest"} {
			if t.Str(name) != "" {
				t.Errorf(name, "has no effect: a response to HEAD has no body")
			}
		}
	}
	httpExpectations(t, check)
	if check.Body != "" && (check.Method == "GET" || check.Method == "HEAD") {
		t.Warnf("body", `has no meaning with the method %s, and some servers refuse it (RFC 9110 §9.3.1): use "POST"`, check.Method)
	}
}

// httpExpectations reads what is expected of headers and of a JSON document, and what asks
// for a drain.
func httpExpectations(t *reader.Table, check *Check) {
	e := &Response{}
	e.ExpectHeaders, _ = t.Value("expect_headers").(map[string]string)
	e.ExpectJSON, _ = t.Value("expect_json").(map[string]string)
	if len(e.ExpectHeaders) == 0 && len(e.ExpectJSON) == 0 && t.Str("drain_on") == "" {
		return
	}
	check.Response = e
	each := func(key string, all map[string]string, problem func(name, value string) string) {
		f, _ := t.Field(key)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if p := problem(name, all[name]); p != "" && f.Node != nil {
				t.ErrorAt(f.Node.Get(name).Value, t.Path.Key(key).Key(name), "%s", p)
			}
		}
	}
	each("expect_headers", e.ExpectHeaders, func(name, value string) string {
		if _, err := regexp.Compile(value); err != nil {
			return "is not a regular expression: put a backslash before characters that are meant literally"
		}
		if !values.IsToken(name) {
			return "is not the name of a header"
		}
		return ""
	})
	each("expect_json", e.ExpectJSON, func(pointer, _ string) string {
		if pointer != "" && pointer[0] != '/' {
			return `is not under a JSON pointer, which begins with a slash: "/status", "/checks/0/ok"`
		}
		return ""
	})
	if len(e.ExpectJSON) > 0 && (check.Method == "HEAD" || check.ReadLimit == 0) {
		t.Errorf("expect_json", "cannot match: no body is read")
	}
	s := t.Str("drain_on")
	name, match, isHeader := strings.Cut(s, ":")
	switch name, match = strings.TrimSpace(name), strings.TrimSpace(match); {
	case s == "":
	case !isHeader:
		e.DrainStatus = statusRanges(t, "drain_on")
	case !values.IsToken(name):
		t.Errorf("drain_on", `must be status codes such as "404", or a header and a regular expression such as "X-Drain: ^yes$", not %s`, values.Quote(s))
	default:
		if _, err := regexp.Compile(match); err != nil {
			t.Errorf("drain_on", "is not a regular expression after the colon")
		}
		e.DrainHeader, e.DrainMatch = name, match
	}
}

// bodyDigest reads the digest of a body: the name of the function and its result.
func bodyDigest(t *reader.Table) string {
	s := strings.ToLower(t.Str("digest"))
	if s == "" {
		return ""
	}
	name, sum, _ := strings.Cut(s, ":")
	size := map[string]int{"sha256": 32, "md5": 16}[name]
	if b, err := hex.DecodeString(sum); err != nil || size == 0 || len(b) != size {
		t.Errorf("digest", `must be "sha256:" and 64 hexadecimal digits (sha256sum prints them), or "md5:" and 32, not %s`, values.Quote(s))
		return ""
	}
	return s
}

var tlsKeyNames = []string{"verify", "server_name", "ca_file", "cert_file", "key_file", "min_version", "cipher_suites", "alpn"}

// tlsSettings reads whether TLS is used, and its settings, which may be in the
// check or in the table tls.
func tlsSettings(t *reader.Table, check *Check) {
	if check.Type == "http" {
		return
	}
	table, isTable := t.Value("tls").(*reader.Table)
	always := slices.Contains([]string{"https", "imaps", "pop3s", "ldaps"}, check.Type)
	check.UseTLS = isTable || t.Bool("tls") || always
	if always && !isTable && t.IsSet("tls") && t.Valid("tls") && !t.Bool("tls") {
		t.Errorf("tls", `cannot be false: use type = %q`, strings.TrimSuffix(check.Type, "s"))
	}
	from := func(name string) *reader.Table {
		if !isTable || !table.IsSet(name) {
			return t
		}
		if t.IsSet(name) {
			table.Errorf(name, "is in the check as well: remove one")
		}
		return table
	}
	if !check.UseTLS {
		for _, name := range tlsKeyNames {
			if t.IsSet(name) && t.Valid(name) && t.Valid("tls") {
				t.Errorf(name, "has no effect without TLS: add tls = true")
			}
		}
		return
	}
	check.ServerName = tlsServerName(from("server_name"))
	check.TLS = TLS{
		Verify:     from("verify").Bool("verify"),
		CAFile:     pathValue(from("ca_file"), "ca_file"),
		CertFile:   pathValue(from("cert_file"), "cert_file"),
		KeyFile:    pathValue(from("key_file"), "key_file"),
		MinVersion: from("min_version").Str("min_version"),
		Legacy:     from("cipher_suites").Str("cipher_suites") == "legacy",
		ALPN:       from("alpn").Str("alpn"),
	}
	switch name := check.TLS.ALPN; {
	case name == "":
	case schema.SpeaksHTTP(check.Type):
		from("alpn").Errorf("alpn", "means nothing in a check of type %q, which offers the protocol that it speaks", check.Type)
	case len(name) > 255 || strings.ContainsFunc(name, values.IsUnprintable):
		from("alpn").Errorf("alpn", `must be the name of a protocol, such as "imap", not %s`, values.Quote(name))
	}
	switch {
	case check.TLS.CertFile != "" && check.TLS.KeyFile == "":
		from("cert_file").Errorf("cert_file", "needs key_file, the private key of the certificate")
	case check.TLS.KeyFile != "" && check.TLS.CertFile == "":
		from("key_file").Errorf("key_file", "needs cert_file, the certificate of the key")
	}
	if !check.TLS.Verify && check.TLS.CAFile != "" {
		from("ca_file").Warnf("ca_file", "has no effect with verify = false")
	}
}

// pathValue reads the path of a file, or none.
func pathValue(t *reader.Table, name string) string {
	s := t.Str(name)
	if s == "" {
		return ""
	}
	if problem := values.CheckPath(s); problem != "" {
		t.Errorf(name, "%s", problem)
	}
	return s
}

// tlsServerName reads the name that a certificate must be for.
func tlsServerName(t *reader.Table) string {
	s := t.Str("server_name")
	if t.IsSet("server_name") && t.Valid("server_name") && (s == "" || strings.ContainsAny(s, "/@?#:") && !values.IsIP(s) || strings.ContainsFunc(s, values.IsUnprintable)) {
		t.Errorf("server_name", `must be a name as in a certificate, such as "www.example.com", not %s`, values.Quote(s))
	}
	return s
}

// dialogueSettings reads the keys of the built-in dialogues.
func dialogueSettings(t *reader.Table, check *Check) {
	d := Dialogue{Login: t.Str("user"), PasswordFile: pathValue(t, "password_file"), SecretFile: pathValue(t, "secret_file"),
		Database: t.Str("database"), Role: t.Str("role"), Query: t.Str("query"), Base: t.Str("base")}
	if d != (Dialogue{}) {
		check.Dialogue = &d
	}
	check.Expect, check.ExpectNot = t.Regexp("expect"), t.Regexp("expect_not")
	check.DNSTCP, check.ProxyProtocol = t.Bool("tcp"), t.Str("proxy_protocol")
	for _, name := range []string{"user", "database"} {
		if strings.ContainsAny(t.Str(name), "\r\n\x00") {
			t.Errorf(name, "must be one line")
		}
	}
	missing := func(name, format string, args ...any) {
		if !t.IsSet(name) {
			t.ErrorAt(t.Start, t.Path.Key(name), "missing: "+format, args...)
		}
	}
	switch check.Type {
	case "mysql", "postgres":
		missing("user", "set the user that logs in, such as \"lvsd\"; it needs no privileges")
		for _, name := range []string{"expect", "expect_not"} {
			if d.Query == "" && t.Str(name) != "" {
				t.Errorf(name, "is matched with what a query returns: add query")
			}
		}
	case "radius":
		missing("secret_file", "set the file with the secret that the server shares with this director")
	}
	canDoWithout := []string{"mysql", "postgres", "ftp", "sip"}
	switch {
	case d.Login != "" && d.PasswordFile == "" && !slices.Contains(canDoWithout, check.Type):
		t.Errorf("user", "needs password_file, a file with the password")
	case d.Login == "" && d.PasswordFile != "" && check.Type != "redis":
		t.Errorf("password_file", "needs user, whose password it has")
	}
	if strings.Trim(d.Database, "0123456789") != "" && check.Type == "redis" {
		t.Errorf("database", "must be the number of a database, such as \"0\", not %s", values.Quote(d.Database))
	}
}

// unsuitable are checks that the servers of a port mind, or that fail at each of them.
var unsuitable = []struct {
	ports   []uint16
	types   []string
	unless  func(*Check) bool // nil: never
	problem string            // of the port
}{
	{[]uint16{3306}, []string{"connect", "tcp"}, nil, `is the port of MySQL and MariaDB, which count a connection without a login as an error, and block this director after 100 of them (max_connect_errors): use type = "mysql", or "syn"`},
	{[]uint16{5432}, []string{"connect"}, func(c *Check) bool { return c.Close == "fin" }, `is the port of PostgreSQL, which logs a line for each connection that is reset: use type = "postgres", or close = "fin"`},
	{[]uint16{5672}, []string{"amqp"}, func(c *Check) bool { return c.Dialogue != nil && c.Dialogue.Login != "" }, `is the port of RabbitMQ, which logs a warning for each connection that ends before a login: give the check a user, or use type = "connect"`},
	{[]uint16{25, 587}, []string{"connect"}, nil, `is a port of SMTP, whose servers log each lost connection: use type = "smtp", or "syn"`},
	{[]uint16{110, 143}, []string{"connect"}, nil, `is a port of mail, whose servers log each connection without a login: use type = "pop3", "imap" or "syn"`},
	{[]uint16{993, 995}, []string{"connect"}, nil, `is a port of mail, whose servers log each connection without a login: use type = "imaps", "pop3s" or "syn"`},
	{[]uint16{443}, []string{"http"}, nil, `is the port of HTTPS: use type = "https"`},
	{[]uint16{636}, []string{"ldap"}, nil, `is the port of LDAP in TLS: use type = "ldaps"`},
	{[]uint16{993}, []string{"imap"}, nil, `is the port of IMAP in TLS: use type = "imaps"`},
	{[]uint16{995}, []string{"pop3"}, nil, `is the port of POP3 in TLS: use type = "pop3s"`},
	{[]uint16{465}, []string{"smtp"}, nil, `is the port of SMTP in TLS: use type = "tcp" with tls = true and expect = '^220 '`},
	{[]uint16{80}, []string{"https"}, nil, `is the port of HTTP without TLS: use type = "http"`},
	{[]uint16{389}, []string{"ldaps"}, nil, `is the port of LDAP without TLS: use type = "ldap", with tls = true for StartTLS`},
	{[]uint16{143}, []string{"imaps"}, nil, `is the port of IMAP without TLS: use type = "imap", with tls = true for STARTTLS`},
	{[]uint16{110}, []string{"pop3s"}, nil, `is the port of POP3 without TLS: use type = "pop3", with tls = true for STLS`},
}

// warnUnsuitable warns, once a check, of one that does not suit the server of its port.
func (p *checkTemplate) warnUnsuitable(check *Check) {
	port := check.Address.Port()
	for _, u := range unsuitable {
		if !p.unsuitable && slices.Contains(u.ports, port) && slices.Contains(u.types, check.Type) && (u.unless == nil || !u.unless(check)) {
			p.unsuitable = true
			p.record.WarnAt(p.record.Start, p.record.Path, "%d %s", port, u.problem)
		}
	}
}

// dnsQuery reads the keys of dns.
func dnsQuery(t *reader.Table, check *Check) {
	check.DNSRecord, check.DNSRcode, check.DNSTCP = t.Str("record"), t.Str("rcode"), t.Bool("tcp")
	name := t.Str("name")
	check.DNSName = strings.TrimSuffix(name, ".")
	switch {
	case !t.IsSet("name"):
		t.ErrorAt(t.Start, t.Path.Key("name"), `missing: say which name is asked for, such as "www.example.com"`)
	case t.Valid("name") && name != ".":
		if problem := values.CheckHostName(name); problem != "" {
			t.Errorf("name", "%s", problem)
		}
	}
	if check.DNSAnswer = t.Str("answer"); check.DNSAnswer == "" {
		return
	}
	a, err := netip.ParseAddr(check.DNSAnswer)
	switch {
	case check.DNSRcode != "NOERROR":
		t.Errorf("answer", "cannot come with rcode %s: remove one", check.DNSRcode)
	case check.DNSRecord == "A" && (err != nil || !a.Is4()):
		t.Errorf("answer", `must be an IPv4 address for record = "A", not %s`, values.Quote(check.DNSAnswer))
	case check.DNSRecord == "AAAA" && (err != nil || !a.Is6() || a.Zone() != ""):
		t.Errorf("answer", `must be an IPv6 address for record = "AAAA", not %s`, values.Quote(check.DNSAnswer))
	case err == nil:
		check.DNSAnswer = a.String()
	}
}

// smtpBanner reads the keys of smtp.
func smtpBanner(t *reader.Table, check *Check) {
	check.Helo, check.ProxyProtocol = t.Str("helo"), t.Str("proxy_protocol")
	if check.Helo == "" || strings.ContainsFunc(check.Helo, values.IsUnprintable) || len(check.Helo) > 255 {
		t.Errorf("helo", `must be a host name, or an address in brackets, such as "lb1.example.com", not %s`, values.Quote(check.Helo))
	}
}

// execCommand reads the keys of exec. No shell is involved.
func execCommand(t *reader.Table, check *Check) {
	const example = `["/usr/local/bin/probe", "-v"]`
	check.Command, check.User = argvValue(t, "command", example), t.Str("user")
	if t.Valid("command") && !t.IsSet("command") {
		t.ErrorAt(t.Start, t.Path.Key("command"), "missing: say which program is run, such as "+example)
	}
	if strings.ContainsAny(check.User, ": \t\r\n\x00") {
		t.Errorf("user", "is not the name of a user: %s", values.Quote(check.User))
	}
}

// warnPrograms warns of more programs than run at once: those of exec checks that each take
// their whole timeout.
func warnPrograms(root *reader.Table, services []Service, parallel int) {
	needed, first := 0.0, Position{}
	for _, s := range services {
		for _, rs := range s.RealServers {
			for _, check := range rs.Checks {
				if check.Type != "exec" || check.Interval <= 0 {
					continue
				}
				if first == (Position{}) {
					first = check.Position
				}
				needed += min(float64(check.Timeout)/float64(check.Interval), 1)
			}
		}
	}
	if int(math.Ceil(needed)) > parallel {
		root.WarnAt(first, nil, "programs of exec checks that take their whole timeout need %.0f at once, and [checker] exec_parallel is %d: probes would be late; raise it, or the interval", math.Ceil(needed), parallel)
	}
}

// agentPort reads the port of an agent, which address may have as well.
func (p *checkTemplate) agentPort() {
	t := p.record
	switch {
	case t.IsSet("port") && t.Valid("port") && !p.anyPort:
		t.Errorf("port", "is in address as well: remove one")
	case t.IsSet("port") && t.Valid("port"):
		p.override, p.anyPort = netip.AddrPortFrom(p.override.Addr(), uint16(t.Int("port"))), false
	case !t.IsSet("port") && p.anyPort:
		t.ErrorAt(t.Start, t.Path.Key("port"), "missing: say which port the agent answers on, such as port = 5666")
		p.missingPort = true
	}
}
