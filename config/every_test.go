package config

import (
	"errors"
	"fmt"
	"lvsd/config/schema"
	"strings"
	"testing"
	"time"
)

// wrongs are values of the wrong type for a kind of key: none is of the right one.
var wrongs = map[schema.Kind][]string{
	schema.String:        {"1", "true", "[]", "1.5", "2026-12-01"},
	schema.Int:           {`"1"`, "true", "1.5", "[]", "{ x = 1 }"},
	schema.Bool:          {`"yes"`, "1", "[]"},
	schema.Duration:      {"1", `"1"`, `"soon"`, "true", `"-1s"`},
	schema.Strings:       {`"x"`, "1", "{ x = 1 }"},
	schema.Ints:          {`"x"`, "1", "{ x = 1 }"},
	schema.MixedList:     {"1", "true"},
	schema.SubTable:      {"1", `"x"`, "[]"},
	schema.Tables:        {"1", `"x"`, "{ x = 1 }"},
	schema.TableOrTables: {"1", `"x"`},
	schema.StringMap:     {"1", `"x"`, "[]"},
	schema.StringOrTable: {"1", "[]", "true"},
	schema.Netmask:       {"true", "[]", "1.5"},
	schema.Time:          {"1", `"tomorrow"`, "true", "2026-12-01"},
	schema.BoolOrTable:   {"1", `"x"`, "[]"},
}

// TestEveryKeyIsMeasured: each key of each table with values of a wrong type, out of
// its range and not among its choices, and misspelt. Each is reported, at the very place,
// with the key's own path.
func TestEveryKeyIsMeasured(t *testing.T) {
	tried := 0
	for _, tab := range documentedTables {
		for _, k := range tab.Keys {
			if k.Kind == schema.Any || tab == schema.RootTable && k.Table != nil { // has tests of its own
				continue
			}
			bad := append([]string{}, wrongs[k.Kind]...)
			if len(bad) == 0 {
				t.Errorf("%s.%s: no wrong value for its kind", tab.Name, k.Name)
			}
			if len(k.Choices) > 0 && k.Kind == schema.String {
				bad = append(bad, `"nonsense"`)
			}
			if k.Kind == schema.Int {
				bad = append(bad, fmt.Sprint(k.Min-1))
				if k.Max > 0 {
					bad = append(bad, fmt.Sprint(k.Max+1))
				}
			}
			if k.Kind == schema.Duration && k.Max > 0 {
				bad = append(bad, `"`+(time.Duration(k.Max)+time.Hour).String()+`"`)
				if k.Min > 0 {
					bad = append(bad, `"`+time.Duration(k.Min/2).String()+`"`)
				}
			}
			for _, value := range bad {
				measured(t, tab, &k, k.Name, value, len(k.Name)+4, "")
				tried++
			}
			misspelt := k.Name[:len(k.Name)-1] + "x" + k.Name[len(k.Name)-1:]
			if len(k.Name) > 3 {
				measured(t, tab, &k, misspelt, "1", 1, "unknown key; did you mean ")
				tried++
			}
		}
	}
	t.Logf("%d mistakes", tried)
	if tried < 500 {
		t.Errorf("only %d", tried)
	}
}

// measured writes a key into its table and expects a mistake at its line.
func measured(t *testing.T, tab *schema.Table, k *schema.Key, name, value string, column int, says string) {
	t.Helper()
	head, tail := frame(tab, k)
	switch {
	case tab == schema.DirectorTable:
		head, tail = "[[director]]\nname = \"lb1\"\n", head
	case k.Kind == schema.Tables || k.Kind == schema.TableOrTables:
		tail = "" // where it is written as a table of its own
	}
	// The frame's own line of the key is omitted: a duplicate key is another mistake.
	lines := strings.SplitAfter(head, "\n")
	from := 0
	for i, line := range lines {
		if strings.HasPrefix(line, "[") {
			from = i
		}
	}
	for i := from; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], k.Name+" = ") {
			lines[i] = "\n"
		}
	}
	head = strings.Join(lines, "")
	_, err := Parse("f", []byte(head+name+" = "+value+"\n"+tail))
	var all Errors
	if !errors.As(err, &all) {
		t.Errorf("%s: %s = %s is taken: %v", tab.Name, name, value, err)
		return
	}
	line := strings.Count(head, "\n") + 1
	for _, e := range all {
		if e.Line == line && e.Col >= column && (says == "" || e.Col == column) && strings.Contains(e.Path, name) && strings.Contains(e.Message, says) {
			return
		}
	}
	t.Errorf("%s: %s = %s: nothing at %d:%d:\n%v", tab.Name, name, value, line, column, err)
}
