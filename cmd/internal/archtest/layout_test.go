package archtest

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxFiles is how many Go files a folder has, outside tests (rule 12).
const maxFiles = 15

func TestFoldersAreSmall(t *testing.T) {
	count := map[string]int{}
	goFiles(t, func(folder, path string) {
		if !strings.HasSuffix(path, "_test.go") {
			count[folder]++
		}
	})
	for folder, n := range count {
		if n > maxFiles {
			t.Errorf("%s has %d Go files outside tests, more than %d", folder, n, maxFiles)
		}
	}
}

// TestPackagesAreDocumented: the package's comment is in doc.go, or in main.go of a
// program, and nowhere else.
func TestPackagesAreDocumented(t *testing.T) {
	documented, folders := map[string]bool{}, map[string]bool{}
	goFiles(t, func(folder, path string) {
		if !strings.HasSuffix(path, "_test.go") {
			folders[folder] = true
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		home := "doc.go"
		if file.Name.Name == "main" {
			home = "main.go"
		}
		switch isHome := filepath.Base(path) == home; {
		case file.Doc != nil && isHome:
			documented[folder] = true
		case file.Doc != nil:
			t.Errorf("%s: detach the header from the package clause by an empty line", path)
		}
	})
	for folder := range folders {
		if !documented[folder] {
			t.Errorf("%s has no doc.go with the package's comment", folder)
		}
	}
}

// TestSkipsAreLoud: a test that cannot run says so by package lab, whose words `make
// check` counts, and which fails where that is demanded.
func TestSkipsAreLoud(t *testing.T) {
	skip := regexp.MustCompile(`\b(t|tb|b|f)\.Skip(f|Now)?\(`)
	goFiles(t, func(folder, path string) {
		if folder == "integration/lab" {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if call := skip.Find(text); call != nil {
			t.Errorf("%s: %s: use lab.Require or lab.Skip", path, call)
		}
	})
}

// TestSignalsAreNotIgnored: an ignored signal stays ignored in every program that
// lvsd starts. signal.Notify with a channel that nothing reads is not inherited.
func TestSignalsAreNotIgnored(t *testing.T) {
	goFiles(t, func(folder, path string) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(folder, "integration") {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "signal."+"Ignore(") {
			t.Errorf("%s ignores signals", path)
		}
	})
}
