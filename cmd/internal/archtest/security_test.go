// docs/security.md names the tests that show its claims, and the parsers that are
// fuzzed: each that it names exists, and each fuzz target is named.

package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestSecurityNamesWhatExists(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`((?:[a-z/]+\\.)?(?:Fuzz|Test)[A-Za-z]+)(…?)`").FindAllStringSubmatch(string(page), -1) {
		named[m[1]+m[2]] = true
	}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| who |") || strings.TrimSpace(cells[4]) == "" {
			continue // a promise is a row that says what is impossible
		}
		if !strings.Contains(cells[5], "`Test") && !strings.Contains(cells[5], "`Fuzz") {
			t.Errorf("docs/security.md names no test that attacks the promise to %s", strings.TrimSpace(cells[1]))
		}
	}
	targets, tests := map[string]bool{}, map[string]bool{}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range regexp.MustCompile(`(?m)^func ((Fuzz|Test)\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
			if m[2] == "Fuzz" {
				targets[folder+"."+m[1]] = true
			}
		}
		return err
	})
	if err != nil || len(targets) < 20 {
		t.Fatalf("%d fuzz targets were found (%v)", len(targets), err)
	}
	for name := range targets {
		if !named[name] {
			t.Errorf("docs/security.md does not name %s", name)
		}
	}
	for name := range named {
		start, open := strings.CutSuffix(name, "…")
		found := targets[name] || tests[name]
		for test := range tests {
			found = found || open && strings.HasPrefix(test, start)
		}
		if !found {
			t.Errorf("docs/security.md names %s, which does not exist", name)
		}
	}
}
