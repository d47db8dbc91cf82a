// All keys, with type, default and range. A test compares docs/lvsd.toml with them.

package schema

import (
	"math"
	"slices"
	"time"
)

// ProbeMarkCount is how many firewall marks are reserved for checks with through:
// one for each real server that has such a check.
const ProbeMarkCount = 1 << 16

// Defaults of [global] that commands use without a configuration file.
const (
	DefaultControlSocket = "/run/lvsd/control.sock"
	DefaultStateDir      = "/var/lib/lvsd"
)

// NoFallback is the flag that disables the fallback of sh and mh.
const NoFallback = "no-fallback"

const (
	// maxTimeout is the longest timeout that both ip_vs and ipvsadm accept: 31
	// days (ipvsadm(8), --set and --persistent).
	maxTimeout   = 31 * 24 * time.Hour
	maxAdvert    = 4095 * 10 * time.Millisecond // 12 bits of centiseconds, RFC 9568 §5.2.7
	maxWeight    = math.MaxUint16
	DefaultShare = 80
	// maxTrackWeight is the largest difference between two priorities below 255.
	maxTrackWeight = 253
	// maxDatagram is the longest payload of UDP over IPv4; minDatagram has
	// room for one connection with all its options (ip_vs_sync.c).
	MaxDatagram, MinDatagram = 65507, 512
)

var (
	schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"}
	flags      = []string{"sh-fallback", "sh-port", "mh-fallback", "mh-port", "flag-1", "flag-2", "flag-3", NoFallback}
	forwards   = []string{"dr", "nat", "tun"}
	web        = []string{"http", "https"}
	exchanging = []string{"tcp", "udp"}

	// EventKinds are the kinds of events that notifications can be limited to.
	EventKinds = []string{"daemon", "reload", "vrrp", "health", "weight", "quorum", "guard", "panic", "fallback", "handover", "announce", "ipvs", "peer"}
	databases  = []string{"mysql", "postgres"}
)

// checkType is what the keys of a check depend on.
type checkType struct {
	name     string
	portless bool // what it probes need not have a port
	through  bool // it can go through the kernel's forwarding
	tls      bool // it can speak TLS
	dialogue bool // package checker/probe/dialogue has it
}

// checkTypes are all types of check: a new one needs a line here.
var checkTypes = []checkType{
	{name: "connect", through: true},
	{name: "syn", through: true},
	{name: "tcp", through: true, tls: true},
	{name: "http", through: true},
	{name: "https", through: true, tls: true},
	{name: "ping", portless: true},
	{name: "udp", through: true},
	{name: "dns", through: true},
	{name: "smtp", through: true, tls: true},
	{name: "imap", through: true, tls: true, dialogue: true},
	{name: "imaps", through: true, tls: true, dialogue: true},
	{name: "pop3", through: true, tls: true, dialogue: true},
	{name: "pop3s", through: true, tls: true, dialogue: true},
	{name: "ftp", through: true, tls: true, dialogue: true},
	{name: "nntp", through: true, tls: true, dialogue: true},
	{name: "ldap", through: true, tls: true, dialogue: true},
	{name: "ldaps", through: true, tls: true, dialogue: true},
	{name: "redis", through: true, tls: true, dialogue: true},
	{name: "memcached", through: true, tls: true, dialogue: true},
	{name: "mysql", through: true, tls: true, dialogue: true},
	{name: "postgres", through: true, tls: true, dialogue: true},
	{name: "amqp", through: true, tls: true, dialogue: true},
	{name: "rtsp", through: true, tls: true, dialogue: true},
	{name: "sip", through: true, tls: true, dialogue: true},
	{name: "radius", through: true, dialogue: true},
	{name: "exec", portless: true},
	{name: "agent"},
	{name: "grpc", through: true, tls: true},
	{name: "file", portless: true},
	{name: "on", portless: true},
	{name: "off", portless: true},
}

// Portless reports whether what a type of check probes need not have a port.
func Portless(name string) bool {
	return slices.ContainsFunc(checkTypes, func(c checkType) bool { return c.name == name && c.portless })
}

// checkTypesWith returns the names of the types with a property.
func checkTypesWith(has func(checkType) bool) (names []string) {
	for _, c := range checkTypes {
		if has(c) {
			names = append(names, c.name)
		}
	}
	return names
}

var (
	everyType = checkTypesWith(func(checkType) bool { return true })
	encrypted = checkTypesWith(func(c checkType) bool { return c.tls })
	dialogues = checkTypesWith(func(c checkType) bool { return c.dialogue })
	logins    = without(dialogues, "rtsp", "sip")
)

// IsDialogue reports whether a type of check is a built-in dialogue.
func IsDialogue(checkType string) bool { return slices.Contains(dialogues, checkType) }

func join(lists ...[]string) []string { return slices.Concat(lists...) }

// without returns a copy of a list without some of its elements.
func without(list []string, some ...string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(some, s) })
}

var RootTable = newTable("",
	Key{Name: "include", Kind: Strings, Default: []string{}},
	Key{Name: "director", Kind: Tables, Table: DirectorTable},
	Key{Name: "global", Kind: SubTable, Table: GlobalTable},
	Key{Name: "ipvs", Kind: SubTable, Table: IPVSTable},
	Key{Name: "vrrp", Kind: Tables, Table: VRRPTable},
	Key{Name: "sync_group", Kind: Tables, Table: SyncGroupTable},
	Key{Name: "announce", Kind: Tables, Table: AnnounceTable},
	Key{Name: "virtual_service", Kind: Tables, Table: ServiceTable},
	Key{Name: "checker", Kind: SubTable, Table: CheckerTable},
	Key{Name: "guard", Kind: SubTable, Table: GuardTable},
	Key{Name: "peers", Kind: SubTable, Table: PeersTable},
	Key{Name: "email", Kind: SubTable, Table: EmailTable},
).renamed("pair", "peers")

var DirectorTable = newTable("director",
	Key{Name: "name", Kind: String, Required: true},
	Key{Name: "address", Kind: String, Computed: "none"},
)

var GlobalTable = newTable("global",
	Key{Name: "http_listen", Kind: String, Default: "127.0.0.1:8112", PerDirector: true},
	Key{Name: "control_socket", Kind: String, Default: DefaultControlSocket, PerDirector: true},
	Key{Name: "control_group", Kind: String, Default: "", PerDirector: true},
	Key{Name: "web_config_file", Kind: String, Default: "", PerDirector: true},
	Key{Name: "notify", Kind: Strings, Default: []string{}},
	Key{Name: "notify_user", Kind: String, Default: "", PerDirector: true},
	Key{Name: "webhook", Kind: String, Default: "", PerDirector: true},
	Key{Name: "webhook_format", Kind: String, Default: "json", PerDirector: true, Choices: []string{"json", "slack", "alertmanager"}},
	Key{Name: "webhook_kinds", Kind: Strings, Default: []string{}, Choices: EventKinds},
	Key{Name: "state_dir", Kind: String, Default: DefaultStateDir, PerDirector: true},
	Key{Name: "log_level", Kind: String, Default: "info", PerDirector: true, Choices: []string{"debug", "info", "warn", "error"}},
	Key{Name: "log_format", Kind: String, Default: "text", PerDirector: true, Choices: []string{"text", "json"}},
	Key{Name: "auto_reload", Kind: Bool, Default: false, PerDirector: true},
	Key{Name: "per_server_metrics", Kind: Bool, Default: true, PerDirector: true},
)

var IPVSTable = newTable("ipvs",
	Key{Name: "timeout_tcp", Kind: Duration, Default: 15 * time.Minute, PerDirector: true, Min: int64(time.Second), Max: int64(maxTimeout)},
	Key{Name: "timeout_tcp_fin", Kind: Duration, Default: 2 * time.Minute, PerDirector: true, Min: int64(time.Second), Max: int64(maxTimeout)},
	Key{Name: "timeout_udp", Kind: Duration, Default: 5 * time.Minute, PerDirector: true, Min: int64(time.Second), Max: int64(maxTimeout)},
	Key{Name: "manage_sysctls", Kind: Bool, Default: true, PerDirector: true},
	Key{Name: "resync_interval", Kind: Duration, Default: 10 * time.Second, PerDirector: true, Min: int64(100 * time.Millisecond), Max: int64(time.Hour)},
	Key{Name: "on_stop", Kind: String, Default: "keep", PerDirector: true, Choices: []string{"keep", "remove"}},
	Key{Name: "foreign", Kind: String, Default: "alarm", PerDirector: true, Choices: []string{"alarm", "remove", "ignore"}},
	Key{Name: "through_marks", Kind: Int, Default: int64(0x6c760000), Min: 1, Max: math.MaxUint32 - ProbeMarkCount + 1},
	Key{Name: "sync", Kind: SubTable, Table: SyncTable, Computed: "none"},
)

var SyncTable = newTable("ipvs.sync",
	Key{Name: "interface", Kind: String, Required: true, PerDirector: true},
	Key{Name: "id", Kind: Int, Required: true, Min: 1, Max: math.MaxUint8},
	Key{Name: "vrrp", Kind: String, Computed: "the first [[vrrp]]"},
	Key{Name: "refresh_period", Kind: Duration, Default: 10 * time.Second, Max: int64(time.Hour)},
	Key{Name: "group", Kind: String, Default: "224.0.0.81"},
	Key{Name: "port", Kind: Int, Default: int64(8848), Min: 1, Max: math.MaxUint16},
	Key{Name: "sources", Kind: Strings, Default: []string{}},
	Key{Name: "ttl", Kind: Int, Default: int64(1), Min: 1, Max: math.MaxUint8},
	Key{Name: "maxlen", Kind: Int, Default: int64(0), Max: MaxDatagram},
	Key{Name: "threshold", Kind: Ints, Default: []int64{3, 50}},
)

var VRRPTable = newTable("vrrp",
	Key{Name: "name", Kind: String, Required: true},
	Key{Name: "interface", Kind: String, Required: true, PerDirector: true},
	Key{Name: "virtual_router_id", Kind: Int, Required: true, Min: 1, Max: math.MaxUint8},
	Key{Name: "version", Kind: Int, Default: int64(3), Min: 2, Max: 3},
	Key{Name: "priority", Kind: Int, Default: int64(100), PerDirector: true, Min: 1, Max: math.MaxUint8},
	Key{Name: "advert_interval", Kind: Duration, Default: time.Second, Min: int64(10 * time.Millisecond), Max: int64(maxAdvert)},
	Key{Name: "preempt", Kind: Bool, Default: true, PerDirector: true},
	Key{Name: "preempt_delay", Kind: Duration, Default: time.Duration(0), PerDirector: true, Max: int64(time.Hour)},
	Key{Name: "startup_delay", Kind: Duration, Default: time.Duration(0), PerDirector: true, Max: int64(time.Hour)},
	Key{Name: "addresses", Kind: MixedList, Required: true},
	Key{Name: "excluded_addresses", Kind: MixedList, Default: []any{}},
	Key{Name: "link_local", Kind: String, Default: "configured", Choices: []string{"configured", "auto"}},
	Key{Name: "link_local_first", Kind: Bool, Default: true},
	Key{Name: "routes", Kind: Tables, Table: RouteTable, Default: []any{}},
	Key{Name: "rules", Kind: Tables, Table: RuleTable, Default: []any{}},
	Key{Name: "unicast", Kind: Any, Default: false},
	Key{Name: "unicast_hops", Kind: Int, Default: int64(0), Max: 254},
	Key{Name: "virtual_mac", Kind: Bool, Default: false, PerDirector: true},
	Key{Name: "checksum", Kind: String, Default: "rfc5798", Choices: []string{"rfc5798", "rfc9568"}},
	Key{Name: "sync_hold", Kind: Duration, Default: time.Minute, PerDirector: true, Max: int64(time.Hour)},
	Key{Name: "handover_limit", Kind: Duration, Default: 5 * time.Second, PerDirector: true, Max: int64(time.Minute)},
	Key{Name: "sync_group", Kind: String, Default: ""},
	Key{Name: "track_interfaces", Kind: MixedList, Default: []any{}},
	Key{Name: "track_services", Kind: Tables, Table: TrackServiceTable, Default: []any{}},
	Key{Name: "track_files", Kind: Tables, Table: TrackFileTable, Default: []any{}},
	Key{Name: "track_scripts", Kind: Tables, Table: TrackScriptTable, Default: []any{}},
	Key{Name: "notify", Kind: Strings, Default: []string{}},
	Key{Name: "notify_master", Kind: Strings, Default: []string{}},
	Key{Name: "notify_backup", Kind: Strings, Default: []string{}},
	Key{Name: "notify_fault", Kind: Strings, Default: []string{}},
	Key{Name: "notify_stop", Kind: Strings, Default: []string{}},
	Key{Name: "authentication", Kind: SubTable, Table: AuthenticationTable, Computed: "none"},
)

// routeTable and ruleTable are what moves with the addresses.
var RouteTable = newTable("vrrp.routes",
	Key{Name: "to", Kind: String, Required: true},
	Key{Name: "via", Kind: String, Default: "", PerDirector: true},
	Key{Name: "interface", Kind: String, Computed: "the instance's", PerDirector: true},
	Key{Name: "table", Kind: Int, Default: int64(254), Min: 1, Max: math.MaxInt32},
	Key{Name: "source", Kind: String, Default: "", PerDirector: true},
	Key{Name: "metric", Kind: Int, Default: int64(0), Max: math.MaxInt32},
)

var RuleTable = newTable("vrrp.rules",
	Key{Name: "from", Kind: String, Default: ""},
	Key{Name: "to", Kind: String, Default: ""},
	Key{Name: "mark", Kind: Int, Default: int64(0), Max: math.MaxUint32},
	Key{Name: "interface", Kind: String, Default: "", PerDirector: true},
	Key{Name: "table", Kind: Int, Required: true, Min: 1, Max: math.MaxInt32},
	Key{Name: "priority", Kind: Int, Required: true, Min: 1, Max: 32765},
)

// AddressTable is of an entry of addresses and excluded_addresses that is more than an
// address.
var AddressTable = newTable("vrrp.addresses",
	Key{Name: "address", Kind: String, Required: true},
	Key{Name: "interface", Kind: String, Required: true, PerDirector: true},
)

// TrackInterfaceTable is of an entry of track_interfaces that is more than a name.
var TrackInterfaceTable = newTable("vrrp.track_interfaces",
	Key{Name: "name", Kind: String, Required: true},
	Key{Name: "weight", Kind: Int, Default: int64(0), Min: -maxTrackWeight, Max: maxTrackWeight},
)

var TrackServiceTable = newTable("vrrp.track_services",
	Key{Name: "name", Kind: String, Required: true},
	Key{Name: "weight", Kind: Int, Default: int64(-maxTrackWeight), Min: -maxTrackWeight, Max: -1},
	Key{Name: "fault", Kind: Bool, Default: false},
)

var TrackFileTable = newTable("vrrp.track_files",
	Key{Name: "path", Kind: String, Required: true},
	Key{Name: "weight", Kind: Int, Default: int64(1), Min: -maxTrackWeight, Max: maxTrackWeight},
)

var TrackScriptTable = newTable("vrrp.track_scripts",
	Key{Name: "command", Kind: Strings, Required: true},
	Key{Name: "interval", Kind: Duration, Default: time.Second, Min: int64(10 * time.Millisecond), Max: int64(time.Hour)},
	Key{Name: "timeout", Kind: Duration, Computed: "interval", Min: int64(10 * time.Millisecond), Max: int64(time.Hour)},
	Key{Name: "rise", Kind: Int, Default: int64(1), Min: 1, Max: 100},
	Key{Name: "fall", Kind: Int, Default: int64(2), Min: 1, Max: 100},
	Key{Name: "weight", Kind: Int, Default: int64(0), Min: -maxTrackWeight, Max: maxTrackWeight},
)

var AuthenticationTable = newTable("vrrp.authentication",
	Key{Name: "type", Kind: String, Required: true, Choices: []string{"hmac", "pass"}},
	Key{Name: "key_file", Kind: String, Required: true, PerDirector: true},
	Key{Name: "mode", Kind: String, Default: "enforce", Choices: []string{"enforce", "permissive"}},
)

var AnnounceTable = newTable("announce",
	Key{Name: "name", Kind: String, Required: true},
	Key{Name: "addresses", Kind: Strings, Required: true},
	Key{Name: "table", Kind: Int, Default: int64(112), Min: 1, Max: math.MaxInt32},
	Key{Name: "metric", Kind: SubTable, Table: AnnounceMetricTable, Computed: "{ serving = 100, draining = 4000 }"},
	Key{Name: "services", Kind: Any, Default: "any"},
	Key{Name: "hold_start", Kind: Duration, Default: 5 * time.Second, PerDirector: true, Max: int64(time.Hour)},
	Key{Name: "sync_hold", Kind: Duration, Default: time.Minute, PerDirector: true, Max: int64(time.Hour)},
	Key{Name: "withdraw_wait", Kind: Duration, Default: 3 * time.Second, PerDirector: true, Max: int64(time.Minute)},
	Key{Name: "fault", Kind: Bool, Default: false},
	Key{Name: "routing_daemon", Kind: String, Default: "", PerDirector: true},
)

var AnnounceMetricTable = newTable("announce.metric",
	Key{Name: "serving", Kind: Int, Default: int64(100), Min: 1, Max: math.MaxUint32},
	Key{Name: "draining", Kind: Int, Default: int64(4000), Min: 1, Max: math.MaxUint32},
)

var ServiceTable = newTable("virtual_service",
	Key{Name: "name", Kind: String, Required: true},
	Key{Name: "address", Kind: String, Computed: "none, one must be given, or fwmark"},
	Key{Name: "fwmark", Kind: Int, Computed: "none", Min: 1, Max: math.MaxUint32},
	Key{Name: "family", Kind: String, Default: "ipv4", Choices: []string{"ipv4", "ipv6"}},
	Key{Name: "protocol", Kind: String, Default: "tcp", Choices: []string{"tcp", "udp", "sctp"}},
	Key{Name: "scheduler", Kind: String, Default: "wlc", Choices: schedulers},
	Key{Name: "scheduler_flags", Kind: Strings, Default: []string{}, Choices: flags},
	Key{Name: "forward", Kind: StringOrTable, Default: "dr", Choices: forwards, Table: TunnelTable},
	Key{Name: "persistence", Kind: Duration, Default: time.Duration(0), Max: int64(maxTimeout)},
	Key{Name: "persistence_netmask", Kind: Netmask, Default: ""},
	Key{Name: "persistence_engine", Kind: String, Default: "", Choices: []string{"", "sip"}},
	Key{Name: "one_packet", Kind: Bool, Default: false},
	Key{Name: "quorum", Kind: Int, Default: int64(1), Min: 1, Max: math.MaxInt32},
	Key{Name: "hysteresis", Kind: Int, Default: int64(0), Max: math.MaxInt32},
	Key{Name: "on_failure", Kind: String, Choices: []string{"quiesce", "remove"},
		Computed: `"quiesce"; "remove" for udp, for dh, and for sh and mh with "no-fallback"`},
	Key{Name: "drain_timeout", Kind: Duration, Default: time.Duration(0), Max: int64(24 * time.Hour)},
	Key{Name: "drain_persistent", Kind: String, Default: "keep", Choices: []string{"keep", "move"}},
	Key{Name: "fallback", Kind: String, Default: ""},
	Key{Name: "panic_threshold", Kind: Int, Default: int64(0), Max: 100},
	Key{Name: "slow_start", Kind: Duration, Default: time.Duration(0), Max: int64(time.Hour)},
	Key{Name: "flap_damping", Kind: Bool, Default: false},
	Key{Name: "quorum_up", Kind: Strings, Default: []string{}},
	Key{Name: "quorum_down", Kind: Strings, Default: []string{}},
	Key{Name: "real_servers", Kind: Tables, Table: RealServerTable, Computed: "[]"},
	Key{Name: "check", Kind: TableOrTables, Table: CheckTable, Computed: `{ type = "connect" } for tcp; udp, sctp and firewall marks must set one`},
)

var RealServerTable = newTable("real_servers",
	Key{Name: "address", Kind: String, Required: true},
	Key{Name: "weight", Kind: Int, Default: int64(1), Max: maxWeight},
	Key{Name: "forward", Kind: StringOrTable, Choices: forwards, Table: TunnelTable, Computed: "the service's"},
	Key{Name: "upper_threshold", Kind: Int, Default: int64(0), Max: math.MaxUint32},
	Key{Name: "lower_threshold", Kind: Int, Default: int64(0), Max: math.MaxUint32},
	Key{Name: "check", Kind: TableOrTables, Table: CheckTable, Computed: "the service's"},
	Key{Name: "drain", Kind: Bool, Default: false},
	Key{Name: "drain_until", Kind: Time, Computed: "none"},
	Key{Name: "notify_up", Kind: Strings, Default: []string{}},
	Key{Name: "notify_down", Kind: Strings, Default: []string{}},
)

// tunnelTable is forward, written as a table.
var TunnelTable = newTable("forward",
	Key{Name: "type", Kind: String, Required: true, Choices: []string{"ipip", "gue", "gre"}},
	Key{Name: "port", Kind: Int, Computed: "none, gue must have one", Min: 1, Max: math.MaxUint16},
	Key{Name: "checksum", Kind: String, Default: "none", Choices: []string{"none", "csum", "remcsum"}},
)

var CheckTable = newTable("check",
	append([]Key{
		{Name: "type", Kind: String, Required: true, Choices: everyType},
		{Name: "label", Kind: String, Computed: "the type; of several checks also what distinguishes them, such as http /healthz :8080"},
		{Name: "address", Kind: String, Computed: "the real server's"},
		{Name: "through", Kind: Bool, Default: false, CheckTypes: checkTypesWith(func(c checkType) bool { return c.through })},
		{Name: "interval", Kind: Duration, Default: 2 * time.Second, Min: int64(10 * time.Millisecond), Max: int64(time.Hour)},
		{Name: "fast_interval", Kind: Duration, Computed: "interval", Min: int64(10 * time.Millisecond), Max: int64(time.Hour)},
		{Name: "timeout", Kind: Duration, Computed: `"1s"; interval where that is shorter`, Min: int64(time.Millisecond), Max: int64(time.Hour)},
		{Name: "rise", Kind: Int, Default: int64(2), Min: 1, Max: 1000},
		{Name: "fall", Kind: Int, Default: int64(3), Min: 1, Max: 1000},
		{Name: "from", Kind: String, Default: "", PerDirector: true},
		{Name: "mark", Kind: Int, Default: int64(0), Max: math.MaxUint32},
		{Name: "interface", Kind: String, Default: "", PerDirector: true, CheckTypes: join([]string{"connect", "tcp", "http", "https", "ping", "udp", "dns", "smtp", "agent", "grpc"}, dialogues)},
		{Name: "close", Kind: String, Default: "reset", Choices: []string{"reset", "fin"}, CheckTypes: []string{"connect", "tcp"}},
		{Name: "read_limit", Kind: Int, Computed: "262144; 16384 for tcp, 16777216 with digest", Max: 16 << 20, CheckTypes: []string{"http", "https", "tcp"}},
		{Name: "send", Kind: String, Default: "", CheckTypes: join(exchanging, []string{"agent"})},
		{Name: "send_hex", Kind: String, Default: "", CheckTypes: exchanging},
		{Name: "expect", Kind: String, Default: "", CheckTypes: join([]string{"tcp", "http", "https", "udp", "sip", "ldap", "ldaps"}, databases)},
		{Name: "expect_text", Kind: String, Default: "", CheckTypes: exchanging},
		{Name: "expect_hex", Kind: String, Default: "", CheckTypes: exchanging},
		{Name: "steps", Kind: Tables, Table: StepTable, Default: []any{}, CheckTypes: []string{"tcp"}},
		{Name: "require_reply", Kind: Bool, Default: false, CheckTypes: []string{"udp"}},
		{Name: "method", Kind: String, Default: "GET", CheckTypes: web},
		{Name: "host", Kind: String, Computed: "the probed address", CheckTypes: web},
		{Name: "path", Kind: String, Default: "/", CheckTypes: web},
		{Name: "headers", Kind: StringMap, Default: map[string]string{}, CheckTypes: web},
		{Name: "headers_file", Kind: String, Default: "", CheckTypes: web},
		{Name: "body", Kind: String, Default: "", CheckTypes: web},
		{Name: "status", Kind: String, Default: "200-299", CheckTypes: web},
		{Name: "expect_not", Kind: String, Default: "", CheckTypes: join([]string{"tcp", "http", "https", "udp", "sip", "ldap", "ldaps"}, databases)},
		{Name: "expect_headers", Kind: StringMap, Default: map[string]string{}, CheckTypes: web},
		{Name: "expect_json", Kind: StringMap, Default: map[string]string{}, CheckTypes: web},
		{Name: "drain_on", Kind: String, Default: "", CheckTypes: web},
		{Name: "digest", Kind: String, Default: "", CheckTypes: web},
		{Name: "follow_redirects", Kind: Int, Default: int64(0), Max: 10, CheckTypes: web},
		{Name: "http2", Kind: Bool, Default: false, CheckTypes: web},
		{Name: "proxy_protocol", Kind: String, Default: "", Choices: []string{"", "v1", "v2"}, CheckTypes: join([]string{"http", "https", "tcp", "smtp", "grpc"}, without(dialogues, "radius"))},
		{Name: "tls", Kind: BoolOrTable, Computed: "true for https, imaps, pop3s, ldaps; else false", Table: TLSTable, CheckTypes: encrypted},
		{Name: "count", Kind: Int, Default: int64(1), Min: 1, Max: 10, CheckTypes: []string{"ping"}},
		{Name: "name", Kind: String, Computed: "none, dns must have one", CheckTypes: []string{"dns"}},
		{Name: "record", Kind: String, Default: "A", Choices: recordTypes, CheckTypes: []string{"dns"}},
		{Name: "rcode", Kind: String, Default: "NOERROR", Choices: rcodes, CheckTypes: []string{"dns"}},
		{Name: "answer", Kind: String, Default: "", CheckTypes: []string{"dns"}},
		{Name: "tcp", Kind: Bool, Default: false, CheckTypes: []string{"dns", "sip"}},
		{Name: "helo", Kind: String, Default: "localhost", CheckTypes: []string{"smtp"}},
		{Name: "command", Kind: Strings, Computed: "none, exec must have one", CheckTypes: []string{"exec"}},
		{Name: "user", Kind: String, Default: "", CheckTypes: join([]string{"exec", "sip"}, logins)},
		{Name: "password_file", Kind: String, Default: "", CheckTypes: join(exchanging, logins)},
		{Name: "secret_file", Kind: String, Computed: "none, radius must have one", CheckTypes: []string{"radius"}},
		{Name: "database", Kind: String, Default: "", CheckTypes: join(databases, []string{"redis", "amqp"})},
		{Name: "role", Kind: String, Default: "", Choices: []string{"", "primary", "replica"}, CheckTypes: join(databases, []string{"redis"})},
		{Name: "query", Kind: String, Default: "", CheckTypes: databases},
		{Name: "base", Kind: String, Default: "", CheckTypes: []string{"ldap", "ldaps"}},
		{Name: "port", Kind: Int, Computed: "that of address, one must be given", Min: 1, Max: math.MaxUint16, CheckTypes: []string{"agent"}},
		{Name: "service", Kind: String, Default: "", CheckTypes: []string{"grpc"}},
		{Name: "file", Kind: String, Computed: "none, file must have one", CheckTypes: []string{"file"}},
		{Name: "file_exists", Kind: Bool, Default: true, CheckTypes: []string{"file"}},
	}, tlsKeys(encrypted)...)...,
)

var (
	recordTypes = []string{"A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"}
	rcodes      = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}
)

// tlsTable is tls, written as a table. The same keys may stand in the check.
var TLSTable = newTable("tls", tlsKeys(nil)...)

// SpeaksHTTP reports whether a type of check offers the protocol that it speaks by ALPN.
func SpeaksHTTP(checkType string) bool {
	return checkType == "http" || checkType == "https" || checkType == "grpc"
}

func tlsKeys(types []string) []Key {
	return []Key{
		{Name: "verify", Kind: Bool, Default: true, CheckTypes: types},
		{Name: "server_name", Kind: String, Computed: "host; the address without one", CheckTypes: types},
		{Name: "ca_file", Kind: String, Default: "", CheckTypes: types},
		{Name: "cert_file", Kind: String, Default: "", CheckTypes: types},
		{Name: "key_file", Kind: String, Default: "", CheckTypes: types},
		{Name: "min_version", Kind: String, Default: "1.2", Choices: []string{"1.0", "1.1", "1.2", "1.3"}, CheckTypes: types},
		{Name: "cipher_suites", Kind: String, Default: "default", Choices: []string{"default", "legacy"}, CheckTypes: types},
		{Name: "alpn", Kind: String, Default: "", CheckTypes: slices.DeleteFunc(slices.Clone(types), SpeaksHTTP)},
	}
}

// stepTable is one element of steps.
var StepTable = newTable("steps",
	Key{Name: "send", Kind: String, Default: ""},
	Key{Name: "send_hex", Kind: String, Default: ""},
	Key{Name: "expect", Kind: String, Default: ""},
	Key{Name: "expect_text", Kind: String, Default: ""},
	Key{Name: "expect_hex", Kind: String, Default: ""},
	Key{Name: "expect_not", Kind: String, Default: ""},
	Key{Name: "starttls", Kind: Bool, Default: false},
)

var CheckerTable = newTable("checker",
	Key{Name: "exec_parallel", Kind: Int, Default: int64(32), PerDirector: true, Min: 1, Max: 1000},
)

var GuardTable = newTable("guard",
	Key{Name: "witnesses", Kind: Strings, Default: []string{}},
	Key{Name: "share", Kind: Int, Default: int64(DefaultShare), Min: 1, Max: 100},
)

var PeersTable = newTable("peers",
	Key{Name: "listen", Kind: String, Default: "", PerDirector: true},
	Key{Name: "key_file", Kind: String, PerDirector: true, Computed: `that of the first [[vrrp]] with type = "hmac"`},
	Key{Name: "edits", Kind: Bool, Default: false, PerDirector: true},
	Key{Name: "probe_share", Kind: Bool, Default: false},
)

// SyncGroupTable has what belongs to a group of instances as a whole. The instances name
// the group.
var SyncGroupTable = newTable("sync_group",
	Key{Name: "name", Kind: String, Required: true},
	Key{Name: "notify_master", Kind: Strings, Default: []string{}},
	Key{Name: "notify_backup", Kind: Strings, Default: []string{}},
	Key{Name: "notify_fault", Kind: Strings, Default: []string{}},
	Key{Name: "notify_stop", Kind: Strings, Default: []string{}},
)

var EmailTable = newTable("email",
	Key{Name: "to", Kind: Strings, Default: []string{}},
	Key{Name: "from", Kind: String, Computed: "lvsd@ and the director's name", PerDirector: true},
	Key{Name: "server", Kind: String, Default: "127.0.0.1:25", PerDirector: true},
	Key{Name: "tls", Kind: String, Default: "opportunistic", PerDirector: true, Choices: []string{"none", "opportunistic", "starttls", "implicit"}},
	Key{Name: "user", Kind: String, Default: "", PerDirector: true},
	Key{Name: "password_file", Kind: String, Default: "", PerDirector: true},
	Key{Name: "kinds", Kind: Strings, Default: []string{"vrrp", "health", "quorum", "guard", "panic", "fallback"}, Choices: EventKinds},
)
