package keepalived

import (
	"slices"
	"strings"
	"testing"

	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/converttest"
)

// convertPair converts the texts of two directors, as the files a and b.
func convertPair(t *testing.T, a, b string) convert.Result {
	t.Helper()
	env := converttest.Env()
	env.Read = func(name string) ([]byte, error) { return []byte(map[string]string{"a": a, "b": b}[name]), nil }
	r, err := Convert([]Source{{"lb1", "a"}, {"lb2", "b"}}, env)
	if err != nil {
		t.Fatal(err)
	}
	converttest.Passes(t, r)
	return r
}

// body is the result without its comment.
func body(r convert.Result) string {
	_, text, _ := strings.Cut(r.TOML, "\n[")
	return "[" + text
}

// hasNote reports whether a note of a kind says something.
func hasNote(r convert.Result, kind convert.Kind, why string) bool {
	return slices.ContainsFunc(r.Notes, func(n convert.Note) bool { return n.Kind == kind && strings.Contains(n.Why, why) })
}

// TestAPairWithAGlobalSettingInOneFile: what only one of the files has goes to that director
// alone, or has a note that names the other file, in both orders.
func TestAPairWithAGlobalSettingInOneFile(t *testing.T) {
	for name, c := range map[string]struct{ lines, first, second, why string }{
		"lvs_timeouts":      {"lvs_timeouts tcp 60", `timeout_tcp = { lb1 = "60s", lb2 = "15m" }`, `timeout_tcp = { lb1 = "15m", lb2 = "60s" }`, ""},
		"lvs_flush_on_stop": {"lvs_flush_on_stop", `on_stop = { lb1 = "remove", lb2 = "keep" }`, `on_stop = { lb1 = "keep", lb2 = "remove" }`, ""},
		"script_user":       {"script_user nobody", `notify_user = { lb1 = "nobody", lb2 = "" }`, `notify_user = { lb1 = "", lb2 = "nobody" }`, ""},
		"lvs_sync_daemon":   {"lvs_sync_daemon eth1 A id 7", "[ipvs.sync]", "[ipvs.sync]", "has sync, which cannot differ"},
		"mail":              {"notification_email {\n ops@example.com\n }\n smtp_server 10.0.0.3", "[email]", "[email]", "has [email], which cannot differ"},
	} {
		t.Run(name, func(t *testing.T) {
			without := instanceConf("A", "smtp_alert", `notify_master "/etc/k/n.sh"`)
			with := "global_defs {\n " + c.lines + "\n}\n" + without
			for want, r := range map[string]convert.Result{c.first: convertPair(t, with, without), c.second: convertPair(t, without, with)} {
				if !strings.Contains(body(r), want) {
					t.Errorf("want %s:\n%s", want, r.TOML)
				}
			}
			if c.why == "" {
				return
			}
			if r := convertPair(t, with, without); !hasNote(r, convert.ToDo, "and not lb2 (b)") {
				t.Errorf("%v", r.Notes)
			}
			if r := convertPair(t, without, with); !hasNote(r, convert.ToDo, "and not lb1 (a)") {
				t.Errorf("%v", r.Notes)
			}
		})
	}
}

// TestAThirdPeer: a peer that is none of the directors has a note.
func TestAThirdPeer(t *testing.T) {
	conf := func(own, peers string) string {
		return instanceConf("A", "unicast_src_ip "+own, "unicast_peer {\n "+peers+"\n }")
	}
	if r := convertPair(t, conf("10.0.0.2", "10.0.0.3\n 10.0.0.4"), conf("10.0.0.3", "10.0.0.2")); !hasNote(r, convert.ToDo, "10.0.0.4 is not among the converted directors") {
		t.Errorf("%v", r.Notes)
	}
	if r := convertPair(t, conf("10.0.0.2", "10.0.0.3"), conf("10.0.0.3", "10.0.0.2")); hasNote(r, convert.ToDo, "") {
		t.Errorf("%v", r.Notes)
	}
}

// TestDiffOfAPair shows the lines of both directors where they differ, each address, and the
// line of a route.
func TestDiffOfAPair(t *testing.T) {
	conf := func(priority, more string) string {
		return instanceConf("A", "priority "+priority, more, "virtual_routes {\n 10.2.0.0/16 via 10.0.0.254\n }", "track_interface {\n eth5\n eth6\n }")
	}
	a := strings.Replace(conf("150", "preempt_delay 5"), "10.0.1.88", "10.0.1.88\n 10.0.1.89", 1)
	b := strings.Replace(conf("100", ""), "10.0.1.88", "10.0.1.88\n 10.0.1.89", 1)
	diff := convertPair(t, a+serviceConf("lb_algo rr"), b+serviceConf()).Diff()
	for _, want := range []string{"priority 100 (b:8)", "lb_algo rr", "(default) (b:18)", "preempt_delay 5", "10.0.1.89\n", "10.2.0.0/16 via 10.0.0.254  ", "eth6\n"} {
		if !strings.Contains(diff, want) {
			t.Errorf("no %q:\n%s", want, diff)
		}
	}
	if strings.Contains(diff, "(default)                        routes.") || strings.Count(diff, "10.2.0.0/16 via 10.0.0.254") != 1 {
		t.Errorf("a route:\n%s", diff)
	}
}
