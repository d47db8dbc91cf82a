package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is found into the files of testdata")

// wants takes the lines "# want: LINE:COL: path: message" from a text.
func wants(text []byte) string {
	var all strings.Builder
	for line := range strings.Lines(string(text)) {
		if want, ok := strings.CutPrefix(line, "# want: "); ok {
			all.WriteString(want)
		}
	}
	return all.String()
}

// found writes mistakes or warnings in the same form.
func found(all []Error) string {
	var b strings.Builder
	for _, e := range all {
		e.File = "f"
		b.WriteString(strings.TrimPrefix(e.Error(), "f:") + "\n")
	}
	return b.String()
}

// eachFile parses the files of testdata that match, and compares what is found in them
// with what they expect.
func eachFile(t *testing.T, pattern string, atLeast int, parse func(*testing.T, []byte) []Error) {
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) < atLeast {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := found(parse(t, text))
			if *update {
				text, _, _ = bytes.Cut(text, []byte("# want: "))
				for line := range strings.Lines(got) {
					text = append(text, "# want: "+line...)
				}
				if err := os.WriteFile(name, text, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := wants(text); got != want {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

// TestBad: each file has one mistake (bad-many.toml has many), which alone is reported,
// at its place.
func TestBad(t *testing.T) {
	eachFile(t, "bad-*.toml", 150, func(t *testing.T, text []byte) []Error {
		f, err := Parse("f", text)
		var all Errors
		if !errors.As(err, &all) || f != nil {
			t.Fatalf("Parse: %v", err)
		}
		return all
	})
}

// TestGood: no file has a mistake, and each has the expected warnings.
func TestGood(t *testing.T) {
	eachFile(t, "good-*.toml", 25, func(t *testing.T, text []byte) []Error {
		f, err := Parse("f", text)
		if err != nil {
			t.Fatalf("\n%v", err)
		}
		return f.Warnings
	})
}
