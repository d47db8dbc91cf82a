package alerts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"lvsd/config"
)

// Severities: what wakes somebody, and what can wait for the morning.
const (
	Page   = "page"
	Ticket = "ticket"
)

// Options are what the rules are made for. Its zero value is not ready: see Default.
type Options struct {
	Job         string         // of the scrape configuration; "": whatever job the metrics have
	Scrape      time.Duration  // how often Prometheus asks
	Drain       time.Duration  // how long a drain, or staying away, may take before it looks forgotten
	Certificate time.Duration  // how long a certificate must still be good
	Runbook     string         // the address of the runbook, without a section
	Scale       float64        // of all waiting that is not Drain or Certificate, to try the rules in seconds
	Config      *config.Config // nil: any
}

// Default is what docs/alerts/lvsd.rules.yml is made with.
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

// Group is rules that are evaluated one after the other.
type Group struct {
	Name  string `json:"name"`
	Rules []Rule `json:"rules"`
}

// Groups makes the rules.
func Groups(o Options) []Group {
	b := &book{Options: o}
	return []Group{
		b.group("lvsd-election", b.election),
		b.group("lvsd-director", b.director),
		b.group("lvsd-service", b.service),
		b.group("lvsd-kernel", b.kernel),
	}
}

// book is the rules while they are written.
type book struct {
	Options
	rules []Rule
}

func (b *book) group(name string, write func()) Group {
	b.rules = nil
	write()
	return Group{Name: name, Rules: b.rules}
}

// add writes a rule. summary is one line that names who and what; description
// says what it means and what to look at first.
func (b *book) add(name, severity string, wait time.Duration, expr, summary, description string) {
	r := Rule{Alert: name, Expr: strings.TrimSpace(expr),
		Labels: map[string]string{"severity": severity},
		Annotations: map[string]string{"summary": summary, "description": description,
			"runbook_url": b.Runbook + "#" + strings.ToLower(name)}}
	if wait > 0 {
		r.For = duration(wait)
	}
	b.rules = append(b.rules, r)
}

// of selects a metric's series, of the job if there is one.
func (b *book) of(metric string, matchers ...string) string {
	if b.Job != "" {
		matchers = append([]string{fmt.Sprintf("job=%q", b.Job)}, matchers...)
	}
	if len(matchers) == 0 {
		return metric
	}
	return metric + "{" + strings.Join(matchers, ", ") + "}"
}

// settled is how long what two directors say together must hold: scrapes are not
// simultaneous, so one of them may be seen a scrape later, and one scrape may be
// lost. more is what the thing itself takes.
func (b *book) settled(more time.Duration) time.Duration { return up(3*b.Scrape + more) }

// waiting is a time that people chose.
func (b *book) waiting(d time.Duration) time.Duration {
	return max(up(time.Duration(float64(d)*b.Scale)), b.settled(0))
}

// window is a time that is looked back: long enough for two samples of a counter
// that is scraped twice in vain.
func (b *book) window(d time.Duration) string {
	return duration(max(up(time.Duration(float64(d)*b.Scale)), up(4*b.Scrape)))
}

// up rounds up to a second.
func up(d time.Duration) time.Duration {
	return time.Duration(math.Ceil(d.Seconds())) * time.Second
}

// duration is written as Prometheus reads it.
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

// File is the rules as lvsd alerts --json prints them.
type File struct {
	Groups []Group `json:"groups"`
}

// JSON is the rules as JSON, which Prometheus reads, too.
func JSON(groups []Group) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(File{groups})
	return b.Bytes(), err
}

// YAML is the rules as a rule file. Strings are those of JSON, which are YAML's
// as well; an expression stands as it is read.
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
	_ = e.Encode(s) // a string can always be written
	return strings.TrimSpace(b.String())
}
