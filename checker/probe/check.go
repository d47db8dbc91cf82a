package probe

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"lvsd/checker/probe/dialogue"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// The types of a check.
const (
	TypeConnect = "connect" // TCP handshake
	TypeSYN     = "syn"     // SYN and SYN-ACK: the application never sees a connection
	TypeTCP     = "tcp"     // handshake, optional TLS, then send and expect
	TypeHTTP    = "http"    // one HTTP request
	TypeHTTPS   = "https"   // one HTTP request over TLS
	TypePing    = "ping"    // ICMP echo
	TypeUDP     = "udp"     // a datagram, optionally an answer
	TypeDNS     = "dns"     // one query
	TypeSMTP    = "smtp"    // greeting, EHLO, optional STARTTLS, QUIT
	TypeExec    = "exec"    // the exit code of a program
	TypeAgent   = "agent"   // a line of the server's agent (HAProxy's agent-check)
	TypeGRPC    = "grpc"    // gRPC's health service
	TypeFile    = "file"    // the existence of a file
	TypeOn      = "on"      // always up, no probe
	TypeOff     = "off"     // always down, no probe
	TypeSIP     = "sip"     // OPTIONS
	TypeRadius  = "radius"  // Access-Request, or Status-Server
	// And the other dialogues of package dialogue: imap, imaps, pop3, pop3s, ftp, nntp,
	// ldap, ldaps, redis, memcached, amqp, rtsp, mysql, postgres.
)

// Check is what is probed and how results are counted. The caller resolves all defaults,
// except where a field says otherwise. Checks that are equal in everything but Name, Rise
// and Fall share one probe.
type Check struct {
	Type    string
	Name    string         // among the checks of a server; "": made of type and address. It identifies no probe
	Address netip.AddrPort // what is probed; not read for "on", "off"; of "ping", "exec" and "file" the port may be 0
	// HostName is looked up instead of the address in Address, of which only the
	// port is used then. Lookups run in the background, not within Timeout; while
	// they fail the old addresses stay in use. "": Address has the address.
	HostName string

	Interval     time.Duration // > 0
	FastInterval time.Duration // while a state is changing; 0 or more than Interval: Interval
	Timeout      time.Duration // > 0, for the whole probe
	Rise, Fall   int           // >= 1

	From netip.Addr // source address; invalid: the kernel chooses
	Mark uint32     // SO_MARK, needs CAP_NET_ADMIN; 0: none
	// Interface is where the probe leaves from (SO_BINDTODEVICE), not of "syn"; "": the
	// kernel chooses.
	Interface string
	// MarkPath: the probe reaches the server through a firewall-mark service of this
	// machine, by Mark. A result that would change the state counts only if
	// checker.Options.PathFault reports that the service was intact.
	MarkPath bool

	FIN bool // connect and tcp: a connection is closed, not reset; the dialogues do so anyway

	// ReadLimit bounds what is read of an answer in bytes, where expressions are looked
	// for: of a step of tcp, 0 is MaxAnswer; of an HTTP body, 0 is wire.MaxBody, or
	// wire.MaxHashedBody with Digest, and less is none.
	ReadLimit     int
	ProxyProtocol string // http, https, tcp, smtp, grpc and the dialogues: "", "v1", "v2": PROXY header at the start of the connection

	// tcp and udp, Send also of agent. Expect is a regular expression (package pattern) that must match
	// anywhere in what the server sends, and ExpectText is a byte sequence that must be
	// in it; "" expects nothing.
	Send, Expect, ExpectText string
	Steps                    []Step // tcp: instead of Send, Expect, ExpectText and ExpectNot
	RequireReply             bool   // udp: no answer is a failure; implied by Expect and ExpectText
	// ExpectNot is a regular expression that must not match: of tcp, udp and sip before Expect
	// does, of http and https in the body, of mysql, postgres and ldap where Expect must; "": none.
	ExpectNot string

	// http and https.
	Method          string            // "": GET
	Host            string            // Host header; "": Address
	Path            string            // "": /
	Headers         map[string]string // added to the default ones, or replacing them
	Secrets         []string          // values in Headers that are hidden in results and traces
	Body            string            // of the request
	Status          []StatusRange     // accepted; none: 200-299
	BodyExpect      string            // regular expression (package pattern) on the body; "": none
	Digest          string            // of the whole body: "sha256:" or "md5:" and lower-case hex; "": none
	Response        *Response         // what else counts of a response; nil: nothing
	FollowRedirects int               // at most this many
	HTTP2           bool              // HTTP/2 only

	// https, imaps, pop3s and ldaps; nil: &TLSConfig{Verify: true}. Of other types nil is no TLS. tcp with a
	// step that starts it, smtp, imap, pop3, ftp, nntp, ldap, mysql and postgres come to it by a command.
	TLS *TLSConfig

	Count int // ping: echo requests; 0 counts as 1

	// dns.
	DNSName   string // "" is the root
	DNSRecord string // "A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"
	DNSRcode  string // "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"; "": NOERROR
	DNSAnswer string // what one record must contain; "": anything, or no record
	DNSTCP    bool   // dns and sip: over TCP

	Helo string // smtp; "": localhost

	// exec. In the arguments {address} and {port} stand for what is probed. The
	// environment has LVSD_SERVICE, LVSD_REAL_SERVER, LVSD_ADDRESS and LVSD_PORT, so that
	// no two targets share the probe.
	Command []string // the program, an absolute path, and its arguments
	User    string   // "": that of lvsd
	Service string   // LVSD_SERVICE
	Server  string   // LVSD_REAL_SERVER

	GRPCService string // "": the server as a whole

	File       string // file: an absolute path
	FileAbsent bool   // up while it does not exist, instead of while it does
	// Dialogue has the settings of the dialogues of package dialogue, without Address, TLS
	// and what is expected; nil: none. Secrets has the forms in which the password is sent.
	Dialogue *dialogue.Settings
}

// Response is what counts of an HTTP response besides its status and the text of its body.
type Response struct {
	Headers     map[string]string // a field that it must have, and what must match the value (package pattern); "": any
	JSON        map[string]string // a JSON pointer into the body, and the text of the value there (wire.JSONAt)
	DrainStatus []StatusRange     // a status by which a server that is up asks to be drained
	DrainHeader string            // a field of an accepted response by which it does; "": none
	DrainMatch  string            // what must match DrainHeader (package pattern); "": any value
}

// Step is one exchange of a dialogue. What is expected is searched in what was received
// since the previous step. StartTLS, Refuse and Fresh are as in dialogue.Step.
type Step struct {
	Send, Expect, ExpectText, ExpectNot string
	StartTLS                            bool

	Refuse string
	Fresh  bool
}

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ First, Last int }

// TLSConfig is the TLS side of a check.
type TLSConfig struct {
	Verify     bool
	Legacy     bool           // offers cipher suites with known weaknesses too
	ServerName string         // SNI and the name verified; "": Host or HostName if that is a name, else the address
	CAs        *x509.CertPool // nil: the system's
	// CAKey represents CAs where checks are compared: other contents must have
	// another key (such as a hash of the file).
	CAKey string
	// Certificate is the client certificate, nil for none; CertificateKey represents
	// it as CAKey does CAs.
	Certificate    *tls.Certificate
	CertificateKey string
	MinVersion     string // "1.0" to "1.3"; "": 1.2
	// ALPN is the protocol that is offered (RFC 7301), not of http, https and grpc, which
	// offer the one that they speak; "": none.
	ALPN string
}

// TargetName returns what is probed, for people.
func (c *Check) TargetName() string {
	switch {
	case c.HostName != "" && c.Address.Port() != 0:
		return c.HostName + ":" + strconv.Itoa(int(c.Address.Port()))
	case c.HostName != "":
		return c.HostName
	case c.Address.Port() == 0:
		return c.Address.Addr().String()
	}
	return c.Address.String()
}

// portless are the types whose address may lack a port. The configuration has the same
// in the table of types of config/schema.
var portless = map[string]bool{TypePing: true, TypeExec: true, TypeFile: true}

// Validate checks what all probing checks have in common.
func (c *Check) Validate() error {
	portless := portless[c.Type]
	switch {
	case c.HostName != "" && c.Address.Port() == 0 && !portless:
		return fmt.Errorf("%s has no port", c.HostName)
	case c.HostName == "" && (!c.Address.IsValid() || c.Address.Port() == 0 && !portless):
		return fmt.Errorf("%v is not an address with a port", c.Address)
	case c.Interval <= 0:
		return fmt.Errorf("the interval is %v", c.Interval)
	case c.Timeout <= 0:
		return fmt.Errorf("the timeout is %v", c.Timeout)
	case c.HostName == "" && c.From.IsValid() && c.From.Unmap().Is4() != c.Address.Addr().Unmap().Is4():
		return fmt.Errorf("the source %v and the address %v are of different families", c.From, c.Address)
	}
	return nil
}

// Probes reports whether a check probes anything: those of type "on" and "off" do
// not.
func (c *Check) Probes() bool { return c.Type != TypeOn && c.Type != TypeOff }

// AppendKey appends what identifies the probe of a check: every field but Name, Rise, Fall
// and Secrets, whatever the type, each delimited by its length.
func (c *Check) AppendKey(b []byte) []byte {
	k := keyWriter{b}
	k.text(c.Type)
	if !c.Probes() {
		return k.b
	}
	k.address(c.Address.Addr())
	k.number(int(c.Address.Port()))
	k.text(c.HostName)
	k.number(int(c.Interval), int(c.FastInterval), int(c.Timeout))
	k.address(c.From)
	k.number(int(c.Mark))
	k.flag(c.MarkPath)
	k.flag(c.FIN)
	k.text(c.Interface, c.Send, c.Expect, c.ExpectText, c.File)
	k.flag(c.FileAbsent)
	k.flag(c.Dialogue != nil)
	if s := c.Dialogue; s != nil {
		k.text(s.User, s.Password, s.Secret, s.Database, s.Role, s.Query, s.Base)
	}
	k.number(len(c.Steps))
	for _, s := range c.Steps {
		k.text(s.Send, s.Expect, s.ExpectText, s.ExpectNot, s.Refuse)
		k.flag(s.StartTLS)
		k.flag(s.Fresh)
	}
	k.flag(c.RequireReply)
	k.http(c)
	k.tls(c.TLS)
	k.number(c.Count)
	k.text(c.DNSName, c.DNSRecord, c.DNSRcode, c.DNSAnswer)
	k.flag(c.DNSTCP)
	k.text(c.Helo)
	k.number(len(c.Command))
	k.text(c.Command...)
	k.text(c.User, c.Service, c.Server, c.GRPCService)
	return k.b
}

// keyWriter builds a key.
type keyWriter struct{ b []byte }

func (k *keyWriter) text(all ...string) {
	for _, s := range all {
		k.b = binary.AppendUvarint(k.b, uint64(len(s)))
		k.b = append(k.b, s...)
	}
}

func (k *keyWriter) number(all ...int) {
	for _, n := range all {
		k.b = binary.AppendVarint(k.b, int64(n))
	}
}

func (k *keyWriter) flag(f bool) {
	n := 0
	if f {
		n = 1
	}
	k.number(n)
}

func (k *keyWriter) address(a netip.Addr) {
	at := len(k.b)
	k.b, _ = a.AppendBinary(append(k.b, 0)) // never fails
	k.b[at] = byte(len(k.b) - at - 1)
}

func (k *keyWriter) tls(t *TLSConfig) {
	k.flag(t != nil)
	if t != nil {
		k.flag(t.Verify)
		k.flag(t.Legacy)
		k.text(t.ServerName, t.CAKey, t.CertificateKey, t.MinVersion, t.ALPN)
	}
}

func (k *keyWriter) texts(all map[string]string) {
	k.number(len(all))
	if len(all) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		k.text(name, all[name])
	}
}

func (k *keyWriter) ranges(all []StatusRange) {
	k.number(len(all))
	for _, s := range all {
		k.number(s.First)
		k.number(s.Last)
	}
}

func (k *keyWriter) http(c *Check) {
	k.text(c.Method, c.Host, c.Path, c.Body, c.BodyExpect, c.ExpectNot, c.Digest, c.ProxyProtocol)
	k.number(c.FollowRedirects)
	k.number(c.ReadLimit)
	k.flag(c.HTTP2)
	k.texts(c.Headers)
	k.ranges(c.Status)
	k.flag(c.Response != nil)
	if r := c.Response; r != nil {
		k.ranges(r.DrainStatus)
		k.text(r.DrainHeader, r.DrainMatch)
		k.texts(r.Headers)
		k.texts(r.JSON)
	}
}
