package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// wrongs are values of the wrong type for a kind of key: none is of the right one.
var wrongs = map[kind][]string{
	kindString:   {"1", "true", "[]", "1.5", "2026-12-01"},
	kindInt:      {`"1"`, "true", "1.5", "[]", "{ x = 1 }"},
	kindBool:     {`"yes"`, "1", "[]"},
	kindDuration: {"1", `"1"`, `"soon"`, "true", `"-1s"`},
	kindStrings:  {`"x"`, "1", "{ x = 1 }"},
	kindInts:     {`"x"`, "1", "{ x = 1 }"},
	kindList:     {"1", "true"},
	kindTable:    {"1", `"x"`, "[]"},
	kindTables:   {"1", `"x"`, "{ x = 1 }"},
	kindChecks:   {"1", `"x"`},
	kindWords:    {"1", `"x"`, "[]"},
	kindForward:  {"1", "[]", "true"},
	kindMask:     {"true", "[]", "1.5"},
	kindTime:     {"1", `"tomorrow"`, "true", "2026-12-01"},
	kindTLS:      {"1", `"x"`, "[]"},
}

// TestEveryKeyIsMeasured: each key of each table with values of a wrong type, out of
// its range and not among its choices, and misspelt. Each is told, at the very place,
// with the key's own path.
func TestEveryKeyIsMeasured(t *testing.T) {
	tried := 0
	for _, tab := range documentedTables {
		for _, k := range tab.keys {
			if k.kind == kindAny { // has tests of its own
				continue
			}
			bad := append([]string{}, wrongs[k.kind]...)
			if len(bad) == 0 {
				t.Errorf("%s.%s: no wrong value for its kind", tab.name, k.name)
			}
			if len(k.choices) > 0 && k.kind == kindString {
				bad = append(bad, `"nonsense"`)
			}
			if k.kind == kindInt {
				bad = append(bad, fmt.Sprint(k.min-1))
				if k.max > 0 {
					bad = append(bad, fmt.Sprint(k.max+1))
				}
			}
			if k.kind == kindDuration && k.max > 0 {
				bad = append(bad, `"`+(time.Duration(k.max)+time.Hour).String()+`"`)
				if k.min > 0 {
					bad = append(bad, `"`+time.Duration(k.min/2).String()+`"`)
				}
			}
			for _, value := range bad {
				measured(t, tab, &k, k.name, value, len(k.name)+4, "")
				tried++
			}
			misspelt := k.name[:len(k.name)-1] + "x" + k.name[len(k.name)-1:]
			if len(k.name) > 3 {
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

// measured writes a key into its table and wants a mistake at its line.
func measured(t *testing.T, tab *table, k *key, name, value string, column int, says string) {
	t.Helper()
	head, tail := frame(tab, k)
	switch {
	case tab == directorTable:
		head, tail = "[[director]]\nname = \"lb1\"\n", head
	case k.kind == kindTables || k.kind == kindChecks:
		tail = "" // where it is written as a table of its own
	}
	// What the frame itself has of the key is left out: a key written twice is
	// another mistake.
	lines := strings.SplitAfter(head, "\n")
	from := 0
	for i, line := range lines {
		if strings.HasPrefix(line, "[") {
			from = i
		}
	}
	for i := from; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], k.name+" = ") {
			lines[i] = "\n"
		}
	}
	head = strings.Join(lines, "")
	_, err := Parse("f", []byte(head+name+" = "+value+"\n"+tail))
	var all Errors
	if !errors.As(err, &all) {
		t.Errorf("%s: %s = %s is taken: %v", tab.name, name, value, err)
		return
	}
	line := strings.Count(head, "\n") + 1
	for _, e := range all {
		if e.Line == line && e.Col >= column && (says == "" || e.Col == column) && strings.Contains(e.Path, name) && strings.Contains(e.Message, says) {
			return
		}
	}
	t.Errorf("%s: %s = %s: nothing at %d:%d:\n%v", tab.name, name, value, line, column, err)
}
