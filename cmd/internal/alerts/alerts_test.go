package alerts

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"lvsd/cmd/internal/metrics"
	"lvsd/integration/lab"
)

var update = flag.Bool("update", false, "write docs/alerts/lvsd.rules.yml")

const (
	folder  = "../../../docs/alerts/"
	shipped = folder + "lvsd.rules.yml"
	head    = `# Alert rules for a pair of lvsd, for Prometheus's rule_files. They are tested by
# lvsd.rules.test.yml, and against a real pair; docs/runbook.md has a section for each.
#
# Each pair needs a job of its own in the scrape configuration, with both directors
# in it: the rules join what the two say by (job, vrrp), and wait for three scrapes of
# 15 s, because scrapes are not simultaneous. "lvsd alerts" prints rules with one
# configuration's names, times and thresholds, for another scrape interval, too.
#
# Written by: go test ./cmd/internal/alerts -run TestTheShippedFile -update
`
)

// tests are those of promtool.
var tests = []string{folder + "lvsd.rules.test.yml", folder + "lvsd.rules.day.test.yml"}

// promtool runs Debian's promtool, which the prometheus package brings.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	lab.Require(t, err) // make deps installs it
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// all are the rules of every group.
func all(groups []Group) []Rule {
	var rules []Rule
	for _, g := range groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheShippedFile compares docs/alerts/lvsd.rules.yml with the rules.
func TestTheShippedFile(t *testing.T) {
	text := head + YAML(Groups(Default()))
	if *update {
		if err := os.WriteFile(shipped, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, shipped) != text {
		t.Errorf("%s is not what the rules are: go test ./cmd/internal/alerts -run TestTheShippedFile -update", shipped)
	}
	promtool(t, "check", "rules", shipped)
}

// TestRulesInPromtool: each rule fires where it should, and does not fire elsewhere.
func TestRulesInPromtool(t *testing.T) { promtool(t, append([]string{"test", "rules"}, tests...)...) }

// TestEveryAlertIsTested: each has a group of its name in which it fires on a pair
// called bad, and a pair called good with the same series in which it does not. Every
// group queries all alerts, so that none fires where another should.
func TestEveryAlertIsTested(t *testing.T) {
	type group struct {
		Name  string
		Input []struct{ Series string } `yaml:"input_series"`
		Exprs []struct {
			Expr string
			Want []struct{ Labels string } `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	}
	var groups []group
	for _, name := range tests {
		var file struct{ Tests []group }
		if err := yaml.Unmarshal([]byte(read(t, name)), &file); err != nil {
			t.Fatal(err)
		}
		groups = append(groups, file.Tests...)
	}
	rules := map[string]Rule{}
	for _, r := range all(Groups(Default())) {
		rules[r.Alert] = r
	}
	for _, g := range groups {
		r, ok := rules[g.Name]
		if !ok {
			continue // of more than one alert
		}
		delete(rules, g.Name)
		looksAt := metricNames.FindAllString(r.Expr, -1)
		near := slices.ContainsFunc(g.Input, func(s struct{ Series string }) bool {
			return strings.Contains(s.Series, `job="good"`) && slices.Contains(looksAt, metricNames.FindString(s.Series))
		})
		if !near {
			t.Errorf("%s: the good pair has nothing that it looks at", g.Name)
		}
		fires := false
		for _, e := range g.Exprs {
			if e.Expr != `max_over_time(ALERTS{alertstate="firing"}[30h])` {
				t.Errorf("%s asks for %s", g.Name, e.Expr)
			}
			for _, w := range e.Want {
				if strings.Contains(w.Labels, `alertname="`+g.Name+`"`) {
					fires = fires || strings.Contains(w.Labels, `job="bad"`)
					if strings.Contains(w.Labels, `job="good"`) {
						t.Errorf("%s fires on the good pair", g.Name)
					}
				}
			}
		}
		if !fires {
			t.Errorf("%s does not fire on the bad pair", g.Name)
		}
	}
	for name := range rules {
		t.Errorf("no test has the name %s", name)
	}
}

// TestEveryAlertHasItsSection: the runbook says what each means, how to confirm it by
// lvsd's own commands, and what to do, and mentions no other.
func TestEveryAlertHasItsSection(t *testing.T) {
	sections := map[string]string{}
	for _, s := range strings.Split("\n"+read(t, "../../../docs/runbook.md"), "\n## ")[1:] {
		name, text, _ := strings.Cut(s, "\n")
		if strings.HasPrefix(name, "Lvsd") {
			sections[name] = text
		}
	}
	names := []string{"LvsdDirectorUnwatched"}
	for _, r := range all(Groups(Default())) {
		names = append(names, r.Alert)
		if want := Default().Runbook + "#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s leads to %s", r.Alert, r.Annotations["runbook_url"])
		}
	}
	for _, name := range names {
		text, ok := sections[name]
		if !ok {
			t.Errorf("the runbook has no section %s", name)
			continue
		}
		delete(sections, name)
		for _, part := range []string{"**Meaning**", "**Diagnosis**", "**Mitigation**", "\nlvsd "} {
			if !strings.Contains(text, part) {
				t.Errorf("the section %s has no %q", name, part)
			}
		}
	}
	for name := range sections {
		t.Errorf("the runbook speaks of %s, which is no alert", name)
	}
}

// metricNames finds the metrics in an expression.
var metricNames = regexp.MustCompile(`\b(lvsd_[a-z_]+|process_[a-z_]+|go_[a-z_]+)\b`)

// existing are the metrics that exist, the runtime's and the process's own too.
func existing(t *testing.T) map[string]bool {
	families, err := metrics.New("", "").Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range families {
		have[f.GetName()] = true
	}
	for _, d := range metrics.Descriptions() {
		have[d.Name] = true
		if d.Type == "histogram" {
			have[d.Name+"_bucket"], have[d.Name+"_sum"], have[d.Name+"_count"] = true, true, true
		}
	}
	return have
}

// TestRulesAskForMetricsThatExist, in expressions and in texts; and each has a label of
// its subject, and one of two severities.
func TestRulesAskForMetricsThatExist(t *testing.T) {
	have := existing(t)
	for _, r := range all(Groups(Default())) {
		names := metricNames.FindAllString(r.Expr+r.Annotations["description"], -1)
		if len(names) == 0 {
			t.Errorf("%s asks for nothing of lvsd's", r.Alert)
		}
		for _, name := range names {
			if !have[name] {
				t.Errorf("%s asks for %s, which is not there", r.Alert, name)
			}
		}
		if s := r.Labels["severity"]; s != Page && s != Ticket {
			t.Errorf("%s has the severity %q", r.Alert, s)
		}
		if !regexp.MustCompile(`\$labels\.(instance|vrrp|service|job|real_server)`).MatchString(r.Annotations["summary"]) {
			t.Errorf("%s does not say where: %s", r.Alert, r.Annotations["summary"])
		}
	}
}

// TestPagesAreFew: a page must need action at once.
func TestPagesAreFew(t *testing.T) {
	var pages []string
	for _, r := range all(Groups(Default())) {
		if r.Labels["severity"] == Page {
			pages = append(pages, r.Alert)
		}
	}
	want := []string{"LvsdNoMaster", "LvsdTwoMasters", "LvsdElectionContested", "LvsdElectionFlapping", "LvsdAddressMissing",
		"LvsdAddressConflict", "LvsdNotAnnounced", "LvsdRouteMissing", "LvsdNoDirector", "LvsdServiceBelowQuorum", "LvsdMassFailure", "LvsdIPVSAway"}
	if !slices.Equal(pages, want) {
		t.Errorf("pages: %q", pages)
	}
}
