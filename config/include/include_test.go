package include

import (
	"reflect"
	"strings"
	"testing"

	"lvsd/config/tomlpos"
)

const first = "include = [\"conf.d/*.toml\"]\n[global]\nlog_level = \"debug\""

var others = []Piece{
	{"conf.d/a.toml", "# a\n[[virtual_service]]\nname = \"a\"\n"},
	{"conf.d/empty.toml", ""},
	{"conf.d/b b.toml", "\ufeff[[vrrp]]\nname = \"b\"\n[[virtual_service]]\nname = \"b\""},
}

func TestJoinAndSplit(t *testing.T) {
	text, err := Join("/etc/lvsd/lvsd.toml", first, others)
	want := first + "\n# lvsd include: \"conf.d/a.toml\"\n# a\n[[virtual_service]]\nname = \"a\"\n# lvsd include: \"conf.d/empty.toml\"\n" +
		"# lvsd include: \"conf.d/b b.toml\"\n[[vrrp]]\nname = \"b\"\n[[virtual_service]]\nname = \"b\""
	if err != nil || text != want {
		t.Fatalf("%v\n%s\nwant\n%s", err, text, want)
	}
	split := []Piece{{"", first + "\n"}, others[0], others[1], {others[2].Name, strings.TrimPrefix(others[2].Text, "\ufeff")}}
	if got := Split(text); !reflect.DeepEqual(got, split) {
		t.Errorf("%q\nwant\n%q", got, split)
	}
	lines := LinesOf(text)
	for line, want := range map[int]struct {
		name  string
		local int
	}{1: {"", 1}, 3: {"", 3}, 5: {"conf.d/a.toml", 1}, 7: {"conf.d/a.toml", 3}, 10: {"conf.d/b b.toml", 1}, 13: {"conf.d/b b.toml", 4}} {
		if name, local := lines.At(line); name != want.name || local != want.local {
			t.Errorf("line %d is %s:%d, want %s:%d", line, name, local, want.name, want.local)
		}
	}
	if LinesOf(first) != nil || len(Split(first)) != 1 {
		t.Error("a text of one file has others")
	}
}

func TestPatterns(t *testing.T) {
	for text, want := range map[string][]Pattern{
		first:                    {{"conf.d/*.toml", tomlpos.Position{Line: 1, Col: 12}}},
		"include = \"x\"":        nil, // Parse refuses it
		"include = [":            nil,
		"[global]\n# include":    nil,
		"include = [1,\n \"a\"]": {{"a", tomlpos.Position{Line: 2, Col: 2}}},
	} {
		if got := Patterns(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestIncludedFilesAreChecked: each is valid by itself, and has nothing that would belong to
// another file in the joined text.
func TestIncludedFilesAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"weight = 3\n[[virtual_service]]\n":               "/etc/lvsd/x.toml:1:1: weight: must be in the first file",
		"[global]\nlog_level = \"debug\"\n":               "/etc/lvsd/x.toml:1:2: global: must be in the first file",
		"include = [\"y.toml\"]":                          "/etc/lvsd/x.toml:1:1: include: must be in the first file",
		"virtual_service = [{ name = \"a\" }]":            "/etc/lvsd/x.toml:1:1: virtual_service: must be written as [[virtual_service]]",
		"[virtual_service.check]\ntype = \"on\"":          "/etc/lvsd/x.toml:1:2: virtual_service: must be written as [[virtual_service]]",
		"[[virtual_service.real_servers]]\n":              "/etc/lvsd/x.toml:1:3: virtual_service: must be written as [[virtual_service]]",
		"\n[[virtual_service]]\nname = \"\"\"\nunclosed ": "/etc/lvsd/x.toml:",
		"[[vritual_service]]":                             "did you mean virtual_service?",
	} {
		if _, err := Join("/etc/lvsd/lvsd.toml", first, []Piece{{"x.toml", text}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestPath(t *testing.T) {
	for name, want := range map[string]string{"": "/etc/lvsd/lvsd.toml", "conf.d/a.toml": "/etc/lvsd/conf.d/a.toml", "/srv/a.toml": "/srv/a.toml"} {
		if got := Path("/etc/lvsd/lvsd.toml", name); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
}
