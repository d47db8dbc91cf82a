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

// What the file may wish for, as soon as the rest of the program can do it: the
// keys and values of a feature that does not work are refused as not supported
// yet. Whoever builds one changes false to true in its line, and runs
//
//	go test ./config -run TestReferenceNamesEveryKey -update
//
// which takes the remark out of docs/lvsd.toml.
var (
	syncWorks          = wish(true) // [ipvs.sync]
	sctpWorks          = wish(true) // protocol = "sctp"
	fwmarkWorks        = wish(true) // fwmark, family
	allPortsWorks      = wish(true) // address with port 0, with persistence
	tunnelsWork        = wish(true) // forward = { type = "gue" or "gre", … }
	mixedFamiliesWork  = wish(true) // IPv6 servers behind IPv4 services and the reverse
	engineWorks        = wish(true) // persistence_engine
	onePacketWorks     = wish(true) // one_packet
	drainTimeoutWorks  = wish(true) // drain_timeout
	fallbackWorks      = wish(true) // fallback
	panicWorks         = wish(true) // panic_threshold
	slowStartWorks     = wish(true) // slow_start
	flapDampingWorks   = wish(true) // flap_damping
	guardWorks         = wish(true) // [guard]
	synWorks           = wish(true) // check type syn
	pingWorks          = wish(true) // check type ping, with count
	udpWorks           = wish(true) // check type udp, with require_reply
	dnsWorks           = wish(true) // check type dns, with name record rcode answer tcp
	smtpWorks          = wish(true) // check type smtp, with helo; TLS by tlsEverywhereWorks
	execWorks          = wish(true) // check type exec, with command user
	agentWorks         = wish(true) // check type agent, with port
	grpcWorks          = wish(true) // check type grpc, with service; TLS by tlsEverywhereWorks
	tlsEverywhereWorks = wish(true) // checks: the key tls, which tcp, smtp and grpc need for TLS
	clientCertWorks    = wish(true) // checks: cert_file, key_file
	minVersionWorks    = wish(true) // checks: min_version
	dialogueWorks      = wish(true) // checks of type tcp: steps
	bytesWork          = wish(true) // checks of type tcp, udp: send_hex, expect_hex, expect_text
	bodyWorks          = wish(true) // http, https: body
	expectNotWorks     = wish(true) // http, https: expect_not
	digestWorks        = wish(true) // http, https: digest
	redirectsWork      = wish(true) // http, https: follow_redirects
	http2Works         = wish(true) // http, https: http2
	proxyProtocolWorks = wish(true) // http, https: proxy_protocol
	namesWork          = wish(true) // checks: a name in address
	throughWorks       = wish(true) // checks: through
	version2Works      = wish(true) // elections: version = 2
	ipv6ElectionsWork  = wish(true) // elections: addresses of IPv6
	unicastWorks       = wish(true) // elections: unicast
	authenticWorks     = wish(true) // elections: authentication
	handoverWorks      = wish(true) // elections: handover_limit
	syncGroupWorks     = wish(true) // elections: sync_group
	trackWorks         = wish(true) // elections: track_interfaces, track_scripts
	pairWorks          = wish(true) // [pair]
	drainUntilWorks    = wish(true) // real servers: drain_until
	drainClientsWork   = wish(true) // drain_persistent
	notifyWorks        = wish(true) // [global] notify, webhook; elections: notify
	webConfigWorks     = wish(true) // [global] web_config_file
	syncHoldWorks      = wish(true) // elections: sync_hold
	trackServicesWork  = wish(true) // elections: track_services
	trackFilesWork     = wish(true) // elections: track_files
	virtualMACWorks    = wish(true) // elections: virtual_mac
	alongWorks         = wish(true) // elections: routes, rules
	anyFirstWorks      = wish(true) // elections: link_local_first
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
	key{name: "web_config_file", kind: kindString, def: "", each: true, needs: webConfigWorks},
	key{name: "notify", kind: kindStrings, def: []string{}, needs: notifyWorks},
	key{name: "webhook", kind: kindString, def: "", each: true, needs: notifyWorks},
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
	key{name: "through_marks", kind: kindInt, def: int64(0x6c760000), min: 1, max: math.MaxUint32 - ThroughMarks + 1, needs: throughWorks},
	key{name: "sync", kind: kindTable, table: syncTable, computed: "none", needs: syncWorks},
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
	key{name: "version", kind: kindInt, def: int64(3), min: 2, max: 3, needs: version2Works},
	key{name: "priority", kind: kindInt, def: int64(100), each: true, min: 1, max: math.MaxUint8},
	key{name: "advert_interval", kind: kindDuration, def: time.Second, min: int64(10 * time.Millisecond), max: int64(maxAdvert)},
	key{name: "preempt", kind: kindBool, def: true, each: true},
	key{name: "preempt_delay", kind: kindDuration, def: time.Duration(0), each: true, max: int64(time.Hour)},
	key{name: "addresses", kind: kindStrings, required: true, waits: []wait{{"IPv6", ipv6ElectionsWork}}},
	key{name: "excluded_addresses", kind: kindStrings, def: []string{}},
	key{name: "link_local_first", kind: kindBool, def: true, needs: anyFirstWorks},
	key{name: "routes", kind: kindTables, table: routeTable, def: []any{}, needs: alongWorks},
	key{name: "rules", kind: kindTables, table: ruleTable, def: []any{}, needs: alongWorks},
	key{name: "unicast", kind: kindAny, def: false, needs: unicastWorks},
	key{name: "virtual_mac", kind: kindBool, def: false, each: true, needs: virtualMACWorks},
	key{name: "checksum", kind: kindString, def: "rfc5798", choices: []string{"rfc5798", "rfc9568"}},
	key{name: "sync_hold", kind: kindDuration, def: time.Minute, each: true, needs: syncHoldWorks, max: int64(time.Hour)},
	key{name: "handover_limit", kind: kindDuration, def: 5 * time.Second, each: true, needs: handoverWorks, max: int64(time.Minute)},
	key{name: "sync_group", kind: kindString, def: "", needs: syncGroupWorks},
	key{name: "track_interfaces", kind: kindList, def: []any{}, needs: trackWorks},
	key{name: "track_services", kind: kindTables, table: trackServiceTable, def: []any{}, needs: trackServicesWork},
	key{name: "track_files", kind: kindTables, table: trackFileTable, def: []any{}, needs: trackFilesWork},
	key{name: "track_scripts", kind: kindTables, table: trackScriptTable, def: []any{}, needs: trackWorks},
	key{name: "notify", kind: kindStrings, def: []string{}, needs: notifyWorks},
	key{name: "authentication", kind: kindTable, table: authenticationTable, computed: "none", needs: authenticWorks},
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
	key{name: "address", kind: kindString, computed: "none, one must be given, or fwmark", waits: []wait{{"port 0", allPortsWorks}}},
	key{name: "fwmark", kind: kindInt, computed: "none", needs: fwmarkWorks, min: 1, max: math.MaxUint32},
	key{name: "family", kind: kindString, def: "ipv4", needs: fwmarkWorks, choices: []string{"ipv4", "ipv6"}},
	key{name: "protocol", kind: kindString, def: "tcp", choices: []string{"tcp", "udp", "sctp"}, waits: []wait{{"sctp", sctpWorks}}},
	key{name: "scheduler", kind: kindString, def: "wlc", choices: schedulers},
	key{name: "scheduler_flags", kind: kindStrings, def: []string{}, choices: flags},
	key{name: "forward", kind: kindForward, def: "dr", choices: forwards, table: tunnelTable, waits: []wait{{"a table", tunnelsWork}}},
	key{name: "persistence", kind: kindDuration, def: time.Duration(0), max: int64(maxTimeout)},
	key{name: "persistence_netmask", kind: kindMask, def: ""},
	key{name: "persistence_engine", kind: kindString, def: "", needs: engineWorks, choices: []string{"", "sip"}},
	key{name: "one_packet", kind: kindBool, def: false, needs: onePacketWorks},
	key{name: "quorum", kind: kindInt, def: int64(1), min: 1, max: math.MaxInt32},
	key{name: "hysteresis", kind: kindInt, def: int64(0), max: math.MaxInt32},
	key{name: "on_failure", kind: kindString, choices: []string{"quiesce", "remove"},
		computed: `"quiesce"; "remove" for udp, for dh, and for sh and mh with "no-fallback"`},
	key{name: "drain_timeout", kind: kindDuration, def: time.Duration(0), needs: drainTimeoutWorks, max: int64(24 * time.Hour)},
	key{name: "drain_persistent", kind: kindString, def: "keep", choices: []string{"keep", "move"}, needs: drainClientsWork},
	key{name: "fallback", kind: kindString, def: "", needs: fallbackWorks},
	key{name: "panic_threshold", kind: kindInt, def: int64(0), max: 100, needs: panicWorks},
	key{name: "slow_start", kind: kindDuration, def: time.Duration(0), needs: slowStartWorks, max: int64(time.Hour)},
	key{name: "flap_damping", kind: kindBool, def: false, needs: flapDampingWorks},
	key{name: "real_servers", kind: kindTables, table: realServerTable, computed: "[]"},
	key{name: "check", kind: kindChecks, table: checkTable, computed: `{ type = "connect" } for tcp; udp, sctp and firewall marks must say one`},
)

var realServerTable = newTable("real_servers",
	key{name: "address", kind: kindString, required: true, waits: []wait{{"another family than the service's", mixedFamiliesWork}}},
	key{name: "weight", kind: kindInt, def: int64(1), max: maxWeight},
	key{name: "forward", kind: kindForward, choices: forwards, table: tunnelTable, computed: "the service's", waits: []wait{{"a table", tunnelsWork}}},
	key{name: "upper_threshold", kind: kindInt, def: int64(0), max: math.MaxUint32},
	key{name: "lower_threshold", kind: kindInt, def: int64(0), max: math.MaxUint32},
	key{name: "check", kind: kindChecks, table: checkTable, computed: "the service's"},
	key{name: "drain_until", kind: kindTime, computed: "none", needs: drainUntilWorks},
)

// tunnelTable is forward, written as a table.
var tunnelTable = newTable("forward",
	key{name: "type", kind: kindString, required: true, choices: []string{"ipip", "gue", "gre"}},
	key{name: "port", kind: kindInt, computed: "none, gue must have one", min: 1, max: math.MaxUint16},
	key{name: "checksum", kind: kindString, def: "none", choices: []string{"none", "csum", "remcsum"}},
)

var checkTable = newTable("check",
	append([]key{
		{name: "type", kind: kindString, required: true, choices: checkTypes, waits: []wait{
			{"syn", synWorks}, {"ping", pingWorks}, {"udp", udpWorks}, {"dns", dnsWorks},
			{"smtp", smtpWorks}, {"exec", execWorks}, {"agent", agentWorks}, {"grpc", grpcWorks}}},
		{name: "address", kind: kindString, computed: "the real server's", waits: []wait{{"a name", namesWork}}},
		{name: "through", kind: kindBool, def: false, needs: throughWorks, types: []string{"connect", "syn", "tcp", "http", "https", "udp", "dns", "smtp", "grpc"}},
		{name: "interval", kind: kindDuration, def: 2 * time.Second, min: int64(10 * time.Millisecond), max: int64(time.Hour)},
		{name: "fast_interval", kind: kindDuration, computed: "interval", min: int64(10 * time.Millisecond), max: int64(time.Hour)},
		{name: "timeout", kind: kindDuration, computed: `"1s"; interval where that is shorter`, min: int64(time.Millisecond), max: int64(time.Hour)},
		{name: "rise", kind: kindInt, def: int64(2), min: 1, max: 1000},
		{name: "fall", kind: kindInt, def: int64(3), min: 1, max: 1000},
		{name: "from", kind: kindString, def: ""},
		{name: "mark", kind: kindInt, def: int64(0), max: math.MaxUint32},
		{name: "send", kind: kindString, def: "", types: exchanging},
		{name: "send_hex", kind: kindString, def: "", types: exchanging, needs: bytesWork},
		{name: "expect", kind: kindString, def: "", types: []string{"tcp", "http", "https", "udp"}},
		{name: "expect_text", kind: kindString, def: "", types: exchanging, needs: bytesWork},
		{name: "expect_hex", kind: kindString, def: "", types: exchanging, needs: bytesWork},
		{name: "steps", kind: kindTables, table: stepTable, def: []any{}, types: []string{"tcp"}, needs: dialogueWorks},
		{name: "require_reply", kind: kindBool, def: false, types: []string{"udp"}, needs: udpWorks},
		{name: "method", kind: kindString, def: "GET", types: web},
		{name: "host", kind: kindString, computed: "the probed address", types: web},
		{name: "path", kind: kindString, def: "/", types: web},
		{name: "headers", kind: kindWords, def: map[string]string{}, types: web},
		{name: "headers_file", kind: kindString, def: "", types: web},
		{name: "body", kind: kindString, def: "", types: web, needs: bodyWorks},
		{name: "status", kind: kindString, def: "200-299", types: web},
		{name: "expect_not", kind: kindString, def: "", types: web, needs: expectNotWorks},
		{name: "digest", kind: kindString, def: "", types: web, needs: digestWorks},
		{name: "follow_redirects", kind: kindInt, def: int64(0), max: 10, types: web, needs: redirectsWork},
		{name: "http2", kind: kindBool, def: false, types: web, needs: http2Works},
		{name: "proxy_protocol", kind: kindString, def: "", choices: []string{"", "v1", "v2"}, types: web, needs: proxyProtocolWorks},
		{name: "tls", kind: kindTLS, computed: "true for https; false for tcp, smtp, grpc", table: tlsTable, types: encrypted, needs: tlsEverywhereWorks},
		{name: "count", kind: kindInt, def: int64(1), min: 1, max: 10, types: []string{"ping"}, needs: pingWorks},
		{name: "name", kind: kindString, computed: "none, dns must have one", types: []string{"dns"}, needs: dnsWorks},
		{name: "record", kind: kindString, def: "A", choices: recordTypes, types: []string{"dns"}, needs: dnsWorks},
		{name: "rcode", kind: kindString, def: "NOERROR", choices: rcodes, types: []string{"dns"}, needs: dnsWorks},
		{name: "answer", kind: kindString, def: "", types: []string{"dns"}, needs: dnsWorks},
		{name: "tcp", kind: kindBool, def: false, types: []string{"dns"}, needs: dnsWorks},
		{name: "helo", kind: kindString, def: "localhost", types: []string{"smtp"}, needs: smtpWorks},
		{name: "command", kind: kindStrings, computed: "none, exec must have one", types: []string{"exec"}, needs: execWorks},
		{name: "user", kind: kindString, def: "", types: []string{"exec"}, needs: execWorks},
		{name: "port", kind: kindInt, computed: "that of address, one must be given", min: 1, max: math.MaxUint16, types: []string{"agent"}, needs: agentWorks},
		{name: "service", kind: kindString, def: "", types: []string{"grpc"}, needs: grpcWorks},
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
		{name: "cert_file", kind: kindString, def: "", types: types, needs: clientCertWorks},
		{name: "key_file", kind: kindString, def: "", types: types, needs: clientCertWorks},
		{name: "min_version", kind: kindString, def: "1.2", choices: []string{"1.0", "1.1", "1.2", "1.3"}, types: types, needs: minVersionWorks},
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
	key{name: "witnesses", kind: kindStrings, def: []string{}, needs: guardWorks},
	key{name: "share", kind: kindInt, def: int64(defaultShare), min: 1, max: 100, needs: guardWorks},
)

var pairTable = newTable("pair",
	key{name: "listen", kind: kindString, def: "", each: true, needs: pairWorks},
	key{name: "key_file", kind: kindString, each: true, needs: pairWorks, computed: `that of the first [[vrrp]] with type = "hmac"`},
)
