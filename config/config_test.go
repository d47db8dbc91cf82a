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

var update = flag.Bool("update", false, "write the mistakes that are found into testdata/bad-*.toml")

// wants takes the lines "# want: LINE:COL: path: message" from a text.
func wants(text []byte) []string {
	var all []string
	for line := range strings.Lines(string(text)) {
		if want, ok := strings.CutPrefix(line, "# want: "); ok {
			all = append(all, strings.TrimRight(want, "\r\n"))
		}
	}
	return all
}

// TestBad: each file has one mistake (bad-many.toml has many), which is found
// at its place and explained, and nothing else is.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad-*.toml")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("f", text)
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("Parse: %v", err)
			}
			var got []string
			for _, e := range all {
				got = append(got, strings.TrimPrefix(e.Error(), "f:"))
			}
			if *update {
				text, _, _ = bytes.Cut(text, []byte("# want: "))
				for _, g := range got {
					text = append(text, "# want: "+g+"\n"...)
				}
				if err := os.WriteFile(name, text, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if g, w := strings.Join(got, "\n"), strings.Join(wants(text), "\n"); g != w {
				t.Errorf("got:\n%s\nwant:\n%s", g, w)
			}
		})
	}
}
