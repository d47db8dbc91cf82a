// This file holds what a caller states: targets, and the checks that each must
// pass. It never probes or judges anything.

package checker

import (
	"crypto/x509"
	"net/netip"
	"time"
)

// ID names a target. The caller chooses it; it is only compared and logged.
type ID struct{ Service, RealServer string }

// Target is one real server of one service and the checks that it must pass,
// all of them.
type Target struct {
	ID     ID
	Checks []Check // at least one
	// Known: the kernel already has this server. Then an up counts at once and
	// a down needs Fall results in a row; else the first result is the verdict.
	// Only read when the target is new to the engine.
	Known bool
}

// The types of a check.
const (
	TypeConnect = "connect" // TCP handshake
	TypeTCP     = "tcp"     // handshake, then send and expect
	TypeHTTP    = "http"    // one HTTP/1.1 request
	TypeHTTPS   = "https"   // the same in TLS
	TypeOn      = "on"      // always up, nothing is probed
	TypeOff     = "off"     // always down, nothing is probed
)

// Check is what is probed and how results are judged. All defaults are
// resolved by the caller, except where a field says otherwise. Checks that are
// equal in everything but Rise and Fall share one probe.
type Check struct {
	Type    string
	Address netip.AddrPort // what is probed; not read for "on" and "off"

	Interval     time.Duration // > 0
	FastInterval time.Duration // while a verdict is changing; 0 or more than Interval: Interval
	Timeout      time.Duration // > 0, for the whole probe
	Rise, Fall   int           // >= 1

	From netip.Addr // source address; invalid: the kernel chooses
	Mark uint32     // SO_MARK, needs CAP_NET_ADMIN; 0: none

	// tcp. Expect is a regular expression (RE2 syntax), matched anywhere in
	// the first 16 KiB that the server sends, so plain text without
	// metacharacters is a substring. "" expects nothing.
	Send, Expect string

	// http and https.
	Method     string            // "": GET
	Host       string            // Host header; "": Address
	Path       string            // "": /
	Headers    map[string]string // added to, or instead of, our own
	Status     []StatusRange     // accepted; none: 200-299
	BodyExpect string            // regular expression (RE2) on the first 64 KiB of the body; "": the body is not read
	TLS        *TLSConfig        // https; nil: &TLSConfig{Verify: true}
}

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ First, Last int }

// TLSConfig is the TLS side of a check.
type TLSConfig struct {
	Verify     bool
	ServerName string         // SNI and the name verified; "": Host where that is a name, else the address
	CAs        *x509.CertPool // nil: the system's
	// CAKey stands for CAs where checks are compared: a changed content must
	// have a changed key (a hash of the file, say).
	CAKey string
}
