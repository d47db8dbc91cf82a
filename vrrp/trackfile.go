// This file looks at tracked files: each holds a number that a person or a program
// wrote, which bends the election. It never writes one, and one that cannot be read
// bends nothing.

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
	// maxFileLen is how long a file may be of which a number is read.
	maxFileLen = 64
	// maxFileNumber bounds the number: with any weight it is beyond any priority.
	maxFileNumber = 254
)

func (f TrackedFile) name() string { return "file " + f.Path }

// effect is what a number in the file does.
func (f TrackedFile) effect(number int) Tracked {
	e := Tracked{Name: f.name(), Delta: f.Weight * min(max(number, -maxFileNumber), maxFileNumber)}
	e.Fault = f.Weight == 0 && number != 0
	return e
}

// pollFile reads the file again and again.
func (t *tracking) pollFile(ctx context.Context, f TrackedFile, tell func(Tracked)) {
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
		tell(f.effect(number))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// readNumber is the whole number in a file; 0 with an error when there is none.
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
