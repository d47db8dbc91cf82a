// The documentation: each page says what it is for, has a table of contents when it is
// long, stays below a length, and its links and anchors lead somewhere.

package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	pageLines     = 400 // of a page
	lookupLines   = 660 // of a page in which a reader looks one section up
	contentsLines = 100 // a page that is longer has a table of contents
)

var lookups = []string{"docs/runbook.md", "docs/json.md"}

// page is a document without its code blocks, which have no links and no headings.
type page struct {
	name, text string
	lines      int
	anchors    map[string]bool
	headings   []string // of the second level
}

var (
	codeBlocks = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	headings   = regexp.MustCompile(`(?m)^(#+) (.*)$`)
	links      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notAnchor  = regexp.MustCompile(`[^\p{L}\p{N}\p{M} _-]`)
)

// anchor returns the anchor that GitHub gives a heading.
func anchor(heading string) string {
	heading = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	return strings.ReplaceAll(notAnchor.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

// pages returns all documents by their name from the top of the repository.
func pages(t *testing.T) map[string]page {
	t.Helper()
	all := map[string]page{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() && (name == ".git" || name == "bin") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".md") || strings.Contains(name, "testdata") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		p := page{name: name, text: codeBlocks.ReplaceAllString(string(text), ""), lines: strings.Count(string(text), "\n"), anchors: map[string]bool{}}
		for _, h := range headings.FindAllStringSubmatch(p.text, -1) {
			a := anchor(h[2])
			for i := 1; p.anchors[a]; i++ {
				a = fmt.Sprintf("%s-%d", anchor(h[2]), i)
			}
			p.anchors[a] = true
			if h[1] == "##" {
				p.headings = append(p.headings, a)
			}
		}
		all[name] = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 40 {
		t.Fatalf("%d documents only", len(all))
	}
	return all
}

// TestPagesOfTheDocumentation: a page begins with its title and what it is for.
func TestPagesOfTheDocumentation(t *testing.T) {
	all := pages(t)
	for name, p := range all {
		if !strings.HasPrefix(name, "docs/") {
			continue
		}
		title, rest, _ := strings.Cut(p.text, "\n\n")
		first, _, _ := strings.Cut(rest, "\n\n")
		if !strings.HasPrefix(title, "# ") || strings.Count(p.text, "\n# ") > 0 || strings.Contains(title, "\n") {
			t.Errorf("%s does not have one title, at its beginning", name)
		}
		if len(first) < 40 || strings.ContainsAny(first[:1], "#|-!") {
			t.Errorf("%s does not begin with a paragraph that says what it is for, but with %.60q", name, first)
		}
		limit := pageLines
		for _, l := range lookups {
			if name == l {
				limit = lookupLines
			}
		}
		if p.lines > limit {
			t.Errorf("%s has %d lines, of at most %d: split it, or say it shorter", name, p.lines, limit)
		}
		if p.lines > contentsLines {
			for _, h := range p.headings {
				if !strings.Contains(p.text, "](#"+h+")") {
					t.Errorf("%s has %d lines, and no table of contents that names #%s", name, p.lines, h)
				}
			}
		}
	}
}

// TestLinksOfTheDocumentation: a link leads to a file or folder of the repository, and an
// anchor to a heading.
func TestLinksOfTheDocumentation(t *testing.T) {
	all, checked := pages(t), 0
	for name, p := range all {
		for _, m := range links.FindAllStringSubmatch(p.text, -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // of the web
			}
			checked++
			to := name
			if target != "" {
				to = filepath.Join(filepath.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: the link %s leads to nothing", name, m[1])
			} else if fragment != "" && !all[to].anchors[fragment] {
				t.Errorf("%s: the link %s: %s has no such heading", name, m[1], to)
			}
		}
	}
	if checked < 200 {
		t.Errorf("%d links only", checked)
	}
}

// TestWordsOfTheDocumentation: the words that must not come back in comments are not in
// the documents either.
func TestWordsOfTheDocumentation(t *testing.T) {
	for name, p := range pages(t) {
		for _, word := range bannedWords.FindAllString(regexp.MustCompile("`[^`\n]+`").ReplaceAllString(p.text, ""), -1) {
			t.Errorf("%s: %s", name, word)
		}
	}
}

// TestEveryPageIsInTheIndex: docs/index.md leads to every page but the decisions.
func TestEveryPageIsInTheIndex(t *testing.T) {
	all := pages(t)
	for name := range all {
		rel, ok := strings.CutPrefix(name, "docs/")
		if ok && rel != "index.md" && !strings.HasPrefix(rel, "decisions/") && !strings.Contains(all["docs/index.md"].text, "]("+rel) {
			t.Errorf("docs/index.md has no link to %s", rel)
		}
	}
}

// TestEveryGuideIsExecuted: an integration test executes each page that has commands to
// follow, by its path or in the list operationPages.
func TestEveryGuideIsExecuted(t *testing.T) {
	tests := ""
	goFiles(t, func(folder, path string) {
		if strings.HasPrefix(folder, "integration") {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tests += string(text)
		}
	})
	_, listed, _ := strings.Cut(tests, "operationPages = []string{")
	listed, _, _ = strings.Cut(listed, "}")
	for name := range pages(t) {
		guide, ok := strings.CutPrefix(name, "docs/guides/")
		if !ok && name != "docs/tutorial.md" && name != "README.md" {
			continue
		}
		if !strings.Contains(tests, `"`+name+`"`) && !strings.Contains(listed, `"`+strings.TrimSuffix(guide, ".md")+`"`) {
			t.Errorf("no integration test executes %s", name)
		}
	}
}

// TestPathsInMessages: a page that the sources name, with or without an anchor, exists.
func TestPathsInMessages(t *testing.T) {
	all := pages(t)
	named := regexp.MustCompile(`\bdocs/([a-z0-9-]+/)*[A-Za-z0-9-]+\.(md|toml|json|yml)\b`)
	goFiles(t, func(_, path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllString(string(text), -1) {
			if _, err := os.Stat(filepath.Join(root, m)); err != nil && all[m].name == "" {
				t.Errorf("%s names %s, which does not exist", path, m)
			}
		}
	})
}
