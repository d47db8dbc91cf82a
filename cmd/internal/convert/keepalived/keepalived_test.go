package keepalived

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// TestConstructs compares conversions of files that have one construct of
// keepalived.conf(5) each with reviewed results.
func TestConstructs(t *testing.T) {
	files, err := filepath.Glob("testdata/constructs/*.conf")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".conf")
		t.Run(filepath.Base(name), func(t *testing.T) {
			sources := []Source{{"lb1", file}}
			if strings.HasPrefix(filepath.Base(name), "pair-") {
				sources = append(sources, Source{"lb2", file})
			}
			r, err := Convert(sources, converttest.Env())
			converttest.Golden(t, name+".toml", r, err)
			if strings.Contains(r.TOML, "hush") {
				t.Error("a password is in the result")
			}
		})
	}
}

// TestLinesAreExpanded: what keepalived expands, and where, in the files that people have.
func TestLinesAreExpanded(t *testing.T) {
	server := func(vip string) string {
		return "virtual_server " + vip + " 80 {\n protocol TCP\n real_server 10.0.0.9 80 {\n }\n}\n"
	}
	files := map[string]string{
		"/etc/k/a.conf": "@lb1 include lb1.conf\n@lb2 include lb2.conf\n" +
			"include ${_PWD}/sub/more.conf\n" +
			"$DIR=sub\ninclude\t${DIR}/name.conf\n" +
			"$S= \\\nvirtual_server ${V} 80 { \\\nprotocol TCP \\\nreal_server 10.0.0.9 80 { \\\n} \\\n}\n" +
			"$A=10.0.0.5\n$B=10.0.0.6\n~LST(V, $A, $B) $S\n",
		"/etc/k/lb1.conf":      server("10.0.0.1"),
		"/etc/k/lb2.conf":      server("10.0.0.2"),
		"/etc/k/sub/more.conf": server("10.0.0.3"),
		"/etc/k/sub/name.conf": server("10.0.0.4"),
	}
	env := converttest.Env()
	env.Read = func(name string) ([]byte, error) {
		text, ok := files[name]
		if !ok {
			return nil, os.ErrNotExist
		}
		return []byte(text), nil
	}
	env.Glob = func(pattern string) ([]string, error) {
		if _, ok := files[pattern]; ok {
			return []string{pattern}, nil
		}
		return nil, nil
	}
	r, err := Convert([]Source{{"lb1", "/etc/k/a.conf"}}, env)
	if err != nil {
		t.Fatal(err)
	}
	for _, vip := range []string{"10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"} {
		if !strings.Contains(r.TOML, `address = "`+vip+`:80"`) {
			t.Errorf("%s is missing:\n%s", vip, r.TOML)
		}
	}
	if strings.Contains(r.TOML, `"10.0.0.2:80"`) || r.Lost() {
		t.Errorf("the other director's file is in the result:\n%s", r.TOML)
	}
	delete(files, "/etc/k/sub/more.conf")
	if r, err = Convert([]Source{{"lb1", "/etc/k/a.conf"}}, env); err != nil || !r.Lost() {
		t.Errorf("a file that is included is missing, and nothing is lost: %v\n%s", err, r.TOML)
	}
}

// TestPairsMeetByRouter: the instances of a pair are those with the same virtual router ID
// and address, whatever they are called.
func TestPairsMeetByRouter(t *testing.T) {
	env := converttest.Env()
	conf := func(first, second, address, peer string) string {
		var b strings.Builder
		b.WriteString("global_defs {\n lvs_sync_daemon eth1 " + second + "\n}\n")
		for i, name := range []string{first, second} {
			fmt.Fprintf(&b, "vrrp_instance %s {\n interface eth0\n virtual_router_id %d\n priority 10%s\n unicast_src_ip %s\n unicast_peer {\n %s\n }\n virtual_ipaddress {\n 10.0.%d.88\n }\n}\n",
				name, i+1, address[len(address)-1:], address, peer, i)
		}
		return b.String()
	}
	env.Read = func(name string) ([]byte, error) {
		if name == "a" {
			return []byte(conf("inside", "outside", "10.0.0.2", "10.0.0.3")), nil
		}
		return []byte(conf("outside", "inside", "10.0.0.3", "10.0.0.2")), nil // the other way round
	}
	r, err := Convert([]Source{{"lb1", "a"}, {"lb2", "b"}}, env)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(r.TOML, "\n[[vrrp]]"); n != 2 || strings.Count(r.TOML, `unicast = { lb1 = "10.0.0.2", lb2 = "10.0.0.3" }`) != 2 ||
		!strings.Contains(r.TOML, `vrrp = "outside"`) || slices.ContainsFunc(r.Notes, func(n convert.Note) bool { return n.Kind != convert.NotNeeded }) {
		t.Errorf("%d instances:\n%s", n, r.TOML)
	}
	env.Read = func(string) ([]byte, error) { return []byte(conf("inside", "outside", "10.0.0.2", "10.0.0.3")), nil }
	if r, err = Convert([]Source{{"lb1", "a"}, {"lb2", "b"}}, env); err != nil || !strings.Contains(r.TOML, "both directors have the unicast address 10.0.0.2") {
		t.Errorf("one address for both: %v\n%s", err, r.TOML)
	}
}

// TestNothingSaysWhy: the error of a file without a result names the reasons.
func TestNothingSaysWhy(t *testing.T) {
	_, err := Convert([]Source{{"lb1", "f"}}, converttest.File("global_defs {\n router_id x\n}\nvirtual_server www.example.com 80 {\n protocol TCP\n real_server 10.0.0.9 80 {\n }\n}\n"))
	if !errors.Is(err, convert.ErrNothing) || !strings.Contains(err.Error(), "www.example.com") || strings.Contains(err.Error(), "router_id") {
		t.Errorf("%v", err)
	}
}

// TestDiff shows each old line beside what it has become.
func TestDiff(t *testing.T) {
	r, err := Convert([]Source{{"lb1", "testdata/constructs/http-get.conf"}}, converttest.Env())
	if err != nil {
		t.Fatal(err)
	}
	converttest.GoldenText(t, "testdata/http-get.diff", r.Diff())
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
			accounted(t, file, pair)
		})
	}
}

// accounted requires that every line of a file is in the result, has a note, or is one
// of the few keywords that only group others. No keyword without an equivalent may be
// lost without a note.
func accounted(t *testing.T, file string, r convert.Result) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	noted := map[int]bool{}
	for _, n := range r.Notes {
		noted[n.Line] = true
	}
	for i, line := range strings.Split(string(text), "\n") {
		for _, word := range []string{"smtp_alert", "notify_master", "notify_backup", "notify_fault", "static_routes", "static_ipaddress", "static_rules", "router_id", "net_namespace"} {
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
	if _, err := Convert([]Source{{"lb1", "f"}, {"lb1", "g"}}, converttest.File("")); err == nil || !strings.Contains(err.Error(), "duplicate") {
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

// TestEndlessFilesEnd reads files whose expansion would never end.
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
