// Reading the history from its folder, with or without a daemon that writes it.
// What is no event (half a line that a crash left, or worse) is passed over.

package event

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Query says which events are asked for. The zero value asks for all.
type Query struct {
	Since time.Time // only later ones
	After uint64    // only those with a greater ID
	Limit int       // the newest so many at most; 0: all
}

func (q Query) wants(e Event) bool {
	return e.ID > q.After && (q.Since.IsZero() || e.At.After(q.Since))
}

// lastID is the greatest that every reader of JSON keeps exactly; the clock is
// far from it.
const lastID = 1 << 53

// readLimit bounds what is read of one file: a foreign one must not fill the
// memory.
const readLimit = 4 * fileLimit

// Read answers the events that a folder holds, oldest first. A folder that is
// not there is an error; files that are damaged are none.
func Read(folder string, q Query) ([]Event, error) {
	numbers, err := fileNumbers(folder)
	if err != nil {
		return nil, fmt.Errorf("failed to read the history of events: %w", err)
	}
	var newestFirst [][]Event
	count := 0
	for _, n := range slices.Backward(numbers) {
		events, all, err := readFile(fileName(folder, n), q)
		if errors.Is(err, fs.ErrNotExist) {
			break // it was the oldest, and its time had come
		}
		if err != nil {
			return nil, fmt.Errorf("failed to read the history of events: %w", err)
		}
		newestFirst = append(newestFirst, events)
		count += len(events)
		if all > 0 && len(events) == 0 || q.Limit > 0 && count >= q.Limit {
			break // what is older is not asked for
		}
	}
	slices.Reverse(newestFirst)
	out := slices.Concat(newestFirst...)
	return out[max(0, len(out)-cmp.Or(q.Limit, len(out))):], nil
}

// readFile answers the events of one file that are asked for, and how many it
// has.
func readFile(name string, q Query) (wanted []Event, all int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, readLimit))
	if err != nil {
		return nil, 0, err
	}
	for line := range bytes.Lines(text) {
		var e Event
		if json.Unmarshal(line, &e) != nil || e.ID == 0 || e.ID > lastID {
			continue
		}
		all++
		if q.wants(e) {
			wanted = append(wanted, e)
		}
	}
	return wanted, all, nil
}

// fileNumbers lists the history's files in a folder, the oldest first.
func fileNumbers(folder string) ([]int, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, entry := range entries {
		digits, ours := strings.CutPrefix(entry.Name(), "events-")
		digits, ours2 := strings.CutSuffix(digits, ".jsonl")
		n, err := strconv.Atoi(digits)
		if ours && ours2 && err == nil && filepath.Base(fileName(folder, n)) == entry.Name() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}
