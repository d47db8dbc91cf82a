// Suggestions for misspelt words.

package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Closest returns the word closest to w, or "" when none is close: at most a third of
// its letters, or one, may be inserted, deleted, replaced or swapped with the next.
func Closest(w string, words []string) string {
	best, least := "", max(1, len(w)/3)+1
	for _, candidate := range words {
		if strings.EqualFold(candidate, w) {
			return candidate
		}
		if abs(len(candidate)-len(w)) >= least {
			continue
		}
		if d := editDistance(w, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// editDistance is the edit distance with swaps of neighbours (optimal string
// alignment), by bytes.
func editDistance(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}

func abs(n int) int { return max(n, -n) }

// Suggest returns the end of a message about an unknown word: the closest word, or
// else all choices.
func Suggest(w string, words []string) string {
	if near := Closest(w, words); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return "; known here: " + strings.Join(slices.Sorted(slices.Values(words)), ", ")
}

// otherWords are the words of keepalived, ldirectord and HAProxy for what has another
// name here, by the table where they are expected.
var otherWords = map[string]map[string]string{
	"check": {
		"url": "path, and host", "uri": "path", "request": "path or send", "receive": "expect", "virtualhost": "host", "digest_md5": "digest",
		"status_code": "status", "name": "label", "port": `address, such as ":8080"`, "connect_port": `address, such as ":8080"`, "checkport": `address, such as ":8080"`,
		"connect_ip": "address", "bindto": "from", "source": "from", "fwmark": "mark", "delay_loop": "interval", "inter": "interval",
		"checkinterval": "interval", "delay_before_retry": "fast_interval", "fastinter": "fast_interval", "connect_timeout": "timeout",
		"checktimeout": "timeout", "negotiatetimeout": "timeout", "misc_timeout": "timeout", "retry": "fall, which counts the first failure too",
		"retries": "fall, which counts the first failure too", "nb_get_retry": "fall, which counts the first failure too", "failurecount": "fall",
		"misc_path": "command", "script": "command", "checktype": "type", "regex": "expect", "regex_no_match": "expect_not", "helo_name": "helo",
		"ssl": `type = "https", or tls`, "sni": "server_name",
	},
	"virtual_service": {
		"lb_algo": "scheduler", "lvs_sched": "scheduler", "algo": "scheduler", "balance": "scheduler", "lb_kind": "forward", "lvs_method": "forward", "method": "forward",
		"persistence_timeout": "persistence", "persistent": "persistence", "persistence_granularity": "persistence_netmask", "netmask": "persistence_netmask",
		"sorry_server": "fallback", "real_server": "real_servers", "real": "real_servers", "servers": "real_servers", "ops": "one_packet",
		"port": `address, such as "10.0.0.88:80"`, "ip": "address", "vip": "address", "virtual": "address", "inhibit_on_failure": `on_failure = "quiesce"`,
		"quiescent": `on_failure = "quiesce"`, "delay_loop": "interval in check", "checktype": "type in check", "checks": "check", "sh-fallback": "scheduler_flags",
		"mh-fallback": "scheduler_flags", "sh-port": "scheduler_flags", "mh-port": "scheduler_flags", "schedflags": "scheduler_flags",
	},
	"real_servers": {
		"port": `address, such as "10.0.0.9:80"`, "ip": "address", "lvs_method": "forward", "uthreshold": "upper_threshold", "lthreshold": "lower_threshold",
		"inhibit_on_failure": "on_failure in the [[virtual_service]]", "checks": "check",
	},
	"vrrp": {
		"state": "priority: the highest becomes master", "virtual_ipaddress": "addresses", "vip": "addresses", "vips": "addresses",
		"virtual_ipaddress_excluded": "excluded_addresses", "virtual_routes": "routes", "virtual_rules": "rules", "vrid": "virtual_router_id",
		"advert_int": "advert_interval", "nopreempt": "preempt = false", "use_vmac": "virtual_mac", "unicast_peer": "unicast", "unicast_src_ip": "unicast",
		"auth_type": "authentication", "auth_pass": "authentication", "track_script": "track_scripts", "track_interface": "track_interfaces",
		"track_file": "track_files", "group": "sync_group", "dev": "interface",
	},
	"ipvs": {"lvs_sync_daemon": "[ipvs.sync]", "lvs_timeouts": "timeout_tcp, timeout_tcp_fin and timeout_udp"},
}

// Here returns the end of a message about a word of another program: what it is here; ""
// for any other word.
func (t *Table) Here(name string) string {
	if here := otherWords[t.Name][name]; here != "" {
		return "; here it is " + here
	}
	return ""
}

// around are the tables that another one stands in.
func (t *Table) around() []*Table {
	switch t {
	case CheckTable:
		return []*Table{ServiceTable, RealServerTable}
	case RealServerTable:
		return []*Table{ServiceTable}
	case TLSTable, StepTable:
		return []*Table{CheckTable}
	case TrackInterfaceTable, TrackScriptTable, TrackServiceTable, TrackFileTable, AuthenticationTable, RouteTable, RuleTable:
		return []*Table{VRRPTable}
	case SyncTable:
		return []*Table{IPVSTable}
	}
	return nil
}

// Suggest returns the end of a message about an unknown key: what another program's word
// is here, the table around this one that has the key, the closest key, another table that
// has it, or else all keys of this table.
func (t *Table) Suggest(name string) string {
	if here := t.Here(name); here != "" {
		return here
	}
	for _, other := range t.around() {
		if _, known := other.Index[name]; known {
			return "; it is a key of " + other.Name + ": move it out of this table, which reaches to the next header or to its closing brace"
		}
	}
	if name == "include" {
		return "; it stands alone: move it above the first header, to the top of the file"
	}
	all := t.KeyNames()
	if Closest(name, all) != "" {
		return Suggest(name, all)
	}
	for _, other := range []*Table{GlobalTable, IPVSTable, SyncTable, VRRPTable, AddressTable, TrackInterfaceTable, TrackScriptTable, AuthenticationTable, ServiceTable, RealServerTable, TunnelTable, CheckTable, TLSTable, StepTable, GuardTable, PeersTable} {
		if _, known := other.Index[name]; known {
			return "; it is a key of " + other.Name + ": move it there"
		}
	}
	return Suggest(name, all)
}
