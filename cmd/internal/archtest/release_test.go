package archtest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestChangelogBeginsWithTheVersion: VERSION is a semantic version, and the topmost section
// of CHANGELOG.md is of it.
func TestChangelogBeginsWithTheVersion(t *testing.T) {
	version, err := os.ReadFile(root + "/VERSION")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(root + "/CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(version))
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(want) {
		t.Errorf("VERSION is %q", version)
	}
	sections := regexp.MustCompile(`(?m)^## \[(\S+)\] - (unreleased|\d{4}-\d\d-\d\d)$`).FindAllStringSubmatch(string(log), -1)
	if len(sections) == 0 || sections[0][1] != want {
		t.Errorf("CHANGELOG.md begins with %v, not with %s", sections, want)
	}
	for _, s := range sections[min(len(sections), 1):] {
		if s[2] == "unreleased" {
			t.Errorf("%s is below a newer version, and is not released", s[1])
		}
	}
}
