package cli

import (
	"encoding"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/alerts"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/charts"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/operate"
	"lvsd/cmd/internal/cli/setup"
	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/daemon"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/preview"
	"lvsd/cmd/internal/realserver"
)

// promised are the answers whose form docs/json.md promises, by its headings.
var promised = map[string]any{
	"lvsd status --json":               api.Status{},
	"lvsd why --json":                  api.Why{},
	"lvsd events --json":               event.Event{},
	"lvsd reload --json":               api.ReloadResult{},
	"lvsd drain --json":                operate.Edited{},
	"lvsd status --connections --json": api.Connections{},
	"lvsd handover --json":             api.Handover{},
	"lvsd drained --json":              api.Drained{},
	"lvsd probe --json":                api.ProbeReport{},
	"lvsd plan --json":                 preview.Preview{},
	"lvsd check --json":                setup.Checked{},
	"lvsd host check --json":           setup.HostChecked{},
	"lvsd realserver status --json":    realserver.State{},
	"lvsd convert --json":              convert.Result{},
	"lvsd alerts --json":               alerts.File{},
	"lvsd cleanup --json":              daemon.Cleanup{},
	"lvsd zero --json":                 api.Zeroed{},
	"lvsd version --json":              versions{},
	"a change":                         preview.Change{},
	"connections touched":              preview.Connections{},
	// What several of them have.
	"a real server":      api.RealServerStatus{},
	"a probe":            api.Probe{},
	"counters":           api.Counters{},
	"rates":              api.Rates{},
	"another director":   api.PeerStatus{},
	"a virtual service":  api.ServiceStatus{},
	"an instance":        api.InstanceStatus{},
	"an announcement":    api.AnnounceStatus{},
	"the kernel's table": api.IPVSStatus{},
	"the last minutes":   charts.Charts{},
}

// formOf is the heading that describes a type, "" for what is described where it
// stands.
func formOf(t reflect.Type) string {
	for name, v := range promised {
		if reflect.TypeOf(v) == t && !strings.HasPrefix(name, "lvsd ") {
			return name
		}
	}
	return ""
}

// fields lists what a type has in JSON: each path with its kind.
func fields(t reflect.Type, at string, all map[string]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if f.Anonymous && tag == "" {
			if formOf(f.Type) == "" {
				fields(f.Type, at, all)
			}
			continue
		}
		if !f.IsExported() || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" {
			name = f.Name
		}
		path := at + name
		inner, suffix := f.Type, ""
		kind := kindOf(f.Type)
		for {
			switch {
			case inner.Kind() == reflect.Pointer:
				inner = inner.Elem()
				continue
			case (inner.Kind() == reflect.Slice || inner.Kind() == reflect.Array) && !isText(inner):
				inner, suffix = inner.Elem(), suffix+"[]"
				continue
			}
			break
		}
		if strings.Contains(options, "omit") {
			kind += ", may be absent"
		}
		if !strings.Contains(kind, "object") || strings.Contains(kind, "object of") {
			all[path+suffix] = kind // of an object what is in it says enough
		}
		if inner.Kind() == reflect.Struct && !isText(inner) && formOf(inner) == "" {
			fields(inner, path+suffix+".", all)
		}
	}
}

var text = reflect.TypeFor[encoding.TextMarshaler]()

func isText(t reflect.Type) bool { return t.Implements(text) }

func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case isText(t):
		return "string"
	}
	if form := formOf(t); form != "" {
		return form
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem()) + " or null"
	case reflect.Slice:
		return "list of " + kindOf(t.Elem())
	case reflect.Struct:
		return "object"
	case reflect.Map:
		return "object of " + kindOf(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	}
	return "number"
}

// TestJSONIsDocumented compares docs/json.md with the code in both directions: the name
// and type of each field.
func TestJSONIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]map[string]string{}
	section := ""
	for line := range strings.Lines(string(doc)) {
		if m := regexp.MustCompile("^## `([^`]+)`").FindStringSubmatch(line); m != nil {
			section, said[m[1]] = m[1], map[string]string{}
		}
		if m := regexp.MustCompile("^\\| `([^`]+)` \\| ([^|]+?) \\| [^|]").FindStringSubmatch(line); m != nil && section != "" {
			said[section][m[1]] = m[2]
		}
	}
	for name, v := range promised {
		code := map[string]string{}
		fields(reflect.TypeOf(v), "", code)
		for path, kind := range code {
			if got := said[name][path]; got != kind {
				t.Errorf("docs/json.md, %s: %s is %q, want: | `%s` | %s | … |", name, path, got, path, kind)
			}
		}
		for path := range said[name] {
			if _, there := code[path]; !there {
				t.Errorf("docs/json.md, %s: there is no %s", name, path)
			}
		}
	}
	if len(said) != len(promised) {
		t.Errorf("docs/json.md promises %d answers, the code %d", len(said), len(promised))
	}
}

// TestEveryJSONHasItsPlace: no command prints a JSON that is promised nowhere.
func TestEveryJSONHasItsPlace(t *testing.T) {
	var look func(*cobra.Command)
	look = func(c *cobra.Command) {
		if c.Flags().Lookup("json") != nil {
			path := c.CommandPath()
			if c.Parent().Name() == "convert" {
				path = "lvsd convert" // one form for all
			}
			if path == "lvsd undrain" || path == "lvsd weight" {
				path = "lvsd drain" // one form for the edits
			}
			if promised[path+" --json"] == nil && path != "lvsd watch" {
				t.Errorf("%s --json is not in docs/json.md", path)
			}
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(rootCommand(&command.Options{}))
}
