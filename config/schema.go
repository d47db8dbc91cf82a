// This file is what a schema is made of: tables of keys, each with its type,
// its default, its range, and whether it works yet. keys.go fills it in,
// read.go measures a text by it, and the tests measure docs/lvsd.toml by it.
// It knows nothing of what a key means.
//
// PURE.
package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kind is the type of a key's value.
type kind uint8

const (
	kindString   kind = iota // string
	kindInt                  // int64
	kindBool                 // bool
	kindDuration             // time.Duration, written as a string with a unit
	kindTime                 // time.Time, with its offset from UTC
	kindStrings              // []string
	kindWords                // map[string]string: a table of names of the user's choosing
	kindMask                 // string; an integer is taken, too
	kindTable                // *record
	kindTables               // []*record, written as an array of tables
	kindChecks               // []*record, written as one table or an array of them
	kindInts                 // []int64
	kindForward              // string, or *record: a table with a tunnel's settings
	kindTLS                  // bool, or *record: a table with the settings of TLS
	kindList                 // []any; of a key that does not work yet
	kindAny                  // any; of a key that does not work yet
)

// wants says what a value of the kind looks like, after "must be".
func (k kind) wants() string {
	switch k {
	case kindString:
		return "a string in quotes"
	case kindInt:
		return "a whole number without quotes"
	case kindBool:
		return "true or false, without quotes"
	case kindTime:
		return "a time without quotes, such as 2026-12-01T06:00:00Z"
	case kindDuration:
		return `a duration in quotes with a unit, such as "5s" or "500ms"`
	case kindStrings:
		return `an array of strings, such as ["…", "…"]`
	case kindWords:
		return `a table of strings, such as { "…" = "…" }`
	case kindMask:
		return "a netmask or a prefix length in quotes"
	case kindTable:
		return "a table"
	case kindTables:
		return "an array of tables"
	case kindChecks:
		return `a table such as { type = "connect" }, or an array of them`
	case kindInts:
		return "an array of whole numbers, such as [3, 50]"
	case kindForward:
		return "a string in quotes, or a table with a tunnel's settings"
	case kindTLS:
		return "true, false, or a table with the settings of TLS"
	case kindList:
		return "an array"
	}
	return "a value"
}

// key is all that is known of a key, in one place.
type key struct {
	name string
	kind kind

	// def is the default as the reader would give it: string, int64, bool,
	// time.Duration, []string, []any. Where the default depends on other keys
	// it is nil, and computed says how.
	def      any
	computed string
	required bool

	// each: the value may differ between the directors.
	each bool

	choices []string // of a string
	min     int64    // of an int, or of a duration in nanoseconds; both 0: any
	max     int64
	table   *table   // of kindTable, kindTables, kindChecks
	types   []string // of a check's key: the types of check that it belongs to; nil = all
}

// table is a schema's table.
type table struct {
	name  string // for docs/lvsd.toml
	keys  []key
	index map[string]int
}

// newTable makes a schema's table. It panics when a key is there twice or its
// default is not of its kind, which is a slip in keys.go that any test shows.
func newTable(name string, keys ...key) *table {
	t := &table{name: name, keys: keys, index: make(map[string]int, len(keys))}
	for i, k := range keys {
		if _, twice := t.index[k.name]; twice {
			panic("config: key " + name + "." + k.name + " twice")
		}
		if k.def != nil && !k.takes(k.def) {
			panic("config: default of " + name + "." + k.name)
		}
		t.index[k.name] = i
	}
	return t
}

// takes says whether a Go value is of the key's kind.
func (k *key) takes(v any) bool {
	ok := false
	switch k.kind {
	case kindString, kindMask, kindForward:
		_, ok = v.(string)
	case kindTLS:
		_, ok = v.(bool)
	case kindInts:
		_, ok = v.([]int64)
	case kindInt:
		_, ok = v.(int64)
	case kindBool:
		_, ok = v.(bool)
	case kindDuration:
		_, ok = v.(time.Duration)
	case kindTime:
		_, ok = v.(time.Time)
	case kindStrings:
		_, ok = v.([]string)
	case kindWords:
		_, ok = v.(map[string]string)
	case kindList, kindTables:
		_, ok = v.([]any)
	case kindAny:
		ok = true
	}
	return ok
}

// names lists the keys of the table in their order.
func (t *table) names() (all []string) {
	for _, k := range t.keys {
		all = append(all, k.name)
	}
	return all
}

// literal writes a default as it is written in the file.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case time.Duration:
		return strconv.Quote(short(v))
	case []string:
		quoted := make([]string, len(v))
		for i := range v {
			quoted[i] = strconv.Quote(v[i])
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case []int64:
		return strings.Join(strings.Fields(fmt.Sprint(v)), ", ")
	case []any:
		return "[]"
	case map[string]string:
		return "{}"
	}
	return fmt.Sprint(v)
}

// short writes a duration without the zero minutes and seconds that
// time.Duration adds: "15m", not "15m0s".
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// list writes choices for a message: "a", "b" or "c".
func list(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	if n := len(quoted); n > 1 {
		return strings.Join(quoted[:n-1], ", ") + " or " + quoted[n-1]
	}
	return strings.Join(quoted, "")
}

// nearest is the word closest to w, or "" when none is close: at most a third
// of its letters, at least one, may be inserted, deleted, exchanged or
// swapped with their neighbour.
func nearest(w string, words []string) string {
	best, least := "", max(1, len(w)/3)+1
	for _, candidate := range words {
		if strings.EqualFold(candidate, w) {
			return candidate
		}
		if abs(len(candidate)-len(w)) >= least {
			continue
		}
		if d := distance(w, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is the edit distance with swaps of neighbours (optimal string
// alignment), by bytes.
func distance(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}

func abs(n int) int { return max(n, -n) }

// suggest is the end of a message about a word that is not known: the nearest
// word, or else those that it could have been.
func suggest(w string, words []string) string {
	if near := nearest(w, words); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return "; known here: " + strings.Join(slices.Sorted(slices.Values(words)), ", ")
}

// suggest is the end of a message about a key that is not in the table: the
// nearest that is, or the table that it belongs to, or else what is known here.
func (t *table) suggest(name string) string {
	all := t.names()
	if nearest(name, all) != "" {
		return suggest(name, all)
	}
	for _, other := range []*table{globalTable, ipvsTable, syncTable, vrrpTable, trackInterfaceTable, trackScriptTable, authenticationTable, serviceTable, realServerTable, tunnelTable, checkTable, tlsTable, stepTable, guardTable, pairTable} {
		if _, known := other.index[name]; known {
			return "; it is a key of " + other.name
		}
	}
	return suggest(name, all)
}
