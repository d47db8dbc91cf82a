package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lvsd/cmd/internal/cli/command"
	"lvsd/config"
)

// TestTheReadmesConfigurationIsGood checks the configuration of the README, and that the
// tutorial has the same.
func TestTheReadmesConfigurationIsGood(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) == 0 {
		t.Fatal("the README shows no configuration")
	}
	tutorial, err := os.ReadFile("../../../docs/tutorial.md")
	if err != nil || !bytes.Contains(tutorial, blocks[0][0]) {
		t.Errorf("the tutorial has another configuration: %v", err)
	}
	for _, b := range blocks {
		file, err := config.Parse("README.md", b[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range file.Warnings {
			t.Error(w)
		}
		for _, d := range file.Directors {
			if _, err := file.For(d.Name); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestEveryCommandIsInItsPage compares docs/cli.md with the commands.
func TestEveryCommandIsInItsPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range rootCommand(&command.Options{}).Commands() {
		if named := regexp.MustCompile("`lvsd " + c.Name() + "\\b").Match(page); !named && !c.Hidden && c.Name() != "help" {
			t.Errorf("docs/cli.md has no lvsd %s", c.Name())
		}
	}
	for _, m := range regexp.MustCompile("`lvsd ([a-z]+)").FindAllSubmatch(page, -1) {
		if _, _, err := rootCommand(&command.Options{}).Find([]string{string(m[1])}); err != nil {
			t.Errorf("docs/cli.md: %v", err)
		}
	}
}

// TestTheDocumentsNameCommandsThatExist: each command line of lvsd's in a code
// block of the documents is one that this program takes.
func TestTheDocumentsNameCommandsThatExist(t *testing.T) {
	files := []string{"../../../README.md"}
	for _, pattern := range []string{"../../../docs/*.md", "../../../docs/guides/*.md"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	seen := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)\n```[^\n]*\n(.*?)\n```").FindAllSubmatch(text, -1) {
			for line := range strings.Lines(string(block[1])) {
				for _, part := range regexp.MustCompile(`&&|\|`).Split(line, -1) {
					part, _, _ = strings.Cut(part, "#")
					part, _, _ = strings.Cut(part, ">")
					args := strings.Fields(strings.TrimPrefix(strings.TrimSpace(part), "$ "))
					if len(args) < 2 || args[0] != "lvsd" {
						continue
					}
					seen++
					cmd, rest, err := rootCommand(&command.Options{}).Find(args[1:])
					if err == nil {
						err = cmd.ParseFlags(rest)
					}
					if err == nil && cmd.Args != nil {
						err = cmd.Args(cmd, cmd.Flags().Args())
					}
					if err != nil {
						t.Errorf("%s: %s: %v", name, strings.Join(args, " "), err)
					}
				}
			}
		}
	}
	if seen < 15 {
		t.Errorf("found %d command lines only", seen)
	}
}
