// This file is the home of every key: each is named here once, with its type,
// its default and its range, and docs/lvsd.toml is held to it by a test. It
// never says what a key does to the configuration; that is in the files named
// after the tables.
//
// PURE.
package config

import (
	"math"
	"time"
)

const (
	// maxTimeout is what ip_vs takes for a timeout that ipvsadm would, too: 31
	// days (ipvsadm(8), --set and --persistent).
	maxTimeout   = 31 * 24 * time.Hour
	maxAdvert    = 4095 * 10 * time.Millisecond // 12 bits of centiseconds, RFC 9568 §5.2.7
	maxWeight    = math.MaxUint16
	defaultShare = 80
	// maxTrackWeight takes any priority to any other but the owner's.
	maxTrackWeight = 253
	// maxDatagram is the longest payload of UDP over IPv4; minDatagram lets a
	// connection with all its options in (ip_vs_sync.c).
	maxDatagram, minDatagram = 65507, 512
)

var (
	schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"}
	flags      = []string{"sh-fallback", "sh-port", "mh-fallback", "mh-port", "flag-1", "flag-2", "flag-3", noFallback}
	forwards   = []string{"dr", "nat", "tun"}
	checkTypes = []string{"connect", "syn", "tcp", "http", "https", "ping", "udp", "dns", "smtp", "exec", "agent", "grpc", "on", "off"}
	web        = []string{"http", "https"}
	encrypted  = []string{"https", "tcp", "smtp", "grpc"} // types of check that can speak TLS
	exchanging = []string{"tcp", "udp"}
)

var rootTable = newTable("",
	key{name: "director", kind: kindTables, table: directorTable},
	key{name: "global", kind: kindTable, table: globalTable},
	key{name: "ipvs", kind: kindTable, table: ipvsTable},
	key{name: "vrrp", kind: kindTables, table: vrrpTable},
	key{name: "virtual_service", kind: kindTables, table: serviceTable},
	key{name: "guard", kind: kindTable, table: guardTable},
	key{name: "pair", kind: kindTable, table: pairTable},
)

var directorTable = newTable("director",
	key{name: "name", kind: kindString, required: true},
	key{name: "address", kind: kindString, computed: "none"},
)

var globalTable = newTable("global",
	key{name: "http_listen", kind: kindString, def: "127.0.0.1:8112", each: true},
	key{name: "control_socket", kind: kindString, def: "/run/lvsd/control.sock", each: true},
	key{name: "control_group", kind: kindString, def: "", each: true},
	key{name: "web_config_file", kind: kindString, def: "", each: true},
	key{name: "notify", kind: kindStrings, def: []string{}},
	key{name: "webhook", kind: kindString, def: "", each: true},
	key{name: "state_dir", kind: kindString, def: "/var/lib/lvsd", each: true},
	key{name: "log_level", kind: kindString, def: "info", each: true, choices: []string{"debug", "info", "warn", "error"}},
	key{name: "log_format", kind: kindString, def: "text", each: true, choices: []string{"text", "json"}},
	key{name: "auto_reload", kind: kindBool, def: false, each: true},
	key{name: "per_server_metrics", kind: kindBool, def: true, each: true},
)

var ipvsTable = newTable("ipvs",
	key{name: "timeout_tcp", kind: kindDuration, def: 15 * time.Minute, each: true, min: int64(time.Second), max: int64(maxTimeout)},
	key{name: "timeout_tcp_fin", kind: kindDuration, def: 2 * time.Minute, each: true, min: int64(time.Second), max: int64(maxTimeout)},
	key{name: "timeout_udp", kind: kindDuration, def: 5 * time.Minute, each: true, min: int64(time.Second), max: int64(maxTimeout)},
	key{name: "manage_sysctls", kind: kindBool, def: true, each: true},
	key{name: "resync_interval", kind: kindDuration, def: 10 * time.Second, each: true, min: int64(100 * time.Millisecond), max: int64(time.Hour)},
	key{name: "on_stop", kind: kindString, def: "keep", each: true, choices: []string{"keep", "remove"}},
	key{name: "foreign", kind: kindString, def: "alarm", each: true, choices: []string{"alarm", "remove", "ignore"}},
	key{name: "through_marks", kind: kindInt, def: int64(0x6c760000), min: 1, max: math.MaxUint32 - ThroughMarkCount + 1},
	key{name: "sync", kind: kindTable, table: syncTable, computed: "none"},
)

var syncTable = newTable("ipvs.sync",
	key{name: "interface", kind: kindString, required: true, each: true},
	key{name: "id", kind: kindInt, required: true, min: 1, max: math.MaxUint8},
	key{name: "vrrp", kind: kindString, computed: "the first [[vrrp]]"},
	key{name: "refresh_period", kind: kindDuration, def: 10 * time.Second, max: int64(time.Hour)},
	key{name: "group", kind: kindString, def: "224.0.0.81"},
	key{name: "port", kind: kindInt, def: int64(8848), min: 1, max: math.MaxUint16},
	key{name: "ttl", kind: kindInt, def: int64(1), min: 1, max: math.MaxUint8},
	key{name: "maxlen", kind: kindInt, def: int64(0), max: maxDatagram},
	key{name: "threshold", kind: kindInts, def: []int64{3, 50}},
)

var vrrpTable = newTable("vrrp",
	key{name: "name", kind: kindString, required: true},
	key{name: "interface", kind: kindString, required: true, each: true},
	key{name: "virtual_router_id", kind: kindInt, required: true, min: 1, max: math.MaxUint8},
	key{name: "version", kind: kindInt, def: int64(3), min: 2, max: 3},
	key{name: "priority", kind: kindInt, def: int64(100), each: true, min: 1, max: math.MaxUint8},
	key{name: "advert_interval", kind: kindDuration, def: time.Second, min: int64(10 * time.Millisecond), max: int64(maxAdvert)},
	key{name: "preempt", kind: kindBool, def: true, each: true},
	key{name: "preempt_delay", kind: kindDuration, def: time.Duration(0), each: true, max: int64(time.Hour)},
	key{name: "addresses", kind: kindStrings, required: true},
	key{name: "excluded_addresses", kind: kindStrings, def: []string{}},
	key{name: "link_local_first", kind: kindBool, def: true},
	key{name: "routes", kind: kindTables, table: routeTable, def: []any{}},
	key{name: "rules", kind: kindTables, table: ruleTable, def: []any{}},
	key{name: "unicast", kind: kindAny, def: false},
	key{name: "virtual_mac", kind: kindBool, def: false, each: true},
	key{name: "checksum", kind: kindString, def: "rfc5798", choices: []string{"rfc5798", "rfc9568"}},
	key{name: "sync_hold", kind: kindDuration, def: time.Minute, each: true, max: int64(time.Hour)},
	key{name: "handover_limit", kind: kindDuration, def: 5 * time.Second, each: true, max: int64(time.Minute)},
	key{name: "sync_group", kind: kindString, def: ""},
	key{name: "track_interfaces", kind: kindList, def: []any{}},
	key{name: "track_services", kind: kindTables, table: trackServiceTable, def: []any{}},
	key{name: "track_files", kind: kindTables, table: trackFileTable, def: []any{}},
	key{name: "track_scripts", kind: kindTables, table: trackScriptTable, def: []any{}},
	key{name: "notify", kind: kindStrings, def: []string{}},
	key{name: "authentication", kind: kindTable, table: authenticationTable, computed: "none"},
)

// routeTable and ruleTable are what moves with the addresses.
var routeTable = newTable("vrrp.routes",
	key{name: "to", kind: kindString, required: true},
	key{name: "via", kind: kindString, def: "", each: true},
	key{name: "interface", kind: kindString, computed: "the election's", each: true},
	key{name: "table", kind: kindInt, def: int64(254), min: 1, max: math.MaxInt32},
	key{name: "source", kind: kindString, def: "", each: true},
	key{name: "metric", kind: kindInt, def: int64(0), max: math.MaxInt32},
)

var ruleTable = newTable("vrrp.rules",
	key{name: "from", kind: kindString, def: ""},
	key{name: "to", kind: kindString, def: ""},
	key{name: "mark", kind: kindInt, def: int64(0), max: math.MaxUint32},
	key{name: "interface", kind: kindString, def: "", each: true},
	key{name: "table", kind: kindInt, required: true, min: 1, max: math.MaxInt32},
	key{name: "priority", kind: kindInt, required: true, min: 1, max: 32765},
)

// trackInterfaceTable is of an entry of track_interfaces that is more than a name.
var trackInterfaceTable = newTable("vrrp.track_interfaces",
	key{name: "name", kind: kindString, required: true},
	key{name: "weight", kind: kindInt, def: int64(0), min: -maxTrackWeight, max: maxTrackWeight},
)

var trackServiceTable = newTable("vrrp.track_services",
	key{name: "name", kind: kindString, required: true},
	key{name: "weight", kind: kindInt, def: int64(-maxTrackWeight), min: -maxTrackWeight, max: -1},
	key{name: "fault", kind: kindBool, def: false},
)

var trackFileTable = newTable("vrrp.track_files",
	key{name: "path", kind: kindString, required: true},
	key{name: "weight", kind: kindInt, def: int64(1), min: -maxTrackWeight, max: maxTrackWeight},
)

var trackScriptTable = newTable("vrrp.track_scripts",
	key{name: "command", kind: kindStrings, required: true},
	key{name: "interval", kind: kindDuration, def: time.Second, min: int64(10 * time.Millisecond), max: int64(time.Hour)},
	key{name: "timeout", kind: kindDuration, computed: "interval", min: int64(10 * time.Millisecond), max: int64(time.Hour)},
	key{name: "rise", kind: kindInt, def: int64(1), min: 1, max: 100},
	key{name: "fall", kind: kindInt, def: int64(2), min: 1, max: 100},
	key{name: "weight", kind: kindInt, def: int64(0), min: -maxTrackWeight, max: maxTrackWeight},
)

var authenticationTable = newTable("vrrp.authentication",
	key{name: "type", kind: kindString, required: true, choices: []string{"hmac", "pass"}},
	key{name: "key_file", kind: kindString, required: true, each: true},
	key{name: "mode", kind: kindString, def: "enforce", choices: []string{"enforce", "permissive"}},
)

var serviceTable = newTable("virtual_service",
	key{name: "name", kind: kindString, required: true},
	key{name: "address", kind: kindString, computed: "none, one must be given, or fwmark"},
	key{name: "fwmark", kind: kindInt, computed: "none", min: 1, max: math.MaxUint32},
	key{name: "family", kind: kindString, def: "ipv4", choices: []string{"ipv4", "ipv6"}},
	key{name: "protocol", kind: kindString, def: "tcp", choices: []string{"tcp", "udp", "sctp"}},
	key{name: "scheduler", kind: kindString, def: "wlc", choices: schedulers},
	key{name: "scheduler_flags", kind: kindStrings, def: []string{}, choices: flags},
	key{name: "forward", kind: kindForward, def: "dr", choices: forwards, table: tunnelTable},
	key{name: "persistence", kind: kindDuration, def: time.Duration(0), max: int64(maxTimeout)},
	key{name: "persistence_netmask", kind: kindMask, def: ""},
	key{name: "persistence_engine", kind: kindString, def: "", choices: []string{"", "sip"}},
	key{name: "one_packet", kind: kindBool, def: false},
	key{name: "quorum", kind: kindInt, def: int64(1), min: 1, max: math.MaxInt32},
	key{name: "hysteresis", kind: kindInt, def: int64(0), max: math.MaxInt32},
	key{name: "on_failure", kind: kindString, choices: []string{"quiesce", "remove"},
		computed: `"quiesce"; "remove" for udp, for dh, and for sh and mh with "no-fallback"`},
	key{name: "drain_timeout", kind: kindDuration, def: time.Duration(0), max: int64(24 * time.Hour)},
	key{name: "drain_persistent", kind: kindString, def: "keep", choices: []string{"keep", "move"}},
	key{name: "fallback", kind: kindString, def: ""},
	key{name: "panic_threshold", kind: kindInt, def: int64(0), max: 100},
	key{name: "slow_start", kind: kindDuration, def: time.Duration(0), max: int64(time.Hour)},
	key{name: "flap_damping", kind: kindBool, def: false},
	key{name: "real_servers", kind: kindTables, table: realServerTable, computed: "[]"},
	key{name: "check", kind: kindChecks, table: checkTable, computed: `{ type = "connect" } for tcp; udp, sctp and firewall marks must say one`},
)

var realServerTable = newTable("real_servers",
	key{name: "address", kind: kindString, required: true},
	key{name: "weight", kind: kindInt, def: int64(1), max: maxWeight},
	key{name: "forward", kind: kindForward, choices: forwards, table: tunnelTable, computed: "the service's"},
	key{name: "upper_threshold", kind: kindInt, def: int64(0), max: math.MaxUint32},
	key{name: "lower_threshold", kind: kindInt, def: int64(0), max: math.MaxUint32},
	key{name: "check", kind: kindChecks, table: checkTable, computed: "the service's"},
	key{name: "drain_until", kind: kindTime, computed: "none"},
)

// tunnelTable is forward, written as a table.
var tunnelTable = newTable("forward",
	key{name: "type", kind: kindString, required: true, choices: []string{"ipip", "gue", "gre"}},
	key{name: "port", kind: kindInt, computed: "none, gue must have one", min: 1, max: math.MaxUint16},
	key{name: "checksum", kind: kindString, def: "none", choices: []string{"none", "csum", "remcsum"}},
)

var checkTable = newTable("check",
	append([]key{
		{name: "type", kind: kindString, required: true, choices: checkTypes},
		{name: "address", kind: kindString, computed: "the real server's"},
		{name: "through", kind: kindBool, def: false, types: []string{"connect", "syn", "tcp", "http", "https", "udp", "dns", "smtp", "grpc"}},
		{name: "interval", kind: kindDuration, def: 2 * time.Second, min: int64(10 * time.Millisecond), max: int64(time.Hour)},
		{name: "fast_interval", kind: kindDuration, computed: "interval", min: int64(10 * time.Millisecond), max: int64(time.Hour)},
		{name: "timeout", kind: kindDuration, computed: `"1s"; interval where that is shorter`, min: int64(time.Millisecond), max: int64(time.Hour)},
		{name: "rise", kind: kindInt, def: int64(2), min: 1, max: 1000},
		{name: "fall", kind: kindInt, def: int64(3), min: 1, max: 1000},
		{name: "from", kind: kindString, def: ""},
		{name: "mark", kind: kindInt, def: int64(0), max: math.MaxUint32},
		{name: "send", kind: kindString, def: "", types: exchanging},
		{name: "send_hex", kind: kindString, def: "", types: exchanging},
		{name: "expect", kind: kindString, def: "", types: []string{"tcp", "http", "https", "udp"}},
		{name: "expect_text", kind: kindString, def: "", types: exchanging},
		{name: "expect_hex", kind: kindString, def: "", types: exchanging},
		{name: "steps", kind: kindTables, table: stepTable, def: []any{}, types: []string{"tcp"}},
		{name: "require_reply", kind: kindBool, def: false, types: []string{"udp"}},
		{name: "method", kind: kindString, def: "GET", types: web},
		{name: "host", kind: kindString, computed: "the probed address", types: web},
		{name: "path", kind: kindString, def: "/", types: web},
		{name: "headers", kind: kindWords, def: map[string]string{}, types: web},
		{name: "headers_file", kind: kindString, def: "", types: web},
		{name: "body", kind: kindString, def: "", types: web},
		{name: "status", kind: kindString, def: "200-299", types: web},
		{name: "expect_not", kind: kindString, def: "", types: web},
		{name: "digest", kind: kindString, def: "", types: web},
		{name: "follow_redirects", kind: kindInt, def: int64(0), max: 10, types: web},
		{name: "http2", kind: kindBool, def: false, types: web},
		{name: "proxy_protocol", kind: kindString, def: "", choices: []string{"", "v1", "v2"}, types: web},
		{name: "tls", kind: kindTLS, computed: "true for https; false for tcp, smtp, grpc", table: tlsTable, types: encrypted},
		{name: "count", kind: kindInt, def: int64(1), min: 1, max: 10, types: []string{"ping"}},
		{name: "name", kind: kindString, computed: "none, dns must have one", types: []string{"dns"}},
		{name: "record", kind: kindString, def: "A", choices: recordTypes, types: []string{"dns"}},
		{name: "rcode", kind: kindString, def: "NOERROR", choices: rcodes, types: []string{"dns"}},
		{name: "answer", kind: kindString, def: "", types: []string{"dns"}},
		{name: "tcp", kind: kindBool, def: false, types: []string{"dns"}},
		{name: "helo", kind: kindString, def: "localhost", types: []string{"smtp"}},
		{name: "command", kind: kindStrings, computed: "none, exec must have one", types: []string{"exec"}},
		{name: "user", kind: kindString, def: "", types: []string{"exec"}},
		{name: "port", kind: kindInt, computed: "that of address, one must be given", min: 1, max: math.MaxUint16, types: []string{"agent"}},
		{name: "service", kind: kindString, def: "", types: []string{"grpc"}},
	}, tlsKeys(encrypted)...)...,
)

var (
	recordTypes = []string{"A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"}
	rcodes      = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}
)

// tlsTable is tls, written as a table. The same keys may stand in the check.
var tlsTable = newTable("tls", tlsKeys(nil)...)

func tlsKeys(types []string) []key {
	return []key{
		{name: "verify", kind: kindBool, def: true, types: types},
		{name: "server_name", kind: kindString, computed: "host; the address without one", types: types},
		{name: "ca_file", kind: kindString, def: "", types: types},
		{name: "cert_file", kind: kindString, def: "", types: types},
		{name: "key_file", kind: kindString, def: "", types: types},
		{name: "min_version", kind: kindString, def: "1.2", choices: []string{"1.0", "1.1", "1.2", "1.3"}, types: types},
	}
}

// stepTable is one element of steps.
var stepTable = newTable("steps",
	key{name: "send", kind: kindString, def: ""},
	key{name: "send_hex", kind: kindString, def: ""},
	key{name: "expect", kind: kindString, def: ""},
	key{name: "expect_text", kind: kindString, def: ""},
	key{name: "expect_hex", kind: kindString, def: ""},
)

var guardTable = newTable("guard",
	key{name: "witnesses", kind: kindStrings, def: []string{}},
	key{name: "share", kind: kindInt, def: int64(defaultShare), min: 1, max: 100},
)

var pairTable = newTable("pair",
	key{name: "listen", kind: kindString, def: "", each: true},
	key{name: "key_file", kind: kindString, each: true, computed: `that of the first [[vrrp]] with type = "hmac"`},
)
