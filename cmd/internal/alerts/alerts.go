package alerts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"lvsd/config"
)

// Severities: what needs attention at once, and what can wait for working hours.
const (
	Page   = "page"
	Ticket = "ticket"
)

// Options are what the rules are made for. The zero value is not usable: see Default.
type Options struct {
	Job         string         // of the scrape configuration; empty: any job
	Scrape      time.Duration  // the scrape interval
	Drain       time.Duration  // how long a drain or a standby may last before it is reported
	Certificate time.Duration  // how long a certificate must remain valid
	Runbook     string         // URL of the runbook, without a fragment
	Scale       float64        // factor for all durations except Drain and Certificate, to test the rules in seconds
	Config      *config.Config // nil: any
}

// Default returns the options of docs/alerts/lvsd.rules.yml.
func Default() Options {
	return Options{Scrape: 15 * time.Second, Drain: 24 * time.Hour, Certificate: 14 * 24 * time.Hour,
		Runbook: "file:///usr/share/doc/lvsd/runbook.md", Scale: 1}
}

// Rule is one alert.
type Rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Group is rules that are evaluated in sequence.
type Group struct {
	Name  string `json:"name"`
	Rules []Rule `json:"rules"`
}

// Groups makes the rules.
func Groups(o Options) []Group {
	b := &ruleBuilder{Options: o}
	all := []Group{
		b.group("lvsd-vrrp", b.vrrp),
		b.group("lvsd-announce", b.announcements),
		b.group("lvsd-director", b.director),
		b.group("lvsd-service", b.service),
		b.group("lvsd-kernel", b.kernel),
	}
	return slices.DeleteFunc(all, func(g Group) bool { return len(g.Rules) == 0 })
}

// ruleBuilder collects the rules.
type ruleBuilder struct {
	Options
	rules []Rule
}

func (b *ruleBuilder) group(name string, write func()) Group {
	b.rules = nil
	write()
	return Group{Name: name, Rules: b.rules}
}

// add adds a rule. summary is one line that names the objects; description explains
// the meaning and the first thing to check.
func (b *ruleBuilder) add(name, severity string, wait time.Duration, expr, summary, description string) {
	r := Rule{Alert: name, Expr: strings.TrimSpace(expr),
		Labels: map[string]string{"severity": severity},
		Annotations: map[string]string{"summary": summary, "description": description,
			"runbook_url": b.Runbook + "#" + strings.ToLower(name)}}
	if wait > 0 {
		r.For = duration(wait)
	}
	b.rules = append(b.rules, r)
}

// of selects the series of a metric, of the job if there is one.
func (b *ruleBuilder) of(metric string, matchers ...string) string {
	if b.Job != "" {
		matchers = append([]string{fmt.Sprintf("job=%q", b.Job)}, matchers...)
	}
	if len(matchers) == 0 {
		return metric
	}
	return metric + "{" + strings.Join(matchers, ", ") + "}"
}

// minFor is how long an expression over two directors must hold: scrapes are not
// simultaneous, so that one may be a scrape older, and one scrape may be lost. more
// is the duration of the fault itself.
func (b *ruleBuilder) minFor(more time.Duration) time.Duration { return up(3*b.Scrape + more) }

// waiting is a chosen duration, scaled.
func (b *ruleBuilder) waiting(d time.Duration) time.Duration {
	return max(up(time.Duration(float64(d)*b.Scale)), b.minFor(0))
}

// window is a range that has two samples of a counter even if one scrape is lost.
func (b *ruleBuilder) window(d time.Duration) string {
	return duration(max(up(time.Duration(float64(d)*b.Scale)), up(4*b.Scrape)))
}

// up rounds up to a second.
func up(d time.Duration) time.Duration {
	return time.Duration(math.Ceil(d.Seconds())) * time.Second
}

// duration returns d in Prometheus's syntax.
func duration(d time.Duration) string {
	var b strings.Builder
	for _, u := range []struct {
		name string
		is   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if n := d / u.is; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.is
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// File is the output of lvsd alerts --json.
type File struct {
	Groups []Group `json:"groups"`
}

// JSON returns the rules as JSON, which Prometheus reads too.
func JSON(groups []Group) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(File{groups})
	return b.Bytes(), err
}

// YAML returns the rules as a rule file. Strings are written as JSON strings, which
// are valid YAML; expressions are block scalars.
func YAML(groups []Group) string {
	var b strings.Builder
	b.WriteString("groups:\n")
	for _, g := range groups {
		fmt.Fprintf(&b, "  - name: %s\n    rules:\n", g.Name)
		for _, r := range g.Rules {
			fmt.Fprintf(&b, "      - alert: %s\n        expr: |-\n", r.Alert)
			for line := range strings.SplitSeq(r.Expr, "\n") {
				fmt.Fprintf(&b, "          %s\n", line)
			}
			if r.For != "" {
				fmt.Fprintf(&b, "        for: %s\n", r.For)
			}
			fmt.Fprintf(&b, "        labels:\n          severity: %s\n        annotations:\n", r.Labels["severity"])
			for _, key := range []string{"summary", "description", "runbook_url"} {
				fmt.Fprintf(&b, "          %s: %s\n", key, quoted(r.Annotations[key]))
			}
		}
	}
	return b.String()
}

func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	return strings.TrimSpace(b.String())
}
