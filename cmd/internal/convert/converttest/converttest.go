package converttest

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/cmd/internal/convert"
	"lvsd/config"
	"lvsd/integration/lab"
)

var update = flag.Bool("update", false, "write the results of conversions into the files of testdata")

// Env reads files from the disk and resolves a few names.
func Env() convert.Env {
	return convert.Env{
		Read: os.ReadFile,
		Glob: filepath.Glob,
		LookupHost: func(name string) ([]netip.Addr, error) {
			switch name {
			case "www.example.org":
				return []netip.Addr{netip.MustParseAddr("10.0.0.90")}, nil
			case "web1":
				return []netip.Addr{netip.MustParseAddr("10.0.0.9")}, nil
			}
			return nil, errors.New("no such host")
		},
		LookupPort: func(_, name string) (int, error) {
			if p, ok := map[string]int{"http": 80, "https": 443}[name]; ok {
				return p, nil
			}
			return 0, errors.New("no such service")
		},
	}
}

// File is an environment with one file, which any name and pattern matches: an
// include in it never ends.
func File(text string) convert.Env {
	env := Env()
	env.Read = func(string) ([]byte, error) { return []byte(text), nil }
	env.Glob = func(string) ([]string, error) { return []string{"again.conf"}, nil }
	return env
}

// Golden compares a result with the file want, which -update writes.
func Golden(t *testing.T, want string, r convert.Result, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	Passes(t, r)
	GoldenText(t, want, r.TOML)
}

// GoldenText compares a text with the file want, which -update writes.
func GoldenText(t *testing.T, want, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(text) {
		t.Errorf("%s differs from the result\n%s", want, got)
	}
}

// Passes requires that the result passes lvsd check for every director in it.
func Passes(t testing.TB, r convert.Result) {
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

// PassesOrFails requires an error, or a result that passes lvsd check.
func PassesOrFails(t *testing.T, r convert.Result, err error) {
	t.Helper()
	if err == nil {
		Passes(t, r)
	} else if strings.Contains(err.Error(), "would not pass") {
		t.Fatal(err)
	}
}

// Samples are the examples in Debian's packages: where they are installed, or
// where integration/lab/deps.sh unpacks them.
func Samples(t *testing.T, name string) []string {
	for _, root := range []string{"/", "../../../../bin/deps"} {
		if all, err := filepath.Glob(filepath.Join(root, name)); err == nil && len(all) > 0 {
			return all
		}
	}
	lab.Require(t, fmt.Errorf("no %s: `make deps` fetches it", name))
	return nil
}

// Seeds adds the files that match the patterns to a fuzz corpus.
func Seeds(f *testing.F, patterns ...string) {
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
