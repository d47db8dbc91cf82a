// Package config turns the text of lvsd.toml into a typed, checked
// configuration. It reports every mistake at once, each with its line and
// column, and it resolves defaults and the values that differ between the
// directors, so that nobody after it has to know what was written and what was
// left out.
//
// This file holds the types that the rest of the program sees. They are plain
// values: whoever receives one only reads it.
//
// The package never opens the file, resolves a name, or looks at the machine:
// whether an interface or a scheduler's module exists is asked elsewhere.
//
// PURE.
package config

import (
	"net/netip"
	"time"
)

// File is a configuration file without a mistake, good for every director that
// it names. It is made by Parse.
type File struct {
	Name      string     // as given to Parse, for messages
	Hash      string     // SHA-256 of the text, hex, the first 16 characters
	Directors []Director // in the file's order; empty when the file names none
	Warnings  []Error    // sorted by position; what is valid and yet hardly meant

	configs map[string]*Config // by director; one under "" when the file names none
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
	Director  string     // whom it is resolved for
	Directors []Director // everybody, this one included
	Hash      string     // of the text, as in File
	File      string     // the file's name

	Global    Global
	IPVS      IPVS
	Elections []Election // in the file's order
	Services  []Service  // in the file's order
}

// Global is the [global] table: the daemon itself.
type Global struct {
	HTTPListen    string // IP:PORT or :PORT; "" = no HTTP at all
	ControlSocket string // absolute path, at most 107 bytes (sun_path, unix(7))
	ControlGroup  string // "" = root alone
	StateDir      string // absolute path
	LogLevel      string // "debug" "info" "warn" "error"
	LogFormat     string // "text" "json"
}

// IPVS is the [ipvs] table: what concerns the kernel's table as a whole.
type IPVS struct {
	TimeoutTCP     time.Duration // whole seconds, 1s to 744h
	TimeoutTCPFin  time.Duration // likewise
	TimeoutUDP     time.Duration // likewise
	ManageSysctls  bool
	ResyncInterval time.Duration // 100ms to 1h
	OnStop         string        // "keep" "remove"
	Foreign        string        // "alarm" "remove" "ignore"
}

// Election is one [[vrrp]]: a group of addresses that one director holds.
type Election struct {
	Name              string
	Interface         string        // at most 15 bytes (IFNAMSIZ - 1)
	VRID              uint8         // 1 to 255 (RFC 9568 §5.2.3)
	Priority          uint8         // 1 to 255; 255 is the owner (RFC 9568 §5.2.4)
	AdvertInterval    time.Duration // whole centiseconds, 10ms to 40.95s (RFC 9568 §5.2.7)
	Preempt           bool
	PreemptDelay      time.Duration  // 0s to 1h
	Addresses         []netip.Prefix // at least one, at most 255, one family
	ExcludedAddresses []netip.Prefix // move too, and are in no advert
	Checksum          string         // "rfc5798" "rfc9568"; what is sent, both are accepted
	Position
}

// Service is one [[virtual_service]].
type Service struct {
	Name            string
	Address         netip.AddrPort // port 1 to 65535
	Protocol        string         // "tcp" "udp"
	Scheduler       string         // the kernel's name without ip_vs_
	SchedulerFlags  []string       // what the kernel gets: the fallback of sh and mh is in it, "no-fallback" is not
	Forward         string         // "dr" "nat" "tun"; what a real server has that says nothing else
	Persistence     time.Duration  // whole seconds; 0 = off
	PersistenceBits int            // prefix length that makes one client; 32 or 128 unless the file says otherwise
	Quorum          int            // weight alive that is needed, at least 1
	Hysteresis      int            // weight on top of Quorum on the way up
	OnFailure       string         // "quiesce": weight 0, connections stay; "remove": out of the kernel's table
	RealServers     []RealServer   // in the file's order; may be empty
	Position
}

// RealServer is one entry of real_servers.
type RealServer struct {
	Address        netip.AddrPort
	Weight         int    // 0 to 65535; 0 drains by hand
	Forward        string // resolved: its own or the service's
	UpperThreshold uint32 // connections; 0 = none
	LowerThreshold uint32 // connections; 0 = the kernel's: three quarters of UpperThreshold
	Checks         []Check
	Position       // of the entry
	WeightPosition Position
}

// Check is one probe of one real server, all of it resolved. Which fields mean
// something depends on Type; the others are zero.
type Check struct {
	Type         string         // "connect" "tcp" "http" "https" "on" "off"
	Address      netip.AddrPort // what is probed
	Interval     time.Duration  // from the start of one probe to the next, 10ms to 1h
	FastInterval time.Duration  // the same while the verdict is changing; at most Interval
	Timeout      time.Duration  // one deadline for all of a probe, 1ms to 1h
	Rise, Fall   int            // probes in a row, 1 to 1000
	From         netip.Addr     // source address; zero = the kernel's choice
	Mark         uint32         // SO_MARK; 0 = none

	// tcp
	Send   string // bytes to send; "" = none
	Expect string // regular expression (RE2) that must match somewhere in what was read; "" = nothing is read

	// http, https
	Method     string
	Host       string // of the request's Host header
	Path       string // begins with a slash
	Headers    map[string]string
	Status     []StatusRange // sorted by First; any of them is good
	BodyExpect string        // the key expect: regular expression (RE2) that must match somewhere in the body; "" = the body is not judged
	TLS        TLS           // https

	Position
}

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ First, Last int }

// TLS is how the certificate of an https check is judged.
type TLS struct {
	Verify     bool
	ServerName string // resolved: what the certificate must be for, and the SNI when it is a name
	CAFile     string // absolute path; "" = the system's
}
