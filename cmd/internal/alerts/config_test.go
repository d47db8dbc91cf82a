package alerts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/config"
	"lvsd/vrrp/conflict"
)

// made are the rules for a configuration, by the alert's name.
func made(t *testing.T, text string, change func(*Options)) map[string][]Rule {
	t.Helper()
	file, err := config.Parse("lvsd.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	o := Default()
	o.Job, o.Config = "pair", c
	if change != nil {
		change(&o)
	}
	groups := Groups(o)
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(YAML(groups)), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
	rules := map[string][]Rule{}
	for _, r := range all(groups) {
		rules[r.Alert] = append(rules[r.Alert], r)
	}
	return rules
}

const small = `
[[director]]
name = "lb1"
address = "10.0.0.12"
[[director]]
name = "lb2"
address = "10.0.0.13"
[[vrrp]]
name = "web"
interface = "eth0"
virtual_router_id = 51
addresses = ["10.0.0.88"]
[[vrrp]]
name = "d.n-s"
interface = "eth0"
virtual_router_id = 52
addresses = ["10.0.0.89"]
[[vrrp]]
name = "quick"
interface = "eth0"
virtual_router_id = 53
advert_interval = "100ms"
addresses = ["10.0.0.90"]
[[virtual_service]]
name = "web"
address = "10.0.0.88:80"
real_servers = [{ address = "10.0.0.9:80" }]
`

// TestNoElectionNoRule: a file without [[vrrp]] has no rules for instances.
func TestNoElectionNoRule(t *testing.T) {
	text := "[[director]]\nname = \"lb1\"\n[[director]]\nname = \"lb2\"\n" + small[strings.Index(small, "[[virtual_service]]"):]
	for name := range made(t, text, nil) {
		if strings.Contains(name, "Election") || strings.Contains(name, "Master") || strings.Contains(name, "Address") || strings.Contains(name, "Handover") {
			t.Errorf("%s", name)
		}
	}
}

// conditional are the alerts of what a configuration may leave out.
var conditional = []string{"LvsdPeerGone", "LvsdClocksDiffer", "LvsdCertificateExpiring", "LvsdSyncNotRunning", "LvsdSyncNotArriving",
	"LvsdNotAnnounced", "LvsdFewAnnounce", "LvsdRouteMissing", "LvsdRoutingDaemonGone", "LvsdRouteRemoved"}

// TestWhatIsNotUsedHasNoRule, and what is used has one, with the job everywhere.
func TestWhatIsNotUsedHasNoRule(t *testing.T) {
	few := made(t, small, nil)
	many := made(t, strings.Replace(small, "10.0.0.9:80\"", "10.0.0.9:80\", check = { type = \"https\", interval = \"400ms\" }", 1)+
		"panic_threshold = 20\n[ipvs.sync]\ninterface = \"eth0\"\nid = 1\n[guard]\nwitnesses = [\"10.0.0.1\"]\n[peers]\nlisten = \":8113\"\nkey_file = \"/etc/lvsd/key\"\n[[announce]]\nname = \"any\"\naddresses = [\"192.0.2.80\"]\nservices = [\"web\"]\n", nil)
	for _, name := range conditional {
		if few[name] != nil || len(many[name]) != 1 {
			t.Errorf("%s: %d rules where nothing needs it, %d where something does", name, len(few[name]), len(many[name]))
		}
	}
	for _, r := range all(Groups(Default())) {
		if many[r.Alert] == nil {
			t.Errorf("%s is not among the rules of a configuration with everything", r.Alert)
		}
	}
	for part, in := range map[string]string{"lvsd_guard_active": "LvsdMassFailure", "lvsd_virtual_service_panic": "LvsdMassFailure", "> 0.1": "LvsdCheckLag", "> 0.025": "LvsdTimerLag"} {
		if !strings.Contains(many[in][0].Expr, part) {
			t.Errorf("%s has no %s: %s", in, part, many[in][0].Expr)
		}
	}
	for _, rules := range many {
		for _, r := range rules {
			for _, at := range metricNames.FindAllStringIndex(r.Expr, -1) {
				if rest := r.Expr[at[1]:]; !strings.HasPrefix(rest, `{job="pair"`) {
					t.Errorf("%s asks for another job, too: %s", r.Alert, r.Expr)
				}
			}
		}
	}
}

// TestElectionsWaitAsLongAsTheyTake: by advert_interval, for each instance by its name.
func TestElectionsWaitAsLongAsTheyTake(t *testing.T) {
	rules := made(t, small, nil)["LvsdNoMaster"]
	if len(rules) != 2 || rules[0].For != "46s" || rules[1].For != "49s" ||
		!strings.Contains(rules[0].Expr, `{job="pair", vrrp="quick", state="master"}`) || !strings.Contains(rules[1].Expr, `vrrp=~"web|d\\.n-s"`) {
		t.Errorf("%+v", rules)
	}
	rules = made(t, small, func(o *Options) { o.Scrape = time.Minute })["LvsdTwoMasters"]
	if rules[0].For != "3m" {
		t.Errorf("waits %s with scrapes once a minute", rules[0].For)
	}
}

// TestWithoutSeriesOfServersTheSumsAlert.
func TestWithoutSeriesOfServersTheSumsAlert(t *testing.T) {
	rules := made(t, "[global]\nper_server_metrics = false\n"+small, nil)
	if r := rules["LvsdRealServerDown"]; len(r) != 1 || !strings.Contains(r[0].Expr, "lvsd_virtual_service_real_servers") {
		t.Errorf("%+v", r)
	}
	for name, rules := range rules {
		for _, r := range rules {
			if strings.Contains(r.Expr, "lvsd_real_server_") || strings.Contains(r.Expr, "lvsd_check_cert") {
				t.Errorf("%s asks for series that are not there: %s", name, r.Expr)
			}
		}
	}
}

// TestAFormerMasterIsNoConflict: the other director reports its address for conflict.Hold.
func TestAFormerMasterIsNoConflict(t *testing.T) {
	for _, scrape := range []time.Duration{time.Second, 5 * time.Second, 15 * time.Second} {
		rules := made(t, small, func(o *Options) { o.Scale, o.Scrape = 0.01, scrape })["LvsdAddressConflict"]
		if len(rules) != 1 {
			t.Fatalf("%d rules", len(rules))
		}
		if waits, err := time.ParseDuration(rules[0].For); err != nil || waits < conflict.Hold+2*scrape {
			t.Errorf("scraped every %v it waits for %s", scrape, rules[0].For)
		}
	}
}

// TestScaleShortensTheWaitingAlone, and never below three scrapes.
func TestScaleShortensTheWaitingAlone(t *testing.T) {
	long := made(t, small, nil)
	short := made(t, small, func(o *Options) { o.Scale, o.Scrape = 0.01, time.Second })
	for name, rules := range long {
		for i, r := range rules {
			s := short[name][i]
			if r.For != "" && name != "LvsdHandoverForgotten" && !slices.Contains([]string{"3s", "4s", "6s", "7s", "8s", "9s", "18s"}, s.For) {
				t.Errorf("%s waits for %s, scaled %s", name, r.For, s.For)
			}
			if !slices.Equal(metricNames.FindAllString(r.Expr, -1), metricNames.FindAllString(s.Expr, -1)) || r.Labels["severity"] != s.Labels["severity"] {
				t.Errorf("%s is another rule when scaled: %s", name, s.Expr)
			}
		}
	}
}

// TestJSONSaysTheSame: JSON is a rule file as well.
func TestJSONSaysTheSame(t *testing.T) {
	text, err := JSON(Groups(Default()))
	if err != nil {
		t.Fatal(err)
	}
	var back File
	if err := json.Unmarshal(text, &back); err != nil || YAML(back.Groups) != YAML(Groups(Default())) {
		t.Errorf("%v", err)
	}
	path := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}

// TestOnlyAJobThatIsNamedIsMissed: no scraped target, and too few, fire in the
// rules of one configuration, which alone can know of them.
func TestOnlyAJobThatIsNamedIsMissed(t *testing.T) {
	file, err := config.Parse("lvsd.toml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	o := Default()
	o.Job, o.Config = "pair", c
	folder := t.TempDir()
	for name, text := range map[string]string{"rules.yml": YAML(Groups(o)), "test.yml": `
rule_files: [ rules.yml ]
evaluation_interval: 30s
tests:
  - name: nothing is scraped
    interval: 15s
    input_series:
      - { series: 'up{job="other", instance="lb1"}', values: '0x60' }
    promql_expr_test:
      - expr: 'max_over_time(ALERTS{alertstate="firing"}[1h])'
        eval_time: 10m
        exp_samples:
          - { labels: '{alertname="LvsdNoDirector", alertstate="firing", severity="page", job="pair"}', value: 1 }
  - name: one of two is scraped
    interval: 15s
    input_series:
      - { series: 'up{job="pair", instance="lb1"}', values: '1x100' }
      - { series: 'lvsd_build_info{job="pair", instance="lb1"}', values: '1x100' }
    promql_expr_test:
      - expr: 'max_over_time(ALERTS{alertstate="firing"}[1h])'
        eval_time: 20m
        exp_samples:
          - { labels: '{alertname="LvsdDirectorUnwatched", alertstate="firing", severity="ticket", job="pair"}', value: 1 }
  - name: both are scraped
    interval: 15s
    input_series:
      - { series: 'up{job="pair", instance="lb1"}', values: '1x100' }
      - { series: 'up{job="pair", instance="lb2"}', values: '1x100' }
    promql_expr_test:
      - expr: 'max_over_time(ALERTS{alertstate="firing"}[1h])'
        eval_time: 20m
        exp_samples: []
`} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, "test", "rules", filepath.Join(folder, "test.yml"))
}
