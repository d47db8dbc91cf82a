package configfile

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lvsd/config/edit"
)

const service = "[[virtual_service]]\nname = \"NAME\"\naddress = \"10.0.0.88:PORT\"\nreal_servers = [\n  { address = \"10.0.0.9:PORT\" },\n]"

// folderOf writes files into a folder, and returns the source of lvsd.toml in it.
func folderOf(t *testing.T, files map[string]string) *Source {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return &Source{Path: filepath.Join(folder, "lvsd.toml"), Director: "lb1"}
}

func serviceAt(name, port string) string {
	return strings.NewReplacer("NAME", name, "PORT", port).Replace(service)
}

func TestInclude(t *testing.T) {
	s := folderOf(t, map[string]string{
		"lvsd.toml": "include = [\"conf.d/*.toml\", \"more.toml\", \"conf.d/b.toml\", \"none/*.toml\"]", "conf.d/b.toml": serviceAt("b", "81"), "conf.d/a.toml": serviceAt("a", "80"),
		"conf.d/c.toml.old": "not read", "more.toml": serviceAt("d", "82"),
	})
	c, _, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, svc := range c.Services {
		names = append(names, svc.Name)
	}
	if got := strings.Join(names, " "); got != "a b d" || c.Services[2].File != filepath.Join(filepath.Dir(s.Path), "more.toml") {
		t.Errorf("%s in %s", got, c.Services[2].File)
	}
	if got := s.Watched(); len(got) != 9 || got[0] != s.Path {
		t.Errorf("watched: %q", got)
	}
}

// TestIncludeRefuses: a name that is not there, and a file with what it must not have.
func TestIncludeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"include = [\"conf.d/x.toml\"]":   "lvsd.toml:1:12: include[0]: there is no file \"conf.d/x.toml\"",
		"include = [\"a/*\", \"[\"]":      "lvsd.toml:1:19: include[1]: \"[\" is not a pattern",
		"include = [\"conf.d/bad.toml\"]": "conf.d/bad.toml:1:2: global: must be in the first file",
	} {
		s := folderOf(t, map[string]string{"lvsd.toml": text, "conf.d/bad.toml": "[global]\n"})
		if _, err := s.Parse(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestEditsReachTheIncludedFile: that file alone is written.
func TestEditsReachTheIncludedFile(t *testing.T) {
	s := folderOf(t, map[string]string{"lvsd.toml": "include = [\"conf.d/*.toml\"]", "conf.d/a.toml": serviceAt("a", "80"), "conf.d/b.toml": serviceAt("b", "81")})
	text, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	after, err := edit.Weight(s.Path, string(text), edit.Server{Service: "a", Address: "10.0.0.9:80"}, 3)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := s.Changes(string(text), after)
	a := filepath.Join(filepath.Dir(s.Path), "conf.d/a.toml")
	want := []Change{{a, serviceAt("a", "80"), strings.Replace(serviceAt("a", "80"), "9:80\" }", "9:80\", weight = 3 }", 1) + "\n"}}
	if err != nil || !reflect.DeepEqual(changes, want) {
		t.Errorf("%v, %q\nwant %q", err, changes, want)
	}
	if err := changes[0].Write(); err != nil {
		t.Error(err)
	}
	if got, err := s.Text(); err != nil || string(got) != after {
		t.Errorf("%v: %s\nwant\n%s", err, got, after)
	}
}
