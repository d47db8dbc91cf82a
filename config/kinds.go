// This file builds what only checks of some types say: dialogues, answers,
// TLS, queries, programs, agents. It never probes, and opens none of the files
// that are named.
//
// PURE.
package config

import (
	"encoding/hex"
	"net/netip"
	"strings"
)

// dialogue reads the keys of tcp: one exchange, or steps.
func (c *record) dialogue(k *Check) {
	one := c.exchange()
	k.Send, k.Expect, k.ExpectText = one.Send, one.Expect, one.ExpectText
	for _, r := range c.records("steps") {
		step := r.exchange()
		if step == (Step{}) && r.good("expect") {
			r.fail(r.at, r.path, "does nothing: send something, or expect something")
		}
		k.Steps = append(k.Steps, step)
	}
	for _, name := range []string{"send", "send_hex", "expect", "expect_text", "expect_hex"} {
		if len(k.Steps) > 0 && c.set(name) {
			c.complain(name, "cannot stand beside steps: make it one of them")
		}
	}
}

// exchange reads what is sent and expected, each in one of its spellings.
func (c *record) exchange() Step {
	c.only("send", "send_hex")
	c.only("expect", "expect_text", "expect_hex")
	s := Step{Send: c.str("send"), Expect: c.pattern("expect"), ExpectText: c.str("expect_text")}
	if b := c.bytes("send_hex"); b != "" {
		s.Send = b
	}
	if b := c.bytes("expect_hex"); b != "" {
		s.ExpectText = b
	}
	return s
}

// only refuses more than one of several keys that say the same thing.
func (c *record) only(names ...string) {
	first := ""
	for _, name := range names {
		switch {
		case c.str(name) == "":
		case first == "":
			first = name
		default:
			c.complain(name, "and %s are two spellings of one thing: leave one out", first)
		}
	}
}

// bytes reads hexadecimal digits, which may be apart: "00 ff 0a".
func (c *record) bytes(name string) string {
	text := c.str(name)
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil || text != "" && len(b) == 0 {
		c.complain(name, `must be pairs of hexadecimal digits, such as "00 ff 0a", not %s`, veiled(text))
		return ""
	}
	return string(b)
}

// datagram reads the keys of udp.
func (c *record) datagram(k *Check) {
	one := c.exchange()
	k.Send, k.Expect, k.ExpectText = one.Send, one.Expect, one.ExpectText
	expects := k.Expect != "" || k.ExpectText != ""
	if expects && c.set("require_reply") && !c.flag("require_reply") && c.good("require_reply") {
		c.complain("require_reply", "cannot be false where an answer is expected: leave it out")
	}
	k.RequireReply = expects || c.flag("require_reply")
}

// answer reads what http and https do besides one plain request.
func (c *record) answer(k *Check) {
	k.Body, k.ExpectNot, k.Digest = c.str("body"), c.pattern("expect_not"), c.digest()
	k.FollowRedirects, k.HTTP2, k.ProxyProtocol = int(c.num("follow_redirects")), c.flag("http2"), c.str("proxy_protocol")
	if k.Method == "HEAD" {
		for _, name := range []string{"expect_not", "digest"} {
			if c.str(name) != "" {
				c.complain(name, "judges nothing: an answer to HEAD has no body")
			}
		}
	}
	if k.Body != "" && (k.Method == "GET" || k.Method == "HEAD") {
		c.doubt("body", `has no meaning with the method %s, and some servers refuse it (RFC 9110 §9.3.1): use "POST"`, k.Method)
	}
}

// digest reads the digest of a body: the name of the function and its result.
func (c *record) digest() string {
	s := strings.ToLower(c.str("digest"))
	if s == "" {
		return ""
	}
	name, sum, _ := strings.Cut(s, ":")
	size := map[string]int{"sha256": 32, "md5": 16}[name]
	if b, err := hex.DecodeString(sum); err != nil || size == 0 || len(b) != size {
		c.complain("digest", `must be "sha256:" and 64 hexadecimal digits (sha256sum prints them), or "md5:" and 32, not %s`, quoted(s))
		return ""
	}
	return s
}

var tlsKeyNames = []string{"verify", "server_name", "ca_file", "cert_file", "key_file", "min_version"}

// encryption reads whether TLS is spoken, and how. Its settings may stand in
// the check or in the table tls.
func (c *record) encryption(k *Check) {
	if k.Type == "http" {
		return
	}
	table, isTable := c.get("tls").(*record)
	k.UseTLS = isTable || c.flag("tls") || k.Type == "https"
	if k.Type == "https" && !isTable && c.set("tls") && c.good("tls") && !c.flag("tls") {
		c.complain("tls", `cannot be false: use type = "http"`)
	}
	from := func(name string) *record {
		if !isTable || !table.set(name) {
			return c
		}
		if c.set(name) {
			table.complain(name, "stands in the check as well: leave one out")
		}
		return table
	}
	if !k.UseTLS {
		for _, name := range tlsKeyNames {
			if c.set(name) && c.good(name) && c.good("tls") {
				c.complain(name, "does nothing without TLS: add tls = true")
			}
		}
		return
	}
	k.TLS = TLS{
		Verify:     from("verify").flag("verify"),
		ServerName: from("server_name").serverName(),
		CAFile:     from("ca_file").file("ca_file"),
		CertFile:   from("cert_file").file("cert_file"),
		KeyFile:    from("key_file").file("key_file"),
		MinVersion: from("min_version").str("min_version"),
	}
	switch {
	case k.TLS.CertFile != "" && k.TLS.KeyFile == "":
		from("cert_file").complain("cert_file", "needs key_file, the private key of the certificate")
	case k.TLS.KeyFile != "" && k.TLS.CertFile == "":
		from("key_file").complain("key_file", "needs cert_file, the certificate of the key")
	}
	if !k.TLS.Verify && k.TLS.CAFile != "" {
		from("ca_file").doubt("ca_file", "does nothing with verify = false")
	}
}

// file reads the path of a file, or none.
func (c *record) file(name string) string {
	s := c.str(name)
	if s == "" {
		return ""
	}
	if complaint := fileComplaint(s); complaint != "" {
		c.complain(name, "%s", complaint)
	}
	return s
}

// serverName reads the name that a certificate must be for.
func (c *record) serverName() string {
	s := c.str("server_name")
	if c.set("server_name") && c.good("server_name") && (s == "" || strings.ContainsAny(s, "/@?#:") && !isAddress(s) || strings.ContainsFunc(s, unprintable)) {
		c.complain("server_name", `must be a name as in a certificate, such as "www.example.com", not %s`, quoted(s))
	}
	return s
}

// query reads the keys of dns.
func (c *record) query(k *Check) {
	k.DNSRecord, k.DNSRcode, k.DNSTCP = c.str("record"), c.str("rcode"), c.flag("tcp")
	name := c.str("name")
	k.DNSName = strings.TrimSuffix(name, ".")
	switch {
	case !c.set("name"):
		c.fail(c.at, c.path.key("name"), `missing: say which name is asked for, such as "www.example.com"`)
	case c.good("name") && name != ".":
		if complaint := hostNameComplaint(name); complaint != "" {
			c.complain("name", "%s", complaint)
		}
	}
	if k.DNSAnswer = c.str("answer"); k.DNSAnswer == "" {
		return
	}
	a, err := netip.ParseAddr(k.DNSAnswer)
	switch {
	case k.DNSRcode != "NOERROR":
		c.complain("answer", "cannot come with rcode %s: leave one out", k.DNSRcode)
	case k.DNSRecord == "A" && (err != nil || !a.Is4()):
		c.complain("answer", `must be an IPv4 address for record = "A", not %s`, quoted(k.DNSAnswer))
	case k.DNSRecord == "AAAA" && (err != nil || !a.Is6() || a.Zone() != ""):
		c.complain("answer", `must be an IPv6 address for record = "AAAA", not %s`, quoted(k.DNSAnswer))
	case err == nil:
		k.DNSAnswer = a.String()
	}
}

// greeting reads the keys of smtp.
func (c *record) greeting(k *Check) {
	k.Helo = c.str("helo")
	if k.Helo == "" || strings.ContainsFunc(k.Helo, unprintable) || len(k.Helo) > 255 {
		c.complain("helo", `must be a host name, or an address in brackets, such as "lb1.example.com", not %s`, quoted(k.Helo))
	}
}

// program reads the keys of exec. No shell takes part in it.
func (c *record) program(k *Check) {
	const example = `["/usr/local/bin/probe", "-v"]`
	k.Command, k.User = c.argv("command", example), c.str("user")
	if c.good("command") && !c.set("command") {
		c.fail(c.at, c.path.key("command"), "missing: say which program is run, such as "+example)
	}
	if strings.ContainsAny(k.User, ": \t\r\n\x00") {
		c.complain("user", "is not the name of a user: %s", quoted(k.User))
	}
}

// agent reads the port of an agent, which address may say, too.
func (p *checkPlan) agent() {
	c := p.record
	switch {
	case c.set("port") && c.good("port") && !p.anyPort:
		c.complain("port", "is said by address, too: leave one out")
	case c.set("port") && c.good("port"):
		p.override, p.anyPort = netip.AddrPortFrom(p.override.Addr(), uint16(c.num("port"))), false
	case !c.set("port") && p.anyPort:
		c.fail(c.at, c.path.key("port"), "missing: say which port the agent answers on, such as port = 5666")
		p.portless = true
	}
}
