// This file holds what a caller states: targets, and the checks that each must
// pass. It never probes or judges anything.

package probe

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// The types of a check.
const (
	TypeConnect = "connect" // TCP handshake
	TypeSYN     = "syn"     // its first half: the application is never woken
	TypeTCP     = "tcp"     // handshake, perhaps TLS, then send and expect
	TypeHTTP    = "http"    // one HTTP request
	TypeHTTPS   = "https"   // the same in TLS
	TypePing    = "ping"    // ICMP echo
	TypeUDP     = "udp"     // a datagram, perhaps an answer
	TypeDNS     = "dns"     // one query
	TypeSMTP    = "smtp"    // greeting, EHLO, perhaps STARTTLS, QUIT
	TypeExec    = "exec"    // a program's exit code
	TypeAgent   = "agent"   // a line of the server's agent
	TypeGRPC    = "grpc"    // gRPC's health service
	TypeOn      = "on"      // always up, nothing is probed
	TypeOff     = "off"     // always down, nothing is probed
)

// Check is what is probed and how results are judged. All defaults are
// resolved by the caller, except where a field says otherwise. Checks that are
// equal in everything but Rise and Fall share one probe.
type Check struct {
	Type    string
	Address netip.AddrPort // what is probed; not read for "on", "off"; of "ping" and "exec" the port may be 0
	// HostName is looked up in place of Address's address, which is then not
	// read, outside of the probe's time; its port counts. While the name
	// service fails the old answer holds. "": Address has the address.
	HostName string

	Interval     time.Duration // > 0
	FastInterval time.Duration // while a verdict is changing; 0 or more than Interval: Interval
	Timeout      time.Duration // > 0, for the whole probe
	Rise, Fall   int           // >= 1

	From netip.Addr // source address; invalid: the kernel chooses
	Mark uint32     // SO_MARK, needs CAP_NET_ADMIN; 0: none
	// MarkPath: the mark leads the probe to the server by a path in this machine's
	// kernel. What would speak against the verdict counts only if Options.Stands
	// says that the path was there.
	MarkPath bool

	// tcp and udp. Expect is a regular expression (RE2 syntax) that must match
	// anywhere in the first 16 KiB that the server sends, and ExpectText is
	// bytes that must stand there; "" expects nothing.
	Send, Expect, ExpectText string
	Steps                    []Step // tcp: in place of the three
	RequireReply             bool   // udp: silence is a failure; always so where something is expected

	// http and https.
	Method          string            // "": GET
	Host            string            // Host header; "": Address
	Path            string            // "": /
	Headers         map[string]string // added to, or instead of, our own
	Secrets         []string          // values in Headers that no result and no transcript shows
	Body            string            // of the request
	Status          []StatusRange     // accepted; none: 200-299
	BodyExpect      string            // regular expression (RE2) on the first 64 KiB of the body; "": none
	ExpectNot       string            // the same, which must not match; "": none
	Digest          string            // of the whole body, at most 16 MiB: "sha256:" or "md5:" and lower-case hex; "": none
	FollowRedirects int               // at most so many
	HTTP2           bool              // nothing but HTTP/2
	ProxyProtocol   string            // "", "v1", "v2": the header that a connection begins with

	TLS *TLSConfig // https; nil: &TLSConfig{Verify: true}. tcp, smtp (by STARTTLS) and grpc: nil is no TLS

	Count int // ping: echo requests; 0 counts as 1

	// dns.
	DNSName   string // "" is the root
	DNSRecord string // "A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"
	DNSRcode  string // "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"; "": NOERROR
	DNSAnswer string // what one record must say; "": anything, or nothing
	DNSTCP    bool   // over TCP

	Helo string // smtp; "": localhost

	// exec. The environment holds LVSD_SERVICE, LVSD_REAL_SERVER,
	// LVSD_ADDRESS and LVSD_PORT, so the probe is shared by nobody.
	Command []string // the program, an absolute path, and its arguments
	User    string   // "": ours
	Service string   // LVSD_SERVICE
	Server  string   // LVSD_REAL_SERVER

	GRPCService string // "": the server as a whole
}

// Step is one exchange of a dialogue. What is expected is looked for in what
// came since the step before.
type Step struct{ Send, Expect, ExpectText string }

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ First, Last int }

// TLSConfig is the TLS side of a check.
type TLSConfig struct {
	Verify     bool
	ServerName string         // SNI and the name verified; "": Host or HostName where that is a name, else the address
	CAs        *x509.CertPool // nil: the system's
	// CAKey stands for CAs where checks are compared: a changed content must
	// have a changed key (a hash of the file, say).
	CAKey string
	// Certificate is the client's own, nil for none, and CertificateKey stands
	// for it as CAKey does for CAs.
	Certificate    *tls.Certificate
	CertificateKey string
	MinVersion     string // "1.0" to "1.3"; "": 1.2
}

// TargetName says what is probed, for people.
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

// Validate looks at what all probing checks have in common.
func (c *Check) Validate() error {
	portless := c.Type == TypePing || c.Type == TypeExec
	switch {
	case c.HostName != "" && c.Address.Port() == 0 && !portless:
		return fmt.Errorf("%s has no port", c.HostName)
	case c.HostName == "" && (!c.Address.IsValid() || c.Address.Port() == 0 && !portless):
		return fmt.Errorf("%v is no address with a port", c.Address)
	case c.Interval <= 0:
		return fmt.Errorf("the interval is %v", c.Interval)
	case c.Timeout <= 0:
		return fmt.Errorf("the timeout is %v", c.Timeout)
	case c.HostName == "" && c.From.IsValid() && c.From.Unmap().Is4() != c.Address.Addr().Unmap().Is4():
		return fmt.Errorf("the source %v and the address %v are of two families", c.From, c.Address)
	}
	return nil
}

// Probes reports whether a check probes anything: those of type "on" and "off" do
// not.
func (c *Check) Probes() bool { return c.Type != TypeOn && c.Type != TypeOff }
