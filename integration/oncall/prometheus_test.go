// The monitoring of a pair in the tests of alerts: Debian's Prometheus and Alertmanager
// on a separate host and LAN, and a webhook that receives the alerts.

package oncall_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// Their addresses. The directors serve metrics on the same LAN, so that a fault of the
// pair's LAN does not affect the monitoring.
const (
	watchNet     = "10.99.0."
	prometheusAt = watchNet + "2:9090"
	managerAt    = watchNet + "2:9093"
	webhookAt    = watchNet + "2:9095"
	watchJob     = "pair"
)

// late are the alerts that the lab itself may cause: a kernel with one processor on a
// busy machine serves its timers late. They may arrive at any time, and are ignored
// except in the test that causes them.
var late = []string{"LvsdTimerLag", "LvsdCheckLag"}

// others is the query for all other alerts that are pending or firing.
const others = `ALERTS{alertname!~"LvsdTimerLag|LvsdCheckLag"}`

// alert is one alert of a request to the webhook.
type alert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Fingerprint string            `json:"fingerprint"`
}

// String returns the name of an alert and its subject, as in fault.want.
func (a alert) String() string {
	words := []string{a.Labels["alertname"]}
	for _, label := range []string{"instance", "vrrp", "service", "real_server", "director", "role"} {
		if v := a.Labels[label]; v != "" {
			words = append(words, v)
		}
	}
	return strings.Join(words, " ")
}

// monitoring is Prometheus, Alertmanager and webhook.
type monitoring struct {
	p    *lvsdtest.Pair
	host *lab.Host

	mu      sync.Mutex
	firing  map[string]alert // by fingerprint
	arrived map[string]alert // since reset, by String
	at      map[string]time.Time
}

// watch plugs the directors into the watchers' LAN. It comes before they start.
func newMonitoring(p *lvsdtest.Pair) *monitoring {
	lan := p.LAN("mgmt", watchNet+"0/24")
	w := &monitoring{p: p, firing: map[string]alert{}, arrived: map[string]alert{}, at: map[string]time.Time{}}
	w.host = p.Host("watch", lan, watchNet+"2/24")
	for i, d := range p.LB {
		d.Plug(lan, fmt.Sprintf("%s%d/24", watchNet, 11+i))
	}
	return w
}

// listenKeys returns the line of [global] for http_listen on the monitoring LAN.
func (w *monitoring) listenKeys() string {
	return fmt.Sprintf("[global]\nhttp_listen = { lb1 = \"%s11:%s\", lb2 = \"%s12:%s\" }\n", watchNet, lvsdtest.HTTPPort, watchNet, lvsdtest.HTTPPort)
}

// start starts all three, with the rules that lvsd prints for the pair's configuration.
func (w *monitoring) start(flags ...string) {
	p := w.p
	p.T.Helper()
	rules, err := p.LB[0].LVSD(append([]string{"alerts", "-c", p.ConfigFile, "--job", watchJob, "--scrape-interval", "2s"}, flags...)...)
	if err != nil {
		p.T.Fatal(err, rules)
	}
	p.WriteFile("rules.yml", rules)
	listener, err := w.host.Listen("tcp", webhookAt)
	if err != nil {
		p.T.Fatal(err)
	}
	hook := &http.Server{Handler: http.HandlerFunc(w.receive), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() { defer close(served); _ = hook.Serve(listener) }()
	p.T.Cleanup(func() { hook.Close(); <-served })

	// group_by: ['...'] sends each alert separately and at once.
	manager := p.WriteFile("alertmanager.yml", fmt.Sprintf(`
route: { receiver: test, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }
receivers:
  - name: test
    webhook_configs: [{ url: 'http://%s/', send_resolved: true }]
`, webhookAt))
	prometheus := p.WriteFile("prometheus.yml", fmt.Sprintf(`
global: { scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s }
rule_files: [ %s ]
alerting: { alertmanagers: [{ static_configs: [{ targets: ['%s'] }] }] }
scrape_configs:
  - job_name: %s
    static_configs:
      - { targets: ['%s11:%s'] }
      - { targets: ['%s12:%s'] }
    relabel_configs:
      - { source_labels: [__address__], regex: '.*1:.*', target_label: instance, replacement: lb1 }
      - { source_labels: [__address__], regex: '.*2:.*', target_label: instance, replacement: lb2 }
`, p.Path("rules.yml"), managerAt, watchJob, watchNet, lvsdtest.HTTPPort, watchNet, lvsdtest.HTTPPort))
	w.host.Start("prometheus-alertmanager", "--config.file", manager, "--storage.path", p.Path("alertmanager"),
		"--web.listen-address", managerAt, "--cluster.listen-address=")
	w.host.Start("prometheus", "--config.file", prometheus, "--storage.tsdb.path", p.Path("prometheus"), "--web.listen-address", prometheusAt)
	for _, at := range []string{managerAt, prometheusAt} {
		p.WaitUntil(4*time.Minute, at+" to be ready", func() bool {
			status, _, err := w.host.Get("http://" + at + "/-/ready")
			return err == nil && status == http.StatusOK
		})
	}
	p.WaitUntil(30*time.Second, "both directors to be scraped", func() bool { return len(w.query("up == 1")) == 2 })
	w.waitResolved()
}

// receive handles a request to the webhook.
func (w *monitoring) receive(_ http.ResponseWriter, r *http.Request) {
	var message struct {
		Alerts []alert `json:"alerts"`
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || json.Unmarshal(text, &message) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range message.Alerts {
		if a.Status != "firing" {
			delete(w.firing, a.Fingerprint)
			continue
		}
		if !slices.Contains(late, a.Labels["alertname"]) {
			w.firing[a.Fingerprint] = a
		}
		if _, before := w.arrived[a.String()]; !before {
			w.arrived[a.String()], w.at[a.String()] = a, time.Now()
		}
	}
}

// reset forgets the alerts that have arrived.
func (w *monitoring) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.arrived)
	clear(w.at)
}

// received returns the alerts that have arrived, sorted.
func (w *monitoring) received() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.arrived))
}

// withoutLate omits the alerts that the lab itself may cause.
func withoutLate(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		alert, _, _ := strings.Cut(name, " ")
		return slices.Contains(late, alert)
	})
}

// pages returns the alerts of severity page.
func (w *monitoring) pages() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, a := range w.arrived {
		if a.Labels["severity"] == "page" {
			all = append(all, name)
		}
	}
	return all
}

// waitAlerts waits until these alerts have arrived.
func (w *monitoring) waitAlerts(limit time.Duration, want ...string) {
	w.p.T.Helper()
	defer func() {
		if w.p.T.Failed() {
			w.p.T.Logf("arrived: %q; Prometheus has %v", w.received(), w.query("ALERTS"))
		}
	}()
	w.p.WaitUntil(limit, fmt.Sprintf("the alerts %q", want), func() bool {
		received := w.received()
		return !slices.ContainsFunc(want, func(name string) bool { return !slices.Contains(received, name) })
	})
}

// waitResolved waits until every alert is resolved and none is pending.
func (w *monitoring) waitResolved() {
	w.p.T.Helper()
	defer func() {
		if w.p.T.Failed() {
			w.p.T.Logf("Prometheus has %v", w.query("ALERTS"))
		}
	}()
	w.p.WaitUntil(90*time.Second, "all alerts to be resolved", func() bool {
		w.mu.Lock()
		n := len(w.firing)
		w.mu.Unlock()
		alerts, err := w.queryAPI(others)
		return n == 0 && err == nil && len(alerts) == 0
	})
}

// query returns the labels of each result of an expression, none if the query fails.
func (w *monitoring) query(expr string) []map[string]string {
	text, err := w.queryAPI(expr)
	if err != nil {
		return nil
	}
	return text
}

func (w *monitoring) queryAPI(expr string) ([]map[string]string, error) {
	status, body, err := w.host.Get("http://" + prometheusAt + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", expr, answer.Error)
	}
	out := []map[string]string{}
	for _, r := range answer.Data.Result {
		out = append(out, r.Metric)
	}
	return out, nil
}

// runbook returns the commands in the runbook's section of an alert, with the names of
// this pair.
func runbook(t *testing.T, alert string) []string {
	t.Helper()
	text := lvsdtest.ReadRepositoryFile(t, "docs/runbook.md")
	_, section, ok := strings.Cut(text, "\n## "+alert+"\n")
	if !ok {
		t.Fatalf("the runbook has no section %s", alert)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	_, section, _ = strings.Cut(section, "**Diagnosis**")
	section, _, _ = strings.Cut(section, "**Mitigation**")
	var lines []string
	for line := range strings.Lines(section) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "lvsd "); ok {
			lines = append(lines, rest)
		}
	}
	return lines
}
