package oncall_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// dashboard runs every query of the dashboard in Prometheus, for the time of the test: each
// must have data.
func (w *monitoredPair) dashboard(t *testing.T, begun time.Time) {
	t.Helper()
	var d struct {
		Templating struct {
			List []struct{ Type, Definition string }
		}
		Annotations struct{ List []struct{ Expr string } }
		Panels      []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(lvsdtest.ReadRepositoryFile(t, "docs/dashboard/lvsd.json")), &d); err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer("$__rate_interval", "10s", "$__interval", "10s", "$job", watchJob, "$service", ".*")
	queries := 0
	see := func(title, expr string) {
		queries++
		n, err := w.points(plain.Replace(expr), begun)
		if err != nil || n == 0 {
			t.Errorf("%s: %s has %d points, %v", title, expr, n, err)
		}
	}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			see(p.Title, q.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		see("annotation", a.Expr)
	}
	// label_values(METRIC, LABEL): the values of a variable.
	for _, v := range d.Templating.List {
		if inner, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			at := strings.LastIndex(inner, ", ")
			see("variable", "count by ("+strings.TrimSuffix(inner[at+2:], ")")+") ("+inner[:at]+")")
		}
	}
	if queries < 40 {
		t.Errorf("the dashboard has %d queries only", queries)
	}
	t.Logf("%d queries of the dashboard have data", queries)
}

// points returns the number of data points of an expression since then.
func (w *monitoring) points(expr string, since time.Time) (int, error) {
	ask := url.Values{"query": {expr}, "step": {"5"}}
	for name, at := range map[string]time.Time{"start": since, "end": time.Now()} {
		ask.Set(name, strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64))
	}
	status, body, err := w.host.Get("http://" + prometheusAt + "/api/v1/query_range?" + ask.Encode())
	if err != nil {
		return 0, err
	}
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Values []any `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, errors.New(answer.Error)
	}
	n := 0
	for _, r := range answer.Data.Result {
		n += len(r.Values)
	}
	return n, nil
}
