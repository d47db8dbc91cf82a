// The types that the rest of the program sees. They are plain values: who receives
// one only reads it.

package config

import (
	"net/netip"
	"time"

	"lvsd/config/include"
	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/tomlpos"
)

// Position is a line and a column of the file, both from 1.
type Position = tomlpos.Position

// Error is one error of a file, or one warning, with its position and path.
type Error = reader.Error

// Errors is every error of a file, sorted by position. Parse returns it as its
// error; errors.As finds it.
type Errors = reader.Errors

// File is a configuration file without errors, valid for every director that
// it names. It is made by Parse.
type File struct {
	Name      string     // as given to Parse, for messages
	Hash      string     // SHA-256 of the text, hex, the first 16 characters
	Directors []Director // in the file's order; empty when the file names none
	Warnings  []Error    // sorted by position: valid, and probably not intended

	configs  map[string]*Config // by director; one under "" when the file names none
	services []Service          // of all of them

	// What ParseAfter needs: the sections of the text, the digest of those that are
	// not services, and whether there were more warnings than are listed.
	sections     []tomlpos.Section
	lines        include.Lines
	joined       []Error // Warnings, at the lines of the text
	commonDigest string
	truncated    bool
}

// Director is one of the hosts that share the file.
type Director struct {
	Name    string
	Address netip.Addr // zero when the file gives none
	Position
}

// Config is a File resolved for one director: defaults filled in, and of each
// value that differs between the directors the one for this director.
type Config struct {
	Director  string     // that it is resolved for
	Directors []Director // all, this one included
	Hash      string     // of the text, as in File
	File      string     // the file's name

	Global    Global
	IPVS      IPVS
	Checker   Checker
	Guard     *Guard     // nil = off, as it is without witnesses
	Exchange  *Exchange  // nil = the directors exchange nothing
	Email     *Email     // nil = no mail
	Instances []Instance // in the file's order
	// SyncGroups are those that have settings of their own.
	SyncGroups []SyncGroup
	Announces  []Announce // in the file's order
	Services   []Service  // in the file's order
}

// Defaults of [global] that commands use without a configuration file.
const (
	DefaultControlSocket = schema.DefaultControlSocket
	DefaultStateDir      = schema.DefaultStateDir
)

// Global is the [global] table: the daemon itself.
type Global struct {
	HTTPListen    string   // IP:PORT or :PORT; "" = no HTTP at all
	WebConfigFile string   // absolute path; "" = neither TLS nor authentication
	ControlSocket string   // absolute path, at most 107 bytes (sun_path, unix(7))
	ControlGroup  string   // "" = root alone
	StateDir      string   // absolute path
	Notify        []string // absolute path and arguments; nil = none
	NotifyUser    string   // that programs which are notified run as; "" = the daemon's own
	Webhook       string   // an http or https URL; "" = none
	WebhookFormat string   // "json" "slack" "alertmanager"
	WebhookKinds  []string // kinds of events, as in Email; empty = all
	LogLevel      string   // "debug" "info" "warn" "error"
	LogFormat     string   // "text" "json"
	AutoReload    bool     // reload when the file changes
	// PerServerMetrics: /metrics has the series of each real server.
	PerServerMetrics bool
}

// Email is [email]: events sent by SMTP.
type Email struct {
	To           []string // at least one mail address
	From         string   // a mail address
	Server       string   // a host name or an IP address, and a port: HOST:PORT or [IPv6]:PORT
	TLS          string   // "none" "opportunistic" "starttls" "implicit" (RFC 8314 §3.3)
	User         string   // "" = no authentication
	PasswordFile string   // absolute path; "" where User is
	Kinds        []string // kinds of events, at least one; see the event package
}

// IPVS is the [ipvs] table: what concerns the kernel's table as a whole.
type IPVS struct {
	TimeoutTCP     time.Duration // whole seconds, 1s to 744h
	TimeoutTCPFin  time.Duration // as above
	TimeoutUDP     time.Duration // as above
	ManageSysctls  bool
	ResyncInterval time.Duration // 100ms to 1h
	OnStop         string        // "keep" "remove"
	Foreign        string        // "alarm" "remove" "ignore"
	ProbeMarkBase  uint32        // the key through_marks: the first of the ProbeMarkCount firewall marks of probes with Through
	Sync           *Sync         // nil = connections are not synchronised
}

// ProbeMarkCount is how many firewall marks are reserved for checks with Through:
// one for each real server that has such a check.
const ProbeMarkCount = schema.ProbeMarkCount

// Sync is [ipvs.sync]: the directors synchronise their connections, so that these
// survive a failover. Both run the sender and the receiver all the time.
type Sync struct {
	Interface     string        // at most 15 bytes (IFNAMSIZ - 1)
	ID            uint8         // 1 to 255: 0 would make the kernel accept every sender (ip_vs_sync.c)
	VRRP          string        // the instance whose mastership status and warnings refer to; "" = the file has none
	Group         netip.Addr    // multicast, IPv4 or IPv6
	Port          uint16        // UDP, 1 to 65535
	Sources       []netip.Addr  // that `lvsd host prepare` admits, of the group's family; nil = all
	TTL           uint8         // 1 to 255
	MaxLen        int           // bytes of a datagram's payload, 512 to 65507; 0 = what the interface's MTU allows
	Threshold     [2]int        // net.ipv4.vs.sync_threshold: packets before a connection is first sent, and packets between two messages
	RefreshPeriod time.Duration // net.ipv4.vs.sync_refresh_period, whole seconds; 0 = Threshold alone decides
}

// Checker is [checker]: what concerns all checks.
type Checker struct {
	ExecParallel int // programs of exec checks at once, 1 to 1000
}

// Guard is [guard]: witnesses that must be reachable before a simultaneous failure
// of most servers is acted on.
type Guard struct {
	Witnesses []netip.Addr // at least one
	Share     int          // percent of all servers, 1 to 100
}

// Exchange is [peers]: the exchange of status between the directors.
type Exchange struct {
	Listen  string // IP:PORT or :PORT of this director
	KeyFile string // absolute path
	Edits   bool   // the others may edit this director's file
	// ProbeShare: each real server is probed by one of the directors, as long as it is up.
	ProbeShare bool
	Address    netip.Addr // this director's own, by which the others reach it
	Peers      []Peer     // in the file's order, without this director; at least one
}

// Peer is another director.
type Peer struct {
	Name    string
	Address netip.AddrPort
}

// Instance is one [[vrrp]]: a group of addresses that one director has at a time.
type Instance struct {
	Name              string
	File              string        // that it is written in; "" = the first
	Interface         string        // at most 15 bytes (IFNAMSIZ - 1)
	VRID              uint8         // 1 to 255 (RFC 9568 §5.2.3)
	Priority          uint8         // 1 to 255; 255 is the owner (RFC 9568 §5.2.4)
	AdvertInterval    time.Duration // whole centiseconds, 10ms to 40.95s (RFC 9568 §5.2.7)
	Preempt           bool
	PreemptDelay      time.Duration         // 0s to 1h
	StartupDelay      time.Duration         // 0s to 1h: how long it waits for adverts at least after it starts
	Addresses         []netip.Prefix        // at most 255, one family; the first of IPv6 is link-local; none: its state is all that it has
	ExcludedAddresses []netip.Prefix        // move with Addresses, and are not advertised
	Interfaces        map[netip.Addr]string // of the addresses that are not on Interface; may be nil
	AnyIPv6           bool                  // the first address of IPv6 need not be link-local
	Routes            []Route               // move with the addresses
	Rules             []Rule                // move with the addresses
	VirtualMAC        bool                  // the addresses have the MAC address of RFC 9568 §7.3
	Checksum          string                // "rfc5798" "rfc9568"; what is sent, both are accepted
	Version           uint8                 // 3, or 2 (whole seconds, IPv4)
	Unicast           []netip.Addr          // the other directors; empty = multicast
	Source            netip.Addr            // with Unicast: this director's own
	UnicastHops       uint8                 // with Unicast: routers between the directors, 0 to 254
	Authentication    Authentication
	HandoverLimit     time.Duration // 0s to 1m; 0 = the addresses are removed at once
	SyncHold          time.Duration // 0s to 1h; how long it waits for connections before it preempts
	SyncGroup         string        // instances with the same name move together; "" = alone
	TrackInterfaces   []TrackedInterface
	TrackScripts      []TrackedScript
	Notify            []string // absolute path and arguments of a program that gets its events; nil = none
	StatePrograms
	TrackServices []TrackedService
	TrackFiles    []TrackedFile
	Position
}

// SyncGroup is [[sync_group]]: settings of a group of instances as a whole.
type SyncGroup struct {
	Name string // as in the SyncGroup of its instances
	StatePrograms
	Position
}

// StatePrograms are the programs that are run when an instance or a sync group enters a
// state, with four more arguments: INSTANCE or GROUP, its name, the state in capitals,
// and the priority. Each is an absolute path and arguments; nil = none.
type StatePrograms struct {
	NotifyMaster, NotifyBackup, NotifyFault, NotifyStop []string
}

// Announce is one [[announce]]: addresses that any number of directors serve at once. A
// route to each address in a kernel table of its own is what a routing daemon (BIRD, FRR)
// redistributes.
type Announce struct {
	Name      string
	Addresses []netip.Addr // at least one; local on every director while lvsd runs
	Table     int          // the kernel's routing table, 1 to 2^31-1; not 253 to 255
	// Serving and Draining are metrics (RTA_PRIORITY) of the routes, 1 to 2^32-1: as a
	// rule, and while the addresses are announced although this director should not.
	Serving, Draining uint32
	// Services are those whose quorum decides, in the file's order; at least one. All:
	// each of them must have it, else one is enough.
	Services     []string
	All          bool
	HoldStart    time.Duration // 0s to 1h, after the first results of all checks
	SyncHold     time.Duration // 0s to 1h, how long a start waits for connections at most
	WithdrawWait time.Duration // 0s to 1m, between withdrawing and stopping
	Fault        bool          // a lost quorum withdraws even where no other director serves
	// RoutingDaemon is the control socket of the routing daemon; "": BIRD's or FRR's usual one.
	RoutingDaemon string
	Position
}

// Route is a route that moves with an instance's addresses.
type Route struct {
	To        netip.Prefix // /0: the default route
	Via       netip.Addr   // zero = on the link
	Interface string
	Table     int        // 1 to 2^31-1; 254 is main
	Source    netip.Addr // zero = the kernel's choice
	Metric    int        // 0 = the kernel's default
}

// Rule is a routing policy rule that moves with an instance's addresses.
type Rule struct {
	From, To  netip.Prefix // zero = any
	Mark      uint32       // 0 = any
	Interface string       // that packets come in on; "" = any
	Table     int          // 1 to 2^31-1
	Priority  int          // 1 to 32765
}

// TrackedInterface is an interface that an instance tracks besides its own.
type TrackedInterface struct {
	Name   string
	Weight int // -253 to 253; 0 = down is a fault
}

// TrackedService is a service whose quorum an instance tracks.
type TrackedService struct {
	Name   string // of a service of the file
	Weight int    // -253 to -1: added to the priority while its quorum is lost
	Fault  bool   // losing the quorum is a fault; then Weight is 0
}

// TrackedFile is a file with a number that an instance tracks.
type TrackedFile struct {
	Path   string // absolute
	Weight int    // -253 to 253: factor of the number; 0 = any number other than 0 is a fault
}

// TrackedScript is a program whose exit code an instance tracks.
type TrackedScript struct {
	Command    []string // absolute path and arguments
	Interval   time.Duration
	Timeout    time.Duration
	Rise, Fall int // 1 to 100
	Weight     int // -253 to 253; 0 = a failure is a fault
}

// Authentication is how an instance's advertisements are authenticated.
type Authentication struct {
	Type       string // "" = none; "pass" (version 2), "hmac" (version 3)
	KeyFile    string // an absolute path
	Permissive bool   // of "hmac"
}

// Tunnel is the encapsulation of packets to a real server with Forward "tun". It is
// zero with another Forward.
type Tunnel struct {
	Type     string // "ipip" "gue" "gre"
	Port     uint16 // UDP port of gue, 1 to 65535; else 0
	Checksum string // "none" "csum" (gre, gue) "remcsum" (gue)
}

// Service is one [[virtual_service]]. It has either an Address or an FWMark.
type Service struct {
	Name              string
	File              string         // that it is written in, which its positions are of; "" = the first
	Address           netip.AddrPort // port 0 = all ports, with Persistence only; zero with an FWMark
	FWMark            uint32         // 0 = none
	IPv6              bool           // the family of the clients' packets, of an FWMark as of an Address
	Protocol          string         // "tcp" "udp" "sctp"; "" with an FWMark
	Scheduler         string         // the kernel's name without ip_vs_
	SchedulerFlags    []string       // what the kernel gets: the fallback of sh and mh is in it, "no-fallback" is not
	Forward           string         // "dr" "nat" "tun"; the default of its real servers
	Tunnel            Tunnel         // with Forward "tun"
	Persistence       time.Duration  // whole seconds; 0 = off
	PersistenceBits   int            // prefix length within which clients count as one; 32 or 128 by default
	PersistenceEngine string         // "" "sip"
	OnePacket         bool
	Quorum            int            // available weight that is needed, at least 1
	Hysteresis        int            // weight above Quorum that is needed to regain it
	OnFailure         string         // "quiesce": weight 0, connections stay; "remove": out of the kernel's table
	DrainPersistent   string         // "keep" "move": what a manual drain does to persistent clients
	DrainTimeout      time.Duration  // 0s to 24h; 0 = a server that is no longer in the file is removed at once
	Fallback          netip.AddrPort // takes over while the quorum is lost; zero = none
	FallbackForward   string         // "local" for a loopback address, which the kernel delivers here; else Forward, with Tunnel
	PanicThreshold    int            // percent, 0 to 100; 0 = off
	SlowStart         time.Duration  // 0s to 1h; 0 = off
	FlapDamping       bool
	QuorumUp          []string     // a program and its arguments, run when the quorum is gained; nil = none
	QuorumDown        []string     // the same when it is lost
	RealServers       []RealServer // in the file's order; may be empty
	// Digest covers everything that the service is made of, its position included:
	// services with the same digest are equal, also between two files. "" is not
	// comparable.
	Digest string
	Position
}

// RealServer is one entry of real_servers.
type RealServer struct {
	Address        netip.AddrPort // port 0 behind an FWMark, and behind an Address with port 0
	Weight         int            // 0 to 65535; 0 = drained, as with Drain
	Forward        string         // resolved: its own or the service's
	Tunnel         Tunnel         // resolved; zero unless Forward is "tun"
	UpperThreshold uint32         // connections; 0 = none
	LowerThreshold uint32         // connections; 0 = the kernel's: three quarters of UpperThreshold
	Checks         []Check
	// Drain: the server is drained, whatever its weight in the file, which is DrainedWeight;
	// else DrainedWeight is 0.
	Drain         bool
	DrainedWeight int
	// DrainUntil: the server is drained until this time, whatever its weight; zero =
	// never.
	DrainUntil         time.Time // in UTC
	NotifyUp           []string  // a program and its arguments, run when its checks succeed; nil = none
	NotifyDown         []string  // the same when they fail
	Position                     // of the entry
	WeightPosition     Position  // with Drain that of the key drain
	DrainUntilPosition Position
}

// Check is one probe of one real server, fully resolved. Fields that do not belong to
// its Type are zero.
type Check struct {
	Address    netip.AddrPort // what is probed; without an address (the port alone counts) when HostName says it; port 0 where there is none, as schema.Portless allows
	Host       string         // http, https: of the request's Host header
	ServerName string         // with UseTLS: what the certificate must be for, and the SNI when it is a name
	Port       uint16         // agent: the port, which is Address's too
	*CheckSettings
}

// CheckSettings are what the checks of all real servers have in common that have them from
// one place of the file, and are not changed: there may be ten thousand.
type CheckSettings struct {
	Type         string            // one of the table of types in config/schema
	Name         string            // the key label, or what tells it apart from the other checks of its server; unique among them
	HostName     string            // a name to look up, outside of the probe's time; "" = Address has the address
	Through      bool              // probe the service's address on this real server ("dr" "tun")
	Interval     time.Duration     // from the start of one probe to the next, 10ms to 1h
	FastInterval time.Duration     // interval while the health is changing; at most Interval
	Timeout      time.Duration     // one deadline for all of a probe, 1ms to 1h
	Rise, Fall   int               // probes in a row, 1 to 1000
	Mark         uint32            // SO_MARK; 0 = none
	Source       Source            // of every director, unless Sources differ
	Sources      map[string]Source // by director, where they differ; else nil
	Close        string            // connect, tcp: "reset" "fin", how a connection ends
	// ReadLimit bounds what is read of an answer, in bytes: of a body of http and https, 0 =
	// none, and of a step of tcp.
	ReadLimit     int
	ProxyProtocol string // http, https, tcp, smtp, grpc, the dialogues but radius: "" "v1" "v2": the header that the connection begins with
	// ExpectNot is a regular expression (RE2) that must match nowhere: in the body of http
	// and https, in what was read by tcp, udp and sip, in the row of mysql and postgres, in the
	// entry of ldap; "" = none.
	ExpectNot string

	// tcp, udp: one exchange, or for tcp several in Steps, which then replace
	// it.
	Send       string // bytes to send; "" = none
	Expect     string // regular expression (RE2) that must match somewhere in what was read; "" = none
	ExpectText string // bytes that must be somewhere in what was read; "" = none; never with Expect
	Steps      []Step
	// udp
	RequireReply bool // no reply is a failure, as with Expect or ExpectText

	// http, https
	Method          string
	Path            string // begins with a slash
	Headers         map[string]string
	HeadersFile     string        // absolute path of a file with more headers; "" = none
	Body            string        // of the request
	Status          []StatusRange // sorted by First; any of them is accepted
	BodyExpect      string        // the key expect: regular expression (RE2) that must match somewhere in the body; "" = the body is ignored
	Digest          string        // of the whole body: "sha256:" or "md5:" and lower-case hex; "" = none
	Response        *Response     // nil = none of its keys is set
	FollowRedirects int           // how many, 0 to 10
	HTTP2           bool          // HTTP/2 only: by ALPN for https, with prior knowledge for http

	// all that can speak TLS, with UseTLS
	UseTLS bool // the key tls; for tcp with such a step, and for smtp imap pop3 ftp nntp ldap mysql postgres by a command. Always true for https imaps pop3s ldaps
	TLS    TLS

	Count int // ping: echo requests, 1 to 10; one reply is enough

	// dns
	DNSName   string // as written, without the last dot
	DNSRecord string // "A" "AAAA" …
	DNSRcode  string // "NOERROR" "NXDOMAIN" …
	DNSAnswer string // what one resource record of the answer must have; "" = any, or none
	DNSTCP    bool   // dns, sip

	Dialogue *Dialogue // the dialogues, and the PasswordFile of tcp and udp: nil = none of its keys is set

	Helo        string   // smtp: what EHLO says
	Command     []string // exec: the program, an absolute path, and its arguments
	User        string   // exec: "" = the daemon's own
	GRPCService string   // grpc: "" = the server as a whole
	File        string   // file: absolute path
	FileAbsent  bool     // file: up while it does not exist

	Position
}

// Source is where probes come from.
type Source struct {
	From      netip.Addr // source address; zero = the kernel's choice
	Interface string     // "" = the kernel's choice
}

// SourceOf returns where a director's probes come from.
func (c *CheckSettings) SourceOf(director string) Source {
	if s, ok := c.Sources[director]; ok {
		return s
	}
	return c.Source
}

// Dialogue has the keys that only built-in dialogues have.
type Dialogue struct {
	Login        string // the key user; sip: the user in the address that is asked; "" = none
	PasswordFile string // absolute path; "" = none. tcp, udp: {password} stands for the password in Send
	SecretFile   string // radius: absolute path of the shared secret
	Database     string // mysql, postgres; redis: its number; amqp: the virtual host; "" = none, or the server's default
	Role         string // mysql, postgres, redis: "primary" "replica"; "" = any
	Query        string // mysql, postgres: SQL that must return a row, which Expect must match; "" = none
	Base         string // ldap: the DN of an entry, which Expect must match; "" = none
}

// Response is what counts of an HTTP response besides its status and body.
type Response struct {
	ExpectHeaders map[string]string // a header that it must have, and a regular expression (RE2) that must match the value
	ExpectJSON    map[string]string // a JSON pointer (RFC 6901) into the body, and the text of the value there
	DrainStatus   []StatusRange     // the key drain_on: a status by which a server that is up asks to be drained
	DrainHeader   string            // the key drain_on: a header by which it does; "" = none
	DrainMatch    string            // regular expression (RE2) that must match DrainHeader
}

// Step is one exchange of a tcp check: send, then read until the expected bytes have
// arrived. Either may be missing, not both. A step with StartTLS does neither.
type Step struct {
	StartTLS   bool
	Send       string // bytes; "" = none
	Expect     string // regular expression (RE2); "" = none
	ExpectText string // bytes; "" = none; never with Expect
	ExpectNot  string // regular expression (RE2) of what must not arrive; "" = none
}

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ First, Last int }

// TLS has the settings of TLS in a check.
type TLS struct {
	Verify     bool
	CAFile     string // absolute path; "" = the system's
	CertFile   string // absolute path of the client's certificate, PEM; "" = none
	KeyFile    string // absolute path of its key, PEM; "" where CertFile is
	MinVersion string // "1.0" "1.1" "1.2" "1.3"
	Legacy     bool   // the key cipher_suites: those with known weaknesses are offered too
	ALPN       string // the protocol that is offered (RFC 7301); "" = none, or the one that the type speaks
}
