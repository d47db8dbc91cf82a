package convert

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"lvsd/config"
)

var update = flag.Bool("update", false, "write what is converted into the files of testdata")

// disk reads files, and knows a few names.
func disk() World {
	return World{
		Read: os.ReadFile,
		Glob: filepath.Glob,
		Host: func(name string) ([]netip.Addr, error) {
			switch name {
			case "www.example.org":
				return []netip.Addr{netip.MustParseAddr("10.0.0.90")}, nil
			case "web1":
				return []netip.Addr{netip.MustParseAddr("10.0.0.9")}, nil
			}
			return nil, errors.New("no such host")
		},
		Port: func(_, name string) (int, error) {
			if p, ok := map[string]int{"http": 80, "https": 443}[name]; ok {
				return p, nil
			}
			return 0, errors.New("no such service")
		},
	}
}

// TestConversions holds conversions against what a person has read and found
// good. What is not carried over is in the files' heads.
func TestConversions(t *testing.T) {
	for _, c := range []struct {
		want    string
		convert func() (Result, error)
	}{
		{"testdata/keepalived-pair/want.toml", func() (Result, error) {
			return Keepalived([]Source{{"lb1", "testdata/keepalived-pair/lb1.conf"}, {"lb2", "testdata/keepalived-pair/lb2.conf"}}, disk())
		}},
		{"testdata/keepalived-words/want.toml", func() (Result, error) {
			return Keepalived([]Source{{"lb1", "testdata/keepalived-words/lb1.conf"}, {"lb2", "testdata/keepalived-words/lb1.conf"}}, disk())
		}},
		{"testdata/ldirectord/want.toml", func() (Result, error) { return Ldirectord("testdata/ldirectord/ldirectord.cf", disk()) }},
		{"testdata/ipvsadm/want.toml", func() (Result, error) { return IPVSadm("testdata/ipvsadm/table.txt", disk()) }},
		{"testdata/ipvsadm/want-names.toml", func() (Result, error) { return IPVSadm("testdata/ipvsadm/names.txt", disk()) }},
	} {
		t.Run(c.want, func(t *testing.T) {
			r, err := c.convert()
			if err != nil {
				t.Fatal(err)
			}
			passes(t, r)
			if strings.Contains(r.TOML, "hush") && !strings.Contains(c.want, "ldirectord") {
				t.Error("a password is in the result")
			}
			if *update {
				if err := os.WriteFile(c.want, []byte(r.TOML), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(c.want)
			if err != nil {
				t.Fatal(err)
			}
			if r.TOML != string(want) {
				t.Errorf("want what is in %s, have\n%s", c.want, r.TOML)
			}
		})
	}
}

// passes holds a result against config as a user would: the whole text, for
// every director in it.
func passes(t testing.TB, r Result) {
	t.Helper()
	f, err := config.Parse("lvsd.toml", []byte(r.TOML))
	if err != nil {
		t.Fatalf("%v\n%s", err, r.TOML)
	}
	for _, d := range f.Directors {
		if _, err := f.For(d.Name); err != nil {
			t.Error(err)
		}
	}
}

// samples are where Debian's packages put their examples: where they are
// installed, or where integration/lab/deps.sh unpacks them.
func samples(t *testing.T, name string) []string {
	for _, root := range []string{"/", "../../../bin/deps"} {
		if all, err := filepath.Glob(filepath.Join(root, name)); err == nil && len(all) > 0 {
			return all
		}
	}
	if os.Getenv("LVSD_REQUIRE_KERNEL") == "1" {
		t.Fatalf("no %s: `make deps` fetches it", name)
	}
	t.Skipf("SKIPPED: no %s: `make deps` fetches it", name)
	return nil
}

// TestKeepalivedsSamples converts every sample that Debian's keepalived brings,
// as one director's and as a pair's.
func TestKeepalivedsSamples(t *testing.T) {
	for _, file := range samples(t, "usr/share/doc/keepalived/samples/keepalived.conf.*") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			alone, err := Keepalived([]Source{{"lb1", file}}, disk())
			if err != nil {
				t.Fatal(err)
			}
			passes(t, alone)
			pair, err := Keepalived([]Source{{"high", file}, {"low", file}}, disk())
			if err != nil {
				t.Fatal(err)
			}
			passes(t, pair)
			told(t, file, pair)
		})
	}
}

// told demands that every line of a file of keepalived's is in the result, has a
// note, or is of the few words that only hold others together. It looks at
// keywords that have no equivalent, of which none may vanish without a word.
func told(t *testing.T, file string, r Result) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	noted := map[int]bool{}
	for _, n := range r.Notes {
		noted[n.Line] = true
	}
	for i, line := range strings.Split(string(text), "\n") {
		for _, word := range []string{"smtp_alert", "notify_master", "notify_backup", "notify_fault", "static_routes", "static_ipaddress", "static_rules", "quorum_up", "quorum_down", "router_id", "net_namespace", "notification_email"} {
			if f := strings.Fields(strings.NewReplacer("@high", "", "@low", "").Replace(line)); len(f) > 0 && f[0] == word && !noted[i+1] {
				t.Errorf("%s:%d: %s vanishes without a word", file, i+1, line)
			}
		}
	}
}

// TestLdirectordsSamples converts the sample that Debian's ldirectord brings: as
// it is, and each of its examples that are commented out.
func TestLdirectordsSamples(t *testing.T) {
	file := samples(t, "usr/share/doc/ldirectord/examples/ldirectord.cf")[0]
	r, err := Ldirectord(file, disk())
	if err != nil {
		t.Fatal(err)
	}
	passes(t, r)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var open strings.Builder
	for line := range strings.Lines(string(text)) {
		if rest, off := strings.CutPrefix(line, "#"); off && (strings.HasPrefix(rest, "\t") || strings.HasPrefix(rest, "virtual")) {
			line = strings.Replace(rest, "\t#", "\t", 1)
		}
		open.WriteString(line)
	}
	w := disk()
	w.Read = func(string) ([]byte, error) { return []byte(open.String()), nil }
	if r, err = Ldirectord(file, w); err != nil {
		t.Fatal(err)
	}
	passes(t, r)
	if n := strings.Count(r.TOML, "[[virtual_service]]"); n < 15 {
		t.Errorf("%d services, want the sample's many\n%s", n, r.TOML)
	}
}

// TestNothing says so where a file has nothing of use, and where there is no
// file.
func TestNothing(t *testing.T) {
	empty := World{Read: func(string) ([]byte, error) { return []byte("# a comment\n"), nil }, Glob: func(string) ([]string, error) { return nil, nil }}
	for name, f := range map[string]func(World) (Result, error){
		"keepalived": func(w World) (Result, error) { return Keepalived([]Source{{"lb1", "f"}}, w) },
		"ldirectord": func(w World) (Result, error) { return Ldirectord("f", w) },
		"ipvsadm":    func(w World) (Result, error) { return IPVSadm("f", w) },
	} {
		if _, err := f(empty); !errors.Is(err, errNothing) {
			t.Errorf("%s: %v, want that there is nothing", name, err)
		}
		if _, err := f(World{Read: func(string) ([]byte, error) { return nil, os.ErrNotExist }}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want that there is no file", name, err)
		}
	}
	if _, err := Keepalived([]Source{{"lb1", "f"}, {"lb1", "g"}}, empty); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a director that is named twice: %v", err)
	}
}

// decoded reads an inline table.
func decoded(inline string) (map[string]any, error) {
	var v struct{ V map[string]any }
	_, err := toml.Decode("V = "+inline, &v)
	return v.V, err
}
