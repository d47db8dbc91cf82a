// Tracked files contain a number, written by an administrator or a program, that
// adjusts the priority. A file that cannot be read counts as 0.

package vrrp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// filePollInterval is how often a tracked file is read.
	filePollInterval = time.Second
	// maxFileLen is the maximum length of a tracked file in octets.
	maxFileLen = 64
	// maxFileNumber bounds the number: with any weight it exceeds the range of
	// priorities.
	maxFileNumber = 254
)

func (f TrackedFile) name() string { return "file " + f.Path }

// effect returns what a number in the file does.
func (f TrackedFile) effect(number int) Tracked {
	e := Tracked{Name: f.name(), Delta: f.Weight * min(max(number, -maxFileNumber), maxFileNumber)}
	e.Fault = f.Weight == 0 && number != 0
	return e
}

// pollFile reads the file until ctx ends.
func (t *tracking) pollFile(ctx context.Context, f TrackedFile, report func(Tracked)) {
	ticker := time.NewTicker(filePollInterval)
	defer ticker.Stop()
	said := ""
	for {
		number, err := readNumber(f.Path)
		problem := ""
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problem = err.Error()
		}
		if problem != "" && problem != said {
			t.log.Warn("a tracked file cannot be used: it counts as 0", "file", f.Path, "err", err)
		}
		said = problem
		report(f.effect(number))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// readNumber returns the whole number in a file, or 0 and an error.
func readNumber(path string) (int, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, errors.Join(err, fmt.Errorf("%s is no regular file", path))
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFileLen+1))
	if err != nil {
		return 0, err
	}
	word := strings.TrimSpace(string(text))
	number, err := strconv.Atoi(word)
	if err != nil || len(text) > maxFileLen {
		return 0, fmt.Errorf("%s holds no whole number", path)
	}
	return number, nil
}
