package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutantsApply: `make mutants` applies each patch, which takes a while; a renamed
// function or file is noticed here.
func TestMutantsApply(t *testing.T) {
	patches := 0
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Base(filepath.Dir(path)) != "mutants" || filepath.Ext(path) != ".patch" {
			return err
		}
		patches++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		source, before := "", ""
		check := func() {
			if before != "" && strings.Count("\n"+source, "\n"+before) != 1 {
				t.Errorf("%s does not apply: its file has this not exactly once:\n%s", path, before)
			}
			before = ""
		}
		for line := range strings.Lines(string(text)) {
			switch {
			case strings.HasPrefix(line, "--- a/"):
				check()
				file, err := os.ReadFile(filepath.Join(root, strings.TrimSpace(line[len("--- a/"):])))
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
				source = string(file)
			case strings.HasPrefix(line, "@@"):
				check()
			case strings.HasPrefix(line, " "), strings.HasPrefix(line, "-"):
				before += line[1:]
			case line == "\n":
				before += line
			}
		}
		check()
		return nil
	})
	if err != nil || patches < 40 {
		t.Errorf("%d patches (%v)", patches, err)
	}
}
