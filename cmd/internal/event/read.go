// This file reads the history from its folder, with or without a running daemon. Lines
// that are not events, such as a partial line left by a crash, are skipped.

package event

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvsd/cmd/internal/disk"
)

// Query selects events. The zero value selects all.
type Query struct {
	Since time.Time // only later ones
	After uint64    // only those with a greater ID
	Limit int       // the newest so many; 0: all
}

func (q Query) matches(e Event) bool {
	return e.ID > q.After && (q.Since.IsZero() || e.At.After(q.Since))
}

// lastID is the greatest integer that every JSON reader represents exactly, far
// beyond the clock.
const lastID = 1 << 53

// readLimit bounds what is read of one file, so that a foreign one does not fill the
// memory.
const readLimit = 4 * fileLimit

// Read returns the events of a folder, oldest first. A missing folder is an error,
// damaged files are not.
func Read(folder string, q Query) ([]Event, error) {
	numbers, err := fileNumbers(folder)
	if err != nil {
		return nil, fmt.Errorf("failed to read the event history: %w", err)
	}
	var newestFirst [][]Event
	count := 0
	for _, n := range slices.Backward(numbers) {
		events, all, err := readFile(fileName(folder, n), q)
		if errors.Is(err, fs.ErrNotExist) {
			break // removed meanwhile: it was the oldest
		}
		if errors.Is(err, disk.ErrNotRegular) {
			continue // not one of ours
		}
		if err != nil {
			return nil, fmt.Errorf("failed to read the event history: %w", err)
		}
		newestFirst = append(newestFirst, events)
		count += len(events)
		if all > 0 && len(events) == 0 || q.Limit > 0 && count >= q.Limit {
			break // older files are not needed
		}
	}
	slices.Reverse(newestFirst)
	out := slices.Concat(newestFirst...)
	return out[max(0, len(out)-cmp.Or(q.Limit, len(out))):], nil
}

// readFile returns the matching events of one file, and how many events it has.
func readFile(name string, q Query) (wanted []Event, all int, err error) {
	text, err := disk.Prefix(name, readLimit)
	if err != nil {
		return nil, 0, err
	}
	for line := range bytes.Lines(text) {
		var e Event
		if json.Unmarshal(line, &e) != nil || e.ID == 0 || e.ID > lastID {
			continue
		}
		all++
		if q.matches(e) {
			wanted = append(wanted, e)
		}
	}
	return wanted, all, nil
}

// fileNumbers lists the history's files in a folder, oldest first.
func fileNumbers(folder string) ([]int, error) {
	entries, err := disk.Within(folder, func() ([]os.DirEntry, error) { return os.ReadDir(folder) })
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
