package configfile

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lvsd/config"
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

// TestIncludeSkips: a wildcard matches no hidden file, such as those that editors and Ansible
// have while they write, and a file is read once, whatever its patterns are.
func TestIncludeSkips(t *testing.T) {
	s := folderOf(t, map[string]string{"conf.d/a.toml": serviceAt("a", "80"), "conf.d/.ansible_tmp1a.toml": serviceAt("a", "80"), ".git/a.toml": "", ".own/b.toml": serviceAt("b", "81")})
	folder := filepath.Dir(s.Path)
	if err := os.Symlink("user@host.123:1", filepath.Join(folder, "conf.d/.#a.toml")); err != nil { // Emacs's lock
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Path, []byte("include = [\"*/*.toml\", \""+folder+"/conf.d/a.toml\", \"./conf.d/../lvsd.toml\", \".own/*.toml\"]\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	c, _, err := s.Load()
	if err != nil || len(c.Services) != 2 || c.Services[0].Name != "a" || c.Services[1].Name != "b" {
		t.Errorf("%v, %+v", err, c)
	}
}

// TestIncludeRefuses: a name that is not there, and a file with what it must not have.
func TestIncludeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"include = [\"conf.d/x.toml\"]":                   "lvsd.toml:1:12: include[0]: file \"conf.d/x.toml\" does not exist",
		"include = [\"a/*\", \"[\"]":                      "lvsd.toml:1:19: include[1]: \"[\" is not a pattern",
		"include = [\"conf.d/bad.toml\"]":                 "conf.d/bad.toml:1:2: global: must be in the first file",
		"include = [\"conf.d/loop*\"]":                    "conf.d/loop.toml:1:1: include: must be in the first file",
		"include = [\"*/link.toml\"]":                     "lvsd.toml:1:12: include[0]: open ",
		"include = [\"*/folder.toml\"]":                   "folder.toml is not a regular file",
		"include = [\"a.toml\", \"b.toml\"]":              "b.toml:2:8: virtual_service[1].name: \"a\" is the name of the service at line 2 of ",
		"include = [\"a.toml\"]\n" + serviceAt("a", "81"): "a.toml:2:8: virtual_service[1].name: \"a\" is the name of the service at line 3 of ",
	} {
		s := folderOf(t, map[string]string{"lvsd.toml": text, "conf.d/bad.toml": "[global]\n", "conf.d/loop.toml": "include = [\"../lvsd.toml\"]", "conf.d/folder.toml/x": "",
			"a.toml": serviceAt("a", "80"), "b.toml": serviceAt("a", "81")})
		if err := os.Symlink("nowhere", filepath.Join(filepath.Dir(s.Path), "conf.d/link.toml")); err != nil {
			t.Fatal(err)
		}
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
	want := []Change{{a, serviceAt("a", "80"), strings.Replace(serviceAt("a", "80"), "9:80\" }", "9:80\", weight = 3 }", 1)}}
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

// TestEditsLeaveTheRest: the included file keeps its byte order mark, its line endings and
// its last line, with or without an end.
func TestEditsLeaveTheRest(t *testing.T) {
	for name, text := range map[string]string{
		"a mark":   "\ufeff" + serviceAt("a", "80") + "\n",
		"CRLF":     strings.ReplaceAll(serviceAt("a", "80"), "\n", "\r\n") + "\r\n",
		"no end":   serviceAt("a", "80"),
		"all":      "\ufeff" + strings.ReplaceAll(serviceAt("a", "80"), "\n", "\r\n"),
		"headers":  "[[virtual_service]]\r\nname = \"a\"\r\naddress = \"10.0.0.88:80\"\r\n[[virtual_service.real_servers]]\r\naddress = \"10.0.0.9:80\"",
		"two ends": serviceAt("a", "80") + "\n\n",
	} {
		for _, files := range []map[string]string{
			{"lvsd.toml": "include = [\"*.d/*.toml\"]", "a.d/a.toml": text, "a.d/b.toml": serviceAt("b", "81")},
			{"lvsd.toml": "include = [\"*.d/*.toml\"]", "a.d/a.toml": serviceAt("b", "81"), "a.d/b.toml": text},
			{"lvsd.toml": text},
		} {
			s := folderOf(t, files)
			apply := func(change edit.Change) {
				t.Helper()
				before, err := s.Text()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				after, err := change.Apply(s.Path, string(before), edit.Server{Service: "a", Address: "10.0.0.9:80"})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				changes, err := s.Changes(string(before), after)
				if err != nil || len(changes) != 1 || WriteAll(changes) != nil {
					t.Fatalf("%s: %v, %q", name, err, changes)
				}
			}
			apply(edit.Change{Do: "drain"})
			if c, _, err := s.Load(); err != nil || !slices.ContainsFunc(c.Services, func(s config.Service) bool { return s.RealServers[0].Drain }) {
				t.Errorf("%s: it is not drained: %v", name, err)
			}
			apply(edit.Change{Do: "undrain"})
			for file, want := range files {
				if got, err := os.ReadFile(filepath.Join(filepath.Dir(s.Path), file)); err != nil || string(got) != want {
					t.Errorf("%s: %v: %s is\n%q\nand was\n%q", name, err, file, got, want)
				}
			}
		}
	}
}
