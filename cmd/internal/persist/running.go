package persist

// The configuration that runs, as it was read: a director whose file is broken at
// its next start goes on with what worked.

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Running is a configuration that ran.
type Running struct {
	Director string    `json:"director"` // under whose name
	File     string    `json:"file"`     // where it was read
	Hash     string    `json:"hash"`     // the configuration's
	At       time.Time `json:"at"`       // since when it ran
	Text     string    `json:"-"`
}

// runningLine is the last line of the file. The text above it is as it was read, so
// that the places in its messages are right and people can copy it back.
type runningLine struct {
	Version int `json:"version"`
	Running
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"` // of the text
}

const (
	runningVersion = 1
	runningMark    = "\n# kept by lvsd: "
)

func runningPath(dir string) string { return filepath.Join(dir, "running.toml") }

// KeepRunning replaces the kept configuration; its mode is 0600.
func (d *Dir) KeepRunning(r Running) error {
	sum := sha256.Sum256([]byte(r.Text))
	line, err := json.Marshal(runningLine{Version: runningVersion, Running: r, Bytes: len(r.Text), SHA256: hex.EncodeToString(sum[:])})
	if err != nil {
		return fmt.Errorf("failed to keep the running configuration: %w", err)
	}
	if err := replaceFile(runningPath(d.path), []byte(r.Text+runningMark+string(line)+"\n")); err != nil {
		return fmt.Errorf("failed to keep the running configuration: %w", err)
	}
	return nil
}

// ReadRunning reads the configuration that is kept in a state_dir, which need not be
// ours. One that is not whole is an error; none is os.ErrNotExist.
func ReadRunning(dir string) (Running, error) {
	path := runningPath(dir)
	all, err := os.ReadFile(path)
	if err != nil {
		return Running{}, err
	}
	var line runningLine
	at := bytes.LastIndex(all, []byte(runningMark))
	if at < 0 {
		return Running{}, fmt.Errorf("%s is not whole: its last line is missing", path)
	}
	if err := json.Unmarshal(all[at+len(runningMark):], &line); err != nil {
		return Running{}, fmt.Errorf("%s: its last line is not whole: %w", path, err)
	}
	text := all[:at]
	sum := sha256.Sum256(text)
	switch {
	case line.Version != runningVersion:
		return Running{}, fmt.Errorf("%s: its version %d is not known to this lvsd", path, line.Version)
	case line.Bytes != len(text) || line.SHA256 != hex.EncodeToString(sum[:]):
		return Running{}, errors.New(path + " was changed since lvsd wrote it")
	}
	line.Running.Text = string(text)
	return line.Running, nil
}
