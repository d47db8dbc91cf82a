package keepalived

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/converttest"
)

// TestConvert compares conversions with reviewed results.
func TestConvert(t *testing.T) {
	for want, sources := range map[string][]Source{
		"testdata/pair/want.toml":     {{"lb1", "testdata/pair/lb1.conf"}, {"lb2", "testdata/pair/lb2.conf"}},
		"testdata/keywords/want.toml": {{"lb1", "testdata/keywords/lb1.conf"}, {"lb2", "testdata/keywords/lb1.conf"}},
		"testdata/unequal/want.toml":  {{"lb1", "testdata/unequal/lb1.conf"}, {"lb2", "testdata/unequal/lb2.conf"}},
	} {
		t.Run(want, func(t *testing.T) {
			r, err := Convert(sources, converttest.Env())
			converttest.Golden(t, want, r, err)
			if strings.Contains(r.TOML, "hush") {
				t.Error("a password is in the result")
			}
		})
	}
}

// TestKeepalivedsSamples converts every sample that Debian's keepalived brings,
// as one director's and as a pair's.
func TestKeepalivedsSamples(t *testing.T) {
	for _, file := range converttest.Samples(t, "usr/share/doc/keepalived/samples/keepalived.conf.*") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			alone, err := Convert([]Source{{"lb1", file}}, converttest.Env())
			if err != nil {
				t.Fatal(err)
			}
			converttest.Passes(t, alone)
			pair, err := Convert([]Source{{"high", file}, {"low", file}}, converttest.Env())
			if err != nil {
				t.Fatal(err)
			}
			converttest.Passes(t, pair)
			told(t, file, pair)
		})
	}
}

// told demands that every line of a file of keepalived's is in the result, has a
// note, or is of the few words that only hold others together. It looks at
// keywords that have no equivalent, of which none may vanish without a word.
func told(t *testing.T, file string, r convert.Result) {
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

// TestNothing requires an error for a file without content, and for one that
// cannot be read.
func TestNothing(t *testing.T) {
	if _, err := Convert([]Source{{"lb1", "f"}}, converttest.File("# a comment\n")); !errors.Is(err, convert.ErrNothing) {
		t.Errorf("an empty file: %v", err)
	}
	env := convert.Env{Read: func(string) ([]byte, error) { return nil, os.ErrNotExist }}
	if _, err := Convert([]Source{{"lb1", "f"}}, env); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Convert([]Source{{"lb1", "f"}, {"lb1", "g"}}, converttest.File("")); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a director that is named twice: %v", err)
	}
}

func FuzzConvert(f *testing.F) {
	converttest.Seeds(f, "testdata/*/*.conf", "testdata/*/*/*.conf")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Convert([]Source{{"lb1", "a.conf"}, {"lb2", "b.conf"}}, converttest.File(text))
		converttest.PassesOrFails(t, r, err)
	})
}

// TestEndlessFilesEnd feeds what would never end.
func TestEndlessFilesEnd(t *testing.T) {
	for name, text := range map[string]string{
		"a file that includes itself":      "include x\ninclude x\n" + strings.Repeat("\n", 1000),
		"a definition of itself":           "$A=${A}${A}\n${A}\n",
		"two that double":                  "$A=${B}${B}\n$B=${A}${A}\n${A}\n",
		"sequences in sequences":           "~SEQ(A,1,40000) ~SEQ(B,1,40000) ~SEQ(C,1,40000) x ${A}\n",
		"a long sequence":                  "~SEQ(A,1,1,2147483647) x\n",
		"braces in braces":                 strings.Repeat("a { ", 100_000),
		"closing braces":                   strings.Repeat("}\n", 20_000),
		"a pattern of many":                "include " + strings.Repeat("{a,b}", 64) + "\n",
		"a great range":                    "virtual_server 10.0.0.0/8 80 {\n real_server 10.0.0.1 80 { }\n}\n",
		"one name for everything":          strings.Repeat("vrrp_instance A {\n interface e\n virtual_router_id 1\n virtual_ipaddress { 10.0.0.1 }\n}\n", 2000),
		"one address for all real servers": "virtual_server 10.0.0.1 80 {\n" + strings.Repeat(" real_server 10.0.0.2 80 { }\n", 5_000) + "}\n",
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Convert([]Source{{"lb1", "a.conf"}}, converttest.File(text))
			converttest.PassesOrFails(t, r, err)
		})
	}
}

// TestALargeFileIsNotRefused: what is long and repeats nothing has no limit but
// its bytes.
func TestALargeFileIsNotRefused(t *testing.T) {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, "virtual_server 10.0.0.%d 80 {\n  lb_kind NAT\n", i+1)
		for j := range 200 {
			fmt.Fprintf(&b, "  real_server 10.1.%d.%d 80 {\n    weight 1\n%s    TCP_CHECK {\n    }\n  }\n", i, j, strings.Repeat("\n# a remark\n", 20))
		}
		b.WriteString("}\n")
	}
	r, err := Convert([]Source{{"lb1", "a.conf"}}, converttest.File(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(r.TOML, "weight = 1 }"); n != 4000 {
		t.Errorf("%d real servers, want 4000", n)
	}
}
