// Suggestions for misspelt words.

package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Closest returns the word closest to w, or "" when none is close: at most a third of
// its letters, or one, may be inserted, deleted, replaced or swapped with the next.
func Closest(w string, words []string) string {
	best, least := "", max(1, len(w)/3)+1
	for _, candidate := range words {
		if strings.EqualFold(candidate, w) {
			return candidate
		}
		if abs(len(candidate)-len(w)) >= least {
			continue
		}
		if d := editDistance(w, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// editDistance is the edit distance with swaps of neighbours (optimal string
// alignment), by bytes.
func editDistance(a, b string) int {
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

// Suggest returns the end of a message about an unknown word: the closest word, or
// else all choices.
func Suggest(w string, words []string) string {
	if near := Closest(w, words); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return "; known here: " + strings.Join(slices.Sorted(slices.Values(words)), ", ")
}

// Suggest returns the end of a message about an unknown key: the closest one, the
// table that it belongs to, or else all keys of this table.
func (t *Table) Suggest(name string) string {
	all := t.KeyNames()
	if Closest(name, all) != "" {
		return Suggest(name, all)
	}
	for _, other := range []*Table{GlobalTable, IPVSTable, SyncTable, VRRPTable, TrackInterfaceTable, TrackScriptTable, AuthenticationTable, ServiceTable, RealServerTable, TunnelTable, CheckTable, TLSTable, StepTable, GuardTable, PairTable} {
		if _, known := other.Index[name]; known {
			return "; it is a key of " + other.Name
		}
	}
	return Suggest(name, all)
}
