package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/quick"
)

// seeds gives the files of testdata to a fuzzer.
func seeds(f *testing.F, patterns ...string) {
	for _, p := range patterns {
		all, err := filepath.Glob(p)
		if err != nil || len(all) == 0 {
			f.Fatalf("no seeds in %s (%v)", p, err)
		}
		for _, name := range all {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
}

// one is a world with one file, which any pattern matches: includes are endless.
func one(text string) World {
	w := disk()
	w.Read = func(string) ([]byte, error) { return []byte(text), nil }
	w.Glob = func(string) ([]string, error) { return []string{"again.conf"}, nil }
	return w
}

// judge demands of any text: an error, or a result that passes lvsd check.
func judge(t *testing.T, r Result, err error) {
	if err != nil {
		if strings.Contains(err.Error(), "would not pass") {
			t.Fatal(err)
		}
		return
	}
	passes(t, r)
}

func FuzzKeepalived(f *testing.F) {
	seeds(f, "testdata/keepalived-*/*.conf", "testdata/keepalived-*/*/*.conf")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Keepalived([]Source{{"lb1", "a.conf"}, {"lb2", "b.conf"}}, one(text))
		judge(t, r, err)
	})
}

func FuzzLdirectord(f *testing.F) {
	seeds(f, "testdata/ldirectord/*.cf")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Ldirectord("a.cf", one(text))
		judge(t, r, err)
	})
}

func FuzzIPVSadm(f *testing.F) {
	seeds(f, "testdata/ipvsadm/*.txt")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := IPVSadm("a.txt", one(text))
		judge(t, r, err)
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
			r, err := Keepalived([]Source{{"lb1", "a.conf"}}, one(text))
			judge(t, r, err)
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
	r, err := Keepalived([]Source{{"lb1", "a.conf"}}, one(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(r.TOML, "weight = 1 }"); n != 4000 {
		t.Errorf("%d real servers, want 4000", n)
	}
}

// TestAnyStringIsWrittenSoThatItReadsTheSame holds quote against the reader of
// TOML.
func TestAnyStringIsWrittenSoThatItReadsTheSame(t *testing.T) {
	same := func(s string) bool {
		s = strings.ToValidUTF8(s, "�")
		root := &table{}
		v := &table{}
		v.set("type", "tcp", origin{})
		v.set("send", s, origin{})
		root.set("check", v, origin{})
		back, err := decoded(literal(v))
		return err == nil && back["send"] == s
	}
	for _, s := range []string{"", `a\b`, `"`, `'`, `\'"`, "a\r\nb\x00\x7f\u2028", "it's \\ \"both\"", "#", "\ufeff"} {
		if !same(s) {
			t.Errorf("%q is not read back", s)
		}
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}
