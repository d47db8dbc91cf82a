package dialogue

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// TLSMode is how a protocol comes to TLS.
type TLSMode int

const (
	TLSFirst   TLSMode = iota // from the first byte, with the key tls
	TLSAlways                 // from the first byte, always
	TLSUpgrade                // by a command of the protocol, with the key tls
)

// Settings are what a check says about a dialogue.
type Settings struct {
	Address        netip.AddrPort // of the server; sip names it
	TLS            bool
	User, Password string
	Database       string // mysql, postgres: "": none; redis: a number; amqp: the virtual host, "": /
	Role           string // "": any, "primary" or "replica"; redis, mysql, postgres
	Query          string // mysql, postgres: must return a row
	Base           string // ldap: the entry that must exist; "": none
	Expect         string // ldap, mysql, postgres, sip: regular expression (package pattern); "": the dialogue's own, or none
	ExpectNot      string // of these: regular expression that must not match, of sip before Expect does; "": none
	Secret         string // radius
}

// Step is one exchange of a Script. Expressions are those of package pattern. After a last
// step that expects nothing the server closes.
type Step struct {
	Send   string // "": nothing
	Expect string // must match; "": expects nothing
	Not    string // fails at once where it matches; "": none
	Refuse string // fails at once where it matches and Expect does not; "": none
	// Fresh: {random} in Send stands for 16 hexadecimal digits, new ones for each probe.
	Fresh bool
	// StartTLS starts TLS; the step neither sends nor expects.
	StartTLS bool
}

// kind is a dialogue as data. In what is sent, {user}, {password} and {database} stand
// for the settings, in the encoding of the protocol.
type kind struct {
	tls      TLSMode
	hello    Step // the greeting, or the first question
	startTLS Step // with TLSUpgrade
	login    []Step
	password []Step // the login without a user; nil: login
	guest    string // the password where none is given
	database Step
	roles    map[string]Step
	bye      string
	encode   func(string) string // nil: as it is
	build    func(*Settings) []Step
}

// Patterns are matched line by line. A whole line that is not the expected one is refused
// at once, and not at the deadline.
const (
	anyLine = `\n`
	// A reply of FTP (RFC 959 §4.2) ends with a line that has a space after its code.
	ftpRefuse = `^\d{3} [^\n]*\n|\A\D`
	// Untagged lines may precede the tagged one (RFC 9051 §2.2.2).
	imapRefuse = `^a [^\n]*\n|^\* BYE[^\n]*\n|\A[^*+a]`
)

var (
	imap = kind{
		hello:    Step{Expect: `^\* (OK|PREAUTH)\b[^\n]*\n`, Refuse: anyLine},
		startTLS: Step{Send: "a STARTTLS\r\n", Expect: `^a OK\b[^\n]*\n`, Refuse: imapRefuse},
		login:    []Step{{Send: "a LOGIN {user} {password}\r\n", Expect: `^a OK\b[^\n]*\n`, Refuse: imapRefuse}},
		bye:      "a LOGOUT\r\n",
		encode:   imapQuoted,
	}
	pop3 = kind{
		hello:    Step{Expect: `^\+OK\b[^\n]*\n`, Refuse: anyLine},
		startTLS: Step{Send: "STLS\r\n", Expect: `^\+OK\b[^\n]*\n`, Refuse: anyLine},
		login: []Step{{Send: "USER {user}\r\n", Expect: `^\+OK\b[^\n]*\n`, Refuse: anyLine},
			{Send: "PASS {password}\r\n", Expect: `^\+OK\b[^\n]*\n`, Refuse: anyLine}},
		bye: "QUIT\r\n",
	}
	kinds = map[string]kind{
		"imap":  upgrading(imap),
		"imaps": always(imap),
		"pop3":  upgrading(pop3),
		"pop3s": always(pop3),
		"ftp": {
			tls:      TLSUpgrade,
			hello:    Step{Expect: `^220 [^\n]*\n`, Refuse: ftpRefuse},
			startTLS: Step{Send: "AUTH TLS\r\n", Expect: `^234 [^\n]*\n`, Refuse: ftpRefuse},
			login: []Step{{Send: "USER {user}\r\n", Expect: `^(331|230) [^\n]*\n`, Refuse: ftpRefuse},
				// 503: the name alone logged in (RFC 959 §5.4).
				{Send: "PASS {password}\r\n", Expect: `^(230|202|503) [^\n]*\n`, Refuse: ftpRefuse}},
			guest: "lvsd@", // RFC 1635 §2.1
			bye:   "QUIT\r\n",
		},
		"nntp": {
			tls:      TLSUpgrade,
			hello:    Step{Expect: `^20[01] [^\n]*\n`, Refuse: anyLine},
			startTLS: Step{Send: "STARTTLS\r\n", Expect: `^382 [^\n]*\n`, Refuse: anyLine},
			login: []Step{{Send: "AUTHINFO USER {user}\r\n", Expect: `^(381|281) [^\n]*\n`, Refuse: anyLine},
				// 482: the name alone logged in (RFC 4643 §2.3).
				{Send: "AUTHINFO PASS {password}\r\n", Expect: `^(281|482) [^\n]*\n`, Refuse: anyLine}},
			bye: "QUIT\r\n",
		},
		"redis": {
			hello:    Step{Send: "PING\r\n", Expect: `^\+PONG\r\n`, Refuse: anyLine},
			login:    []Step{{Send: "*3\r\n$4\r\nAUTH\r\n{user}{password}", Expect: `^\+OK\r\n`, Refuse: anyLine}},
			password: []Step{{Send: "*2\r\n$4\r\nAUTH\r\n{password}", Expect: `^\+OK\r\n`, Refuse: anyLine}},
			database: Step{Send: "*2\r\n$6\r\nSELECT\r\n{database}", Expect: `^\+OK\r\n`, Refuse: anyLine},
			roles: map[string]Step{
				"primary": {Send: "ROLE\r\n", Expect: `^\$6\r\nmaster\r\n`, Refuse: redisRole},
				"replica": {Send: "ROLE\r\n", Expect: `^\$5\r\nslave\r\n`, Refuse: redisRole},
			},
			bye:    "QUIT\r\n",
			encode: redisBulk,
		},
		"memcached": {
			hello: Step{Send: "version\r\n", Expect: `^VERSION [^\n]*\n`, Refuse: anyLine},
			login: []Step{{Send: "{memcached}", Expect: `^STORED\r\n`, Refuse: anyLine}},
			bye:   "quit\r\n",
		},
		"amqp": {build: amqp},
		"rtsp": {
			// To the end of the header: a server that still writes it logs an error.
			hello: Step{Send: "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: lvsd\r\n\r\n", Expect: `\ARTSP/1\.0 2\d\d\b(?s:.*?)\n\r?\n`,
				Refuse: `\ARTSP/1\.0 [^2][^\n]*\n|\A([^R]|R[^T]|RTSP/[^1]|RTSP/1\.[^0])[^\n]*\n`},
		},
		"sip": {build: sip},
	}
)

const redisRole = `^-[^\n]*\n|^\$\d+\r\n[^\n]*\n|\A[^*-]`

func upgrading(k kind) kind { k.tls = TLSUpgrade; return k }

func always(k kind) kind { k.tls = TLSAlways; return k }

// sessions are the types that have a Session, with their ways to TLS. radius has a type of
// its own.
var sessions = map[string]TLSMode{"mysql": TLSUpgrade, "postgres": TLSUpgrade, "ldap": TLSUpgrade, "ldaps": TLSAlways, "radius": TLSFirst}

// Known reports whether a type of check is a dialogue of this package.
func Known(name string) bool {
	_, session := sessions[name]
	_, script := kinds[name]
	return session || script
}

// Mode returns how a type of check comes to TLS.
func Mode(name string) TLSMode {
	if mode, ok := sessions[name]; ok {
		return mode
	}
	return kinds[name].tls
}

// Script returns the steps of a dialogue, or what cannot be sent of the settings.
func Script(name string, s Settings) ([]Step, error) {
	k, ok := kinds[name]
	if !ok {
		return nil, fmt.Errorf("%q is not a built-in dialogue", name)
	}
	for _, text := range []string{s.User, s.Password, s.Database} {
		if strings.ContainsAny(text, "\r\n\x00") {
			return nil, fmt.Errorf("a user, password or database of %s must be one line", name)
		}
	}
	if k.build != nil {
		return k.build(&s), nil
	}
	steps := []Step{k.hello}
	if k.tls == TLSUpgrade && s.TLS {
		steps = append(steps, k.startTLS, Step{StartTLS: true})
	}
	loggedIn := s.User != "" || s.Password != ""
	switch {
	case s.User == "" && s.Password != "" && k.password != nil:
		steps = append(steps, k.password...)
	case loggedIn:
		steps = append(steps, k.login...)
	}
	if k.asksFirst() && loggedIn {
		steps = append(steps[1:], k.hello) // a server with a password replies to nothing before it
	}
	if s.Database != "" && k.database.Send != "" {
		steps = append(steps, k.database)
	}
	if role, ok := k.roles[s.Role]; ok {
		steps = append(steps, role)
	}
	if k.bye != "" {
		steps = append(steps, Step{Send: k.bye})
	}
	encode := k.encode
	if encode == nil {
		encode = func(text string) string { return text }
	}
	password := cmp.Or(s.Password, k.guest)
	fill := strings.NewReplacer("{user}", encode(s.User), "{password}", encode(password), "{database}", encode(s.Database),
		"{memcached}", memcachedLogin(s.User, password))
	out := make([]Step, 0, len(steps))
	for _, step := range steps {
		step.Send = fill.Replace(step.Send)
		out = append(out, step)
	}
	return out, nil
}

// asksFirst reports whether the client speaks first.
func (k *kind) asksFirst() bool { return k.hello.Send != "" }

// Secrets returns the forms in which a password is sent, for those who hide them.
func Secrets(password string) []string {
	if password == "" {
		return nil
	}
	if quoted := imapQuoted(password); quoted != `"`+password+`"` {
		return []string{quoted, password}
	}
	return []string{password}
}

// imapQuoted encodes a quoted string of IMAP (RFC 9051 §4.3).
func imapQuoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// redisBulk encodes a bulk string of RESP.
func redisBulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

// memcachedLogin is a login of the text protocol: the value of a "set" of any key.
func memcachedLogin(user, password string) string {
	value := user + " " + password
	return "set lvsd 0 0 " + strconv.Itoa(len(value)) + "\r\n" + value + "\r\n"
}

// sip asks what the server supports (RFC 3261 §11). A reply to an equal request may come
// from the memory of an earlier one for half a minute (§17.2.2), so that each has an
// identity of its own.
func sip(s *Settings) []Step {
	return []Step{sipStep(s, "TCP")}
}

// sipStep waits for the final response: provisional ones may come before it (§8.1.3.2).
func sipStep(s *Settings, transport string) Step {
	return Step{Send: sipRequest(s, transport), Expect: cmp.Or(s.Expect, `^SIP/2\.0 200 `), Not: s.ExpectNot, Refuse: `^SIP/2\.0 [2-6][^\n]*\n|\A[^S]`, Fresh: true}
}

// SIPDatagram is the dialogue of sip over UDP.
func SIPDatagram(s Settings) Step {
	return sipStep(&s, "UDP")
}

func sipRequest(s *Settings, transport string) string {
	if s.TLS {
		transport = "TLS"
	}
	target := "sip:" + s.Address.String()
	if s.User != "" {
		target = "sip:" + s.User + "@" + s.Address.String()
	}
	return strings.Join([]string{
		"OPTIONS " + target + " SIP/2.0",
		"Via: SIP/2.0/" + transport + " lvsd.invalid;branch=z9hG4bK{random};rport",
		"Max-Forwards: 70",
		"To: <" + target + ">",
		"From: <sip:lvsd@lvsd.invalid>;tag={random}",
		"Call-ID: {random}@lvsd.invalid",
		"CSeq: 1 OPTIONS",
		"Accept: application/sdp",
		"User-Agent: lvsd",
		"Content-Length: 0", "", "",
	}, "\r\n")
}
