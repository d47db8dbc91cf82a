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
	maxTimeout = 31 * 24 * time.Hour
	maxAdvert  = 4095 * 10 * time.Millisecond // 12 bits of centiseconds, RFC 9568 §5.2.7
	maxWeight  = math.MaxUint16
)

var (
	schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"}
	flags      = []string{"sh-fallback", "sh-port", "mh-fallback", "mh-port", "flag-1", "flag-2", "flag-3", noFallback}
	forwards   = []string{"dr", "nat", "tun"}
	checkTypes = []string{"connect", "tcp", "http", "https", "on", "off"}
	laterTypes = []string{"syn", "ping", "udp", "dns", "smtp", "exec", "agent", "grpc"}
	web        = []string{"http", "https"}
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
	key{name: "web_config_file", kind: kindString, def: "", each: true, later: true},
	key{name: "notify", kind: kindStrings, def: []string{}, later: true},
	key{name: "webhook", kind: kindString, def: "", each: true, later: true},
	key{name: "state_dir", kind: kindString, def: "/var/lib/lvsd", each: true},
	key{name: "log_level", kind: kindString, def: "info", each: true, choices: []string{"debug", "info", "warn", "error"}},
	key{name: "log_format", kind: kindString, def: "text", each: true, choices: []string{"text", "json"}},
	key{name: "auto_reload", kind: kindBool, def: false, each: true, later: true},
)

var ipvsTable = newTable("ipvs",
	key{name: "timeout_tcp", kind: kindDuration, def: 15 * time.Minute, each: true, min: int64(time.Second), max: int64(maxTimeout)},
	key{name: "timeout_tcp_fin", kind: kindDuration, def: 2 * time.Minute, each: true, min: int64(time.Second), max: int64(maxTimeout)},
	key{name: "timeout_udp", kind: kindDuration, def: 5 * time.Minute, each: true, min: int64(time.Second), max: int64(maxTimeout)},
	key{name: "manage_sysctls", kind: kindBool, def: true, each: true},
	key{name: "resync_interval", kind: kindDuration, def: 10 * time.Second, each: true, min: int64(100 * time.Millisecond), max: int64(time.Hour)},
	key{name: "on_stop", kind: kindString, def: "keep", each: true, choices: []string{"keep", "remove"}},
	key{name: "foreign", kind: kindString, def: "alarm", each: true, choices: []string{"alarm", "remove", "ignore"}},
	key{name: "sync", kind: kindTable, table: syncTable, computed: "none", later: true},
)

var syncTable = newTable("ipvs.sync",
	key{name: "interface", kind: kindString, each: true, computed: "none"},
	key{name: "id", kind: kindInt, computed: "none"},
	key{name: "vrrp", kind: kindString, computed: "none"},
	key{name: "refresh_period", kind: kindDuration, computed: "none"},
	key{name: "group", kind: kindString, computed: "none"},
	key{name: "port", kind: kindInt, computed: "none"},
	key{name: "ttl", kind: kindInt, computed: "none"},
	key{name: "maxlen", kind: kindInt, computed: "none"},
	key{name: "threshold", kind: kindAny, computed: "none"},
)

var vrrpTable = newTable("vrrp",
	key{name: "name", kind: kindString, required: true},
	key{name: "interface", kind: kindString, required: true, each: true},
	key{name: "virtual_router_id", kind: kindInt, required: true, min: 1, max: math.MaxUint8},
	key{name: "version", kind: kindInt, def: int64(3), min: 2, max: 3, later: true},
	key{name: "priority", kind: kindInt, def: int64(100), each: true, min: 1, max: math.MaxUint8},
	key{name: "advert_interval", kind: kindDuration, def: time.Second, min: int64(10 * time.Millisecond), max: int64(maxAdvert)},
	key{name: "preempt", kind: kindBool, def: true, each: true},
	key{name: "preempt_delay", kind: kindDuration, def: time.Duration(0), each: true, max: int64(time.Hour)},
	key{name: "addresses", kind: kindStrings, required: true},
	key{name: "excluded_addresses", kind: kindStrings, def: []string{}},
	key{name: "routes", kind: kindList, def: []any{}, later: true},
	key{name: "rules", kind: kindList, def: []any{}, later: true},
	key{name: "unicast", kind: kindAny, def: false, later: true},
	key{name: "virtual_mac", kind: kindBool, def: false, each: true, later: true},
	key{name: "checksum", kind: kindString, def: "rfc5798", choices: []string{"rfc5798", "rfc9568"}},
	key{name: "sync_hold", kind: kindDuration, def: time.Minute, each: true, later: true},
	key{name: "handover_limit", kind: kindDuration, def: 5 * time.Second, each: true, later: true},
	key{name: "sync_group", kind: kindString, def: "", later: true},
	key{name: "track_interfaces", kind: kindList, def: []any{}, later: true},
	key{name: "track_services", kind: kindList, def: []any{}, later: true},
	key{name: "track_scripts", kind: kindList, def: []any{}, later: true},
	key{name: "notify", kind: kindStrings, def: []string{}, later: true},
	key{name: "authentication", kind: kindAny, computed: "none", later: true},
)

var serviceTable = newTable("virtual_service",
	key{name: "name", kind: kindString, required: true},
	key{name: "address", kind: kindString, computed: "none, one must be given"},
	key{name: "fwmark", kind: kindInt, computed: "none", later: true},
	key{name: "family", kind: kindString, computed: "none", later: true, choices: []string{"ipv4", "ipv6"}},
	key{name: "protocol", kind: kindString, def: "tcp", choices: []string{"tcp", "udp"}, coming: []string{"sctp"}},
	key{name: "scheduler", kind: kindString, def: "wlc", choices: schedulers},
	key{name: "scheduler_flags", kind: kindStrings, def: []string{}, choices: flags},
	key{name: "forward", kind: kindString, def: "dr", choices: forwards},
	key{name: "persistence", kind: kindDuration, def: time.Duration(0), max: int64(maxTimeout)},
	key{name: "persistence_netmask", kind: kindMask, def: ""},
	key{name: "persistence_engine", kind: kindString, def: "", later: true},
	key{name: "one_packet", kind: kindBool, def: false, later: true},
	key{name: "quorum", kind: kindInt, def: int64(1), min: 1, max: math.MaxInt32},
	key{name: "hysteresis", kind: kindInt, def: int64(0), max: math.MaxInt32},
	key{name: "on_failure", kind: kindString, choices: []string{"quiesce", "remove"},
		computed: `"quiesce"; "remove" for udp, for dh, and for sh and mh with "no-fallback"`},
	key{name: "drain_timeout", kind: kindDuration, def: time.Duration(0), later: true},
	key{name: "drain_persistent", kind: kindString, def: "keep", choices: []string{"keep", "move"}, later: true},
	key{name: "fallback", kind: kindString, def: "", later: true},
	key{name: "panic_threshold", kind: kindInt, def: int64(0), max: 100, later: true},
	key{name: "slow_start", kind: kindDuration, def: time.Duration(0), later: true},
	key{name: "flap_damping", kind: kindAny, def: false, later: true},
	key{name: "real_servers", kind: kindTables, table: realServerTable, computed: "[]"},
	key{name: "check", kind: kindChecks, table: checkTable, computed: `{ type = "connect" } for tcp; udp must say one`},
)

var realServerTable = newTable("real_servers",
	key{name: "address", kind: kindString, required: true},
	key{name: "weight", kind: kindInt, def: int64(1), max: maxWeight},
	key{name: "forward", kind: kindString, choices: forwards, computed: "the service's"},
	key{name: "upper_threshold", kind: kindInt, def: int64(0), max: math.MaxUint32},
	key{name: "lower_threshold", kind: kindInt, def: int64(0), max: math.MaxUint32},
	key{name: "check", kind: kindChecks, table: checkTable, computed: "the service's"},
	key{name: "drain_until", kind: kindAny, computed: "none", later: true},
)

var checkTable = newTable("check",
	key{name: "type", kind: kindString, required: true, choices: checkTypes, coming: laterTypes},
	key{name: "address", kind: kindString, computed: "the real server's"},
	key{name: "interval", kind: kindDuration, def: 2 * time.Second, min: int64(10 * time.Millisecond), max: int64(time.Hour)},
	key{name: "fast_interval", kind: kindDuration, computed: "interval", min: int64(10 * time.Millisecond), max: int64(time.Hour)},
	key{name: "timeout", kind: kindDuration, computed: `"1s"; interval where that is shorter`, min: int64(time.Millisecond), max: int64(time.Hour)},
	key{name: "rise", kind: kindInt, def: int64(2), min: 1, max: 1000},
	key{name: "fall", kind: kindInt, def: int64(3), min: 1, max: 1000},
	key{name: "from", kind: kindString, def: ""},
	key{name: "mark", kind: kindInt, def: int64(0), max: math.MaxUint32},
	key{name: "send", kind: kindString, def: "", types: []string{"tcp", "udp"}},
	key{name: "expect", kind: kindString, def: "", types: []string{"tcp", "http", "https", "udp"}},
	key{name: "method", kind: kindString, def: "GET", types: web},
	key{name: "host", kind: kindString, computed: "the probed address", types: web},
	key{name: "path", kind: kindString, def: "/", types: web},
	key{name: "headers", kind: kindWords, def: map[string]string{}, types: web},
	key{name: "status", kind: kindString, def: "200-299", types: web},
	key{name: "verify", kind: kindBool, def: true, types: []string{"https"}},
	key{name: "server_name", kind: kindString, computed: "host", types: []string{"https"}},
	key{name: "ca_file", kind: kindString, def: "", types: []string{"https"}},
	key{name: "steps", kind: kindList, computed: "none", later: true},
	key{name: "tls", kind: kindAny, computed: "none", later: true},
	key{name: "body", kind: kindString, computed: "none", later: true},
	key{name: "expect_not", kind: kindString, computed: "none", later: true},
	key{name: "digest", kind: kindAny, computed: "none", later: true},
	key{name: "follow_redirects", kind: kindAny, computed: "none", later: true},
	key{name: "http2", kind: kindAny, computed: "none", later: true},
	key{name: "proxy_protocol", kind: kindAny, computed: "none", later: true},
	key{name: "count", kind: kindInt, computed: "none", later: true},
	key{name: "require_reply", kind: kindBool, computed: "none", later: true},
	key{name: "name", kind: kindString, computed: "none", later: true},
	key{name: "record", kind: kindString, computed: "none", later: true},
	key{name: "rcode", kind: kindAny, computed: "none", later: true},
	key{name: "answer", kind: kindAny, computed: "none", later: true},
	key{name: "helo", kind: kindString, computed: "none", later: true},
	key{name: "command", kind: kindStrings, computed: "none", later: true},
	key{name: "user", kind: kindString, computed: "none", later: true},
	key{name: "port", kind: kindInt, computed: "none", later: true},
	key{name: "service", kind: kindString, computed: "none", later: true},
)

var guardTable = newTable("guard",
	key{name: "witnesses", kind: kindStrings, def: []string{}, later: true},
	key{name: "share", kind: kindInt, def: int64(80), min: 1, max: 100, later: true},
)

var pairTable = newTable("pair",
	key{name: "listen", kind: kindString, def: "", each: true, later: true},
	key{name: "key_file", kind: kindString, def: "", each: true, later: true},
)
