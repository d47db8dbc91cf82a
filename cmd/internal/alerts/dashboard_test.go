package alerts

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// source is how a panel, a query and a variable name their data source.
type source struct{ Type, UID string }

// dashboard is what the test reads of Grafana's JSON.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
			Datasource source
		}
	}
	Annotations struct {
		List []struct {
			Expr       string
			Datasource source
		}
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Datasource               source
		GridPos                  struct{ X, Y, W, H int }
		FieldConfig              struct{ Defaults struct{ Unit string } }
		Targets                  []struct {
			RefID, Expr, LegendFormat string
			Datasource                source
		}
	}
}

// TestDashboard reads docs/dashboard/lvsd.json as Grafana would: panels with different
// titles that do not overlap, one data source that can be chosen, a unit for each; and
// each query is PromQL over metrics that exist.
func TestDashboard(t *testing.T) {
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "../../../docs/dashboard/lvsd.json")), &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 {
		t.Errorf("uid %q, title %q, schemaVersion %d", d.UID, d.Title, d.SchemaVersion)
	}
	want := source{"prometheus", "${datasource}"}
	known := []string{"$__rate_interval", "$__interval"}
	have := existing(t)
	for i, v := range d.Templating.List {
		known = append(known, "$"+v.Name)
		if i == 0 && (v.Name != "datasource" || v.Type != "datasource") || i > 0 && v.Datasource != want {
			t.Errorf("variable %s: %s of %v", v.Name, v.Type, v.Datasource)
		}
		for _, name := range metricNames.FindAllString(fmt.Sprint(v.Query), -1) {
			if !have[name] {
				t.Errorf("variable %s asks for %s, which is not there", v.Name, name)
			}
		}
	}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	queries := 0
	rules := "groups:\n  - name: dashboard\n    rules:\n"
	query := func(where, expr string) {
		queries++
		rules += fmt.Sprintf("      - record: q%d\n        expr: %s\n", queries, quoted(plain(expr)))
		for _, v := range regexp.MustCompile(`\$\w+`).FindAllString(expr, -1) {
			if !strings.Contains(" "+strings.Join(known, " ")+" ", " "+v+" ") {
				t.Errorf("%s: no variable %s", where, v)
			}
		}
		for _, name := range metricNames.FindAllString(expr, -1) {
			if !have[name] {
				t.Errorf("%s asks for %s, which is not there", where, name)
			}
		}
	}
	for _, a := range d.Annotations.List {
		query("annotation", a.Expr)
	}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: the number %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies on %s, or beside the page", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource != want || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: unit %q, data source %v, %d queries", p.ID, p.Title, p.FieldConfig.Defaults.Unit, p.Datasource, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] || q.RefID == "" || q.LegendFormat == "" || q.Datasource != want {
				t.Errorf("%s: query %+v", p.Title, q)
			}
			refs[q.RefID] = true
			query(p.Title, q.Expr)
		}
	}
	path := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(path, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}

// plain replaces Grafana's variables.
func plain(expr string) string {
	return strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m", "$job", "pair", "$service", ".*").Replace(expr)
}

// TestProvisioning: the provisioning file is valid.
func TestProvisioning(t *testing.T) {
	var f struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "../../../docs/dashboard/provisioning.yml")), &f); err != nil {
		t.Fatal(err)
	}
	if f.APIVersion != 1 || len(f.Providers) != 1 || f.Providers[0].Type != "file" || !filepath.IsAbs(f.Providers[0].Options.Path) {
		t.Errorf("%+v", f)
	}
}
