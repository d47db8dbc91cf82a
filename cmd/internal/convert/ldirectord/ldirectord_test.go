package ldirectord

import (
	"errors"
	"os"
	"strings"
	"testing"

	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/converttest"
)

// TestConvert compares conversions with reviewed results.
func TestConvert(t *testing.T) {
	for file, want := range map[string]string{
		"testdata/ldirectord.cf": "testdata/want.toml",
		"testdata/lexer.cf":      "testdata/lexer.toml",
		"testdata/defaults.cf":   "testdata/defaults.toml",
		"testdata/dialogues.cf":  "testdata/dialogues.toml",
	} {
		t.Run(file, func(t *testing.T) {
			r, err := Convert(file, converttest.Env())
			converttest.Golden(t, want, r, err)
		})
	}
}

// TestLdirectordsSamples converts the sample that Debian's ldirectord brings: as
// it is, and each of its examples that are commented out.
func TestLdirectordsSamples(t *testing.T) {
	file := converttest.Samples(t, "usr/share/doc/ldirectord/examples/ldirectord.cf")[0]
	r, err := Convert(file, converttest.Env())
	if err != nil {
		t.Fatal(err)
	}
	converttest.Passes(t, r)
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
	w := converttest.Env()
	w.Read = func(string) ([]byte, error) { return []byte(open.String()), nil }
	if r, err = Convert(file, w); err != nil {
		t.Fatal(err)
	}
	converttest.Passes(t, r)
	if n := strings.Count(r.TOML, "[[virtual_service]]"); n < 15 {
		t.Errorf("%d services, want the sample's many\n%s", n, r.TOML)
	}
}

// TestNothing requires an error for a file without content, and for one that
// cannot be read.
func TestNothing(t *testing.T) {
	if _, err := Convert("f", converttest.File("# a comment\n")); !errors.Is(err, convert.ErrNothing) {
		t.Errorf("an empty file: %v", err)
	}
	env := convert.Env{Read: func(string) ([]byte, error) { return nil, os.ErrNotExist }}
	if _, err := Convert("f", env); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func FuzzConvert(f *testing.F) {
	converttest.Seeds(f, "testdata/*.cf")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Convert("a.cf", converttest.File(text))
		converttest.PassesOrFails(t, r, err)
	})
}
