package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

const reference = "../docs/lvsd.toml"

// documented is what the reference says of a key.
type documented struct {
	value                  string // on its line
	active                 bool   // not behind a #
	def                    string
	required, later, each_ bool
}

var (
	sectionLine = regexp.MustCompile(`^# ---- ([a-z_.]+) ----$`)
	keyLine     = regexp.MustCompile(`^(#?)([a-z0-9_]+) = (.*)$`)
)

// readReference takes the keys of each section out of the reference. Only the
// first mention of a key counts, which is the documented one.
func readReference(t *testing.T, text string) map[string]map[string]documented {
	sections := map[string]map[string]documented{}
	section, next := "", documented{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := sectionLine.FindStringSubmatch(line); m != nil {
			section, next = m[1], documented{}
			sections[section] = map[string]documented{}
			continue
		}
		if m := keyLine.FindStringSubmatch(line); m != nil {
			next.active, next.value = m[1] == "", m[3]
			if _, again := sections[section][m[2]]; !again {
				if section == "" {
					t.Fatalf("key before the first section: %s", line)
				}
				sections[section][m[2]] = next
			}
			next = documented{}
			continue
		}
		switch def, isDef := strings.CutPrefix(line, "# Default: "); {
		case isDef:
			next.def = def
		case line == "# Required.":
			next.required = true
		case line == "# Not supported yet.":
			next.later = true
		case line == "# May differ between the directors.":
			next.each_ = true
		case line == "":
			next = documented{}
		}
	}
	return sections
}

var documentedTables = []*table{directorTable, globalTable, ipvsTable, syncTable, vrrpTable,
	serviceTable, realServerTable, checkTable, guardTable, pairTable}

// TestReferenceNamesEveryKey: the reference has every key of the schema and no
// other, and what it says of each is what the schema says.
func TestReferenceNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	sections := readReference(t, string(text))
	for _, tab := range documentedTables {
		keys := sections[tab.name]
		for _, k := range tab.keys {
			d, ok := keys[k.name]
			if !ok {
				t.Errorf("section %s: %s is not documented", tab.name, k.name)
				continue
			}
			want := documented{value: d.value, active: d.active, def: k.computed, required: k.required, later: k.later, each_: k.each}
			if k.def != nil {
				want.def = literal(k.def)
			}
			if d != want {
				t.Errorf("section %s: %s is documented as %+v, and is %+v", tab.name, k.name, d, want)
			}
			if k.later && d.active && d.value != d.def {
				t.Errorf("section %s: %s is shown as %s and does not work yet", tab.name, k.name, d.value)
			}
			if !d.active {
				var any map[string]any
				if _, err := toml.Decode("x = "+d.value, &any); err != nil {
					t.Errorf("section %s: %s = %s: %v", tab.name, k.name, d.value, err)
				} else if !k.later || k.def != nil {
					_, complaint := k.scalar(any["x"])
					if complaint != "" && k.kind != kindChecks && k.kind != kindWords {
						t.Errorf("section %s: %s = %s: %s", tab.name, k.name, d.value, complaint)
					}
				}
			}
			delete(keys, k.name)
		}
		for name := range keys {
			t.Errorf("section %s: %s is documented and not known", tab.name, name)
		}
		delete(sections, tab.name)
	}
	for name := range sections {
		t.Errorf("section %s is not known", name)
	}
}

// TestReferenceIsValid: the reference is a configuration without mistake or
// warning, for both of its directors.
func TestReferenceIsValid(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("lvsd.toml", text)
	if err != nil {
		t.Fatalf("\n%v", err)
	}
	for _, w := range f.Warnings {
		t.Error(w)
	}
	for _, director := range []string{"lb1", "lb2"} {
		if _, err := f.For(director); err != nil {
			t.Error(err)
		}
	}
}

// TestReferenceDefaults: the reference means the same without the lines that
// only state a default.
func TestReferenceDefaults(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	keys, removed := readReference(t, string(text)), 0
	var less strings.Builder
	section := ""
	for line := range strings.Lines(string(text)) {
		if m := sectionLine.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			section = m[1]
		}
		if m := keyLine.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil && m[1] == "" {
			if d, ok := keys[section][m[2]]; ok && (d.value == d.def || m[2] == "on_failure") && m[3] == d.value {
				removed++
				continue
			}
		}
		less.WriteString(line)
	}
	if removed < 50 {
		t.Errorf("only %d lines removed", removed)
	}
	for _, director := range []string{"lb1", "lb2"} {
		all, without := resolved(t, string(text), director), resolved(t, less.String(), director)
		if !reflect.DeepEqual(all, without) {
			t.Errorf("for %s:\n%+v\nwithout defaults:\n%+v", director, all, without)
		}
	}
}

// resolved parses a text for one director, and wipes what depends on where
// things stand in it.
func resolved(t *testing.T, text, director string) *Config {
	t.Helper()
	f, err := Parse("x", []byte(text))
	if err != nil {
		t.Fatalf("\n%v\nin\n%s", err, text)
	}
	c, err := f.For(director)
	if err != nil {
		t.Fatal(err)
	}
	c.Hash = ""
	c.Directors = slices.Clone(c.Directors)
	for i := range c.Directors {
		c.Directors[i].Position = Position{}
	}
	for i := range c.Elections {
		c.Elections[i].Position = Position{}
	}
	for i := range c.Services {
		s := &c.Services[i]
		s.Position = Position{}
		for j := range s.RealServers {
			r := &s.RealServers[j]
			r.Position, r.WeightPosition = Position{}, Position{}
			for k := range r.Checks {
				r.Checks[k].Position = Position{}
			}
		}
	}
	return c
}

// frame is a file with one more line in one of its tables.
func frame(tab *table, line string) string {
	head := map[*table]string{
		globalTable: "[global]\n", ipvsTable: "[ipvs]\n", guardTable: "[guard]\n", pairTable: "[pair]\n",
	}[tab]
	election := "[[vrrp]]\nname = \"web\"\ninterface = \"eth0\"\nvirtual_router_id = 51\naddresses = [\"10.0.0.88\"]\n"
	service := "[[virtual_service]]\nname = \"web\"\naddress = \"10.0.0.88:443\"\n"
	server := "[[virtual_service.real_servers]]\naddress = \"10.0.0.9:443\"\n"
	check := "[virtual_service.check]\ntype = \"https\"\n"
	switch tab {
	case vrrpTable:
		election += line
	case serviceTable:
		service += line
	case realServerTable:
		server += line
	case checkTable:
		check += line
	default:
		head += line
	}
	return head + election + service + server + check
}

// TestDefaults: writing a default out changes nothing, whether the key works
// yet or not.
func TestDefaults(t *testing.T) {
	for _, tab := range documentedTables {
		if tab == directorTable || tab == syncTable {
			continue // no defaults
		}
		plain := resolved(t, frame(tab, ""), "lb1")
		for _, k := range tab.keys {
			if k.def == nil || k.types != nil && !slices.Contains(k.types, "https") {
				continue
			}
			line := fmt.Sprintf("%s = %s\n", k.name, literal(k.def))
			stated := resolved(t, frame(tab, line), "lb1")
			if !reflect.DeepEqual(plain, stated) {
				t.Errorf("%s.%s:\n%+v\nleft out:\n%+v", tab.name, strings.TrimSpace(line), stated, plain)
			}
		}
	}
}

// TestNotYet: a key that does not work yet is refused with any other value
// than its default, and said to be that.
func TestNotYet(t *testing.T) {
	other := map[kind]string{kindString: `"x"`, kindInt: "7", kindBool: "true", kindDuration: `"7s"`,
		kindStrings: `["x"]`, kindList: "[{ x = 1 }]", kindAny: `"x"`, kindTable: "{ id = 1 }"}
	seen := 0
	for _, tab := range documentedTables {
		for _, k := range tab.keys {
			if !k.later {
				continue
			}
			seen++
			value := other[k.kind]
			switch {
			case k.name == "version":
				value = "2"
			case len(k.choices) > 0:
				value = fmt.Sprintf("%q", k.choices[1])
			}
			_, err := Parse("x", []byte(frame(tab, k.name+" = "+value+"\n")))
			if err == nil || !strings.Contains(err.Error(), k.name+": not supported yet") {
				t.Errorf("%s.%s = %s: %v", tab.name, k.name, value, err)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d keys", seen)
	}
}
