package keepalived

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/converttest"
)

// instanceConf is an instance without a priority, with more lines.
func instanceConf(name string, lines ...string) string {
	return fmt.Sprintf("vrrp_instance %s {\n interface eth%d\n virtual_router_id %d\n virtual_ipaddress {\n 10.0.%d.88\n }\n%s\n}\n",
		name, len(name), len(name), len(name), strings.Join(lines, "\n"))
}

// serviceConf is a service of TCP with a server of weight 2, and more lines.
func serviceConf(lines ...string) string {
	return "virtual_server 10.0.0.88 80 {\n protocol TCP\n real_server 10.0.0.9 80 {\n weight 2\n }\n" + strings.Join(lines, "\n") + "\n}\n"
}

func checkConf(lines ...string) string {
	return "virtual_server 10.0.0.88 80 {\n protocol TCP\n real_server 10.0.0.9 80 {\n" + strings.Join(lines, "\n") + "\n }\n}\n"
}

const (
	strict     = "global_defs {\n vrrp_strict\n}\n"
	someScript = "vrrp_script chk {\n script /bin/chk\n weight -20\n}\n"
)

const password = "authentication {\n auth_type PASS\n auth_pass hush\n}"

// ruleCases has a case for each rule: a configuration that it changes, and what the result
// then has and has not.
var ruleCases = map[string]struct{ conf, has, hasNot string }{
	"strict mode, authentication":                 {strict + instanceConf("A", password), "[[vrrp]]", "authentication ="},
	"version 3, authentication":                   {instanceConf("A", "version 3", password), "[[vrrp]]", "authentication ="},
	"authentication without a password":           {instanceConf("A", "authentication {\n auth_type PASS\n}"), "[[vrrp]]", "authentication ="},
	"unicast_src_ip without peers":                {instanceConf("A", "unicast_src_ip 10.0.0.12"), "[[vrrp]]", "unicast ="},
	"too many addresses for an advert":            {"vrrp_instance A {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n~SEQ(I,1,250) 10.0.0.${I}\n~SEQ(I,1,10) 10.0.1.${I}\n }\n}\n", "excluded_addresses =", ""},
	"no address with version 3 or in strict mode": {instanceConf("A") + "vrrp_instance BB {\n interface eth1\n virtual_router_id 9\n version 3\n}\n", `name = "A"`, `name = "BB"`},
	"strict mode, unicast":                        {strict + instanceConf("A", "unicast_peer {\n 10.0.0.3\n}"), `name = "A"`, ""},
	"strict mode, version 2 of IPv6":              {strict + strings.ReplaceAll(instanceConf("A", "version 2"), "10.0.1.88", "fe80::88"), `"fe80::88"`, "version ="},
	"state MASTER without a priority":             {instanceConf("A", "state MASTER"), "priority = 255", ""},
	"strict mode, state MASTER":                   {strict + instanceConf("A", "state MASTER", "priority 150", "nopreempt"), "preempt = false", ""},
	"nopreempt with priority 255":                 {instanceConf("A", "priority 255", "nopreempt"), "priority = 255", "preempt = false"},
	"nopreempt with state MASTER":                 {instanceConf("A", "state MASTER", "priority 150", "nopreempt"), "priority = 150", "preempt = false"},
	"preempt_delay with state MASTER":             {instanceConf("A", "state MASTER", "priority 150", "preempt_delay 10"), "priority = 150", "preempt_delay ="},
	"strict mode, preempt_delay":                  {strict + instanceConf("A", "preempt_delay 10"), "[[vrrp]]", "preempt_delay ="},
	"preempt_delay with nopreempt":                {instanceConf("A", "nopreempt", "preempt_delay 10"), "preempt = false", "preempt_delay ="},
	"strict mode, down_timer_adverts":             {strict + instanceConf("A", "down_timer_adverts 5"), "[[vrrp]]", ""},
	"an instance that tracks its own interface":   {instanceConf("A", "track_interface {\n eth1\n eth7\n}"), `track_interfaces = ["eth7"]`, ""},
	"weights in a sync group": {someScript + instanceConf("A", "track_script {\n chk\n}") + instanceConf("BB") + "vrrp_sync_group G {\n group {\n A\n BB\n }\n}\n",
		`sync_group = "G"`, "track_scripts ="},

	"no real servers":                    {instanceConf("A") + "virtual_server 10.0.1.88 80 {\n protocol TCP\n}\n", "[[vrrp]]", "[[virtual_service]]"},
	"no protocol":                        {"virtual_server 10.0.0.88 80 {\n real_server 10.0.0.9 80 {\n }\n}\n", `protocol = "udp"`, ""},
	"ops without UDP":                    {serviceConf("ops"), "[[virtual_service]]", "one_packet ="},
	"persistence_granularity alone":      {serviceConf("persistence_granularity 255.255.255.0"), `persistence = "6m"`, ""},
	"all ports without persistence":      {"virtual_server 10.0.0.88 {\n protocol TCP\n real_server 10.0.0.9 {\n }\n}\n", `persistence = "6m"`, ""},
	"a quorum above all weights":         {serviceConf("quorum 9"), "quorum = 2\n", ""},
	"a hysteresis of the quorum or more": {serviceConf("quorum 2", "hysteresis 4"), "hysteresis = 2\n", ""}, // lost below 1, regained at 3
	"a flag of another scheduler":        {serviceConf("lb_algo mh", "sh-port", "mh-port"), `"mh-port"`, `"sh-port"`},
	"nb_get_retry outside of HTTP_GET":   {checkConf("TCP_CHECK {\n nb_get_retry 7\n}"), "fall = 2", "fall = 8"},
	"a url without a path":               {checkConf("HTTP_GET {\n url {\n path /a\n }\n url {\n status_code 200\n }\n}"), `path = "/a"`, `status = "200"`},
	"a check without a url":              {checkConf("TCP_CHECK {\n}", "HTTP_GET {\n}"), `type = "connect"`, `type = "http"`},
}

// TestRules: each rule changes what it describes, and leaves a note.
func TestRules(t *testing.T) {
	for i, r := range slices.Concat(refusals, rules) {
		kind := convert.Adjusted
		if i < len(refusals) {
			kind = convert.ToDo
		}
		t.Run(r.name, func(t *testing.T) {
			c, ok := ruleCases[r.name]
			if !ok || r.source == "" {
				t.Fatal("a rule without a case or a source")
			}
			result, err := Convert([]Source{{"lb1", "f"}}, converttest.File(c.conf))
			if err != nil {
				t.Fatal(err)
			}
			converttest.Passes(t, result)
			_, body, _ := strings.Cut(result.TOML, "\n[[")
			if !strings.Contains("[["+body, c.has) || c.hasNot != "" && strings.Contains("[["+body, c.hasNot) {
				t.Errorf("want %q, and not %q:\n%s", c.has, c.hasNot, result.TOML)
			}
			noted := false
			for _, n := range result.Notes {
				noted = noted || n.Kind == kind && n.Why == r.why
			}
			if !noted {
				t.Errorf("no note says %q: %v", r.why, result.Notes)
			}
		})
	}
	if all := len(refusals) + len(rules); len(ruleCases) != all {
		t.Errorf("%d cases for %d rules", len(ruleCases), all)
	}
}
