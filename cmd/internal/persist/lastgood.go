package persist

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"lvsd/cmd/internal/disk"
)

// LastGood is the last good configuration: one that ran. A director whose file is refused at its
// next start continues with it.
type LastGood struct {
	Director string    `json:"director"` // under whose name
	File     string    `json:"file"`     // where it was read
	Hash     string    `json:"hash"`     // the configuration's
	At       time.Time `json:"at"`       // since when it ran
	Text     string    `json:"-"`
}

// runningLine is the last line of the file. The text above it is unchanged, so that the
// positions in its errors are right and it can be copied back.
type runningLine struct {
	Version int `json:"version"`
	LastGood
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"` // of the text
}

const (
	runningVersion = 1
	runningMark    = "\n# kept by lvsd: "
)

func runningPath(dir string) string { return filepath.Join(dir, "running.toml") }

// SaveLastGood replaces the last good configuration; the file's mode is 0600.
func (d *Dir) SaveLastGood(r LastGood) error {
	sum := sha256.Sum256([]byte(r.Text))
	line, err := json.Marshal(runningLine{Version: runningVersion, LastGood: r, Bytes: len(r.Text), SHA256: hex.EncodeToString(sum[:])})
	if err != nil {
		return fmt.Errorf("failed to save the running configuration: %w", err)
	}
	if err := disk.ReplaceFile(runningPath(d.path), []byte(r.Text+runningMark+string(line)+"\n"), 0o600); err != nil {
		return fmt.Errorf("failed to save the running configuration: %w", err)
	}
	return nil
}

// ReadLastGood reads the last good configuration in a state_dir, which need not be locked by
// us. An incomplete one is an error; without one the error is os.ErrNotExist.
func ReadLastGood(dir string) (LastGood, error) {
	path := runningPath(dir)
	all, err := disk.Read(path, recordLimit)
	if err != nil {
		return LastGood{}, err
	}
	var line runningLine
	at := bytes.LastIndex(all, []byte(runningMark))
	if at < 0 {
		return LastGood{}, fmt.Errorf("%s is incomplete: its last line is missing", path)
	}
	if err := json.Unmarshal(all[at+len(runningMark):], &line); err != nil {
		return LastGood{}, fmt.Errorf("%s: its last line is incomplete: %w", path, err)
	}
	text := all[:at]
	sum := sha256.Sum256(text)
	switch {
	case line.Version != runningVersion:
		return LastGood{}, fmt.Errorf("%s: version %d is not supported by this lvsd", path, line.Version)
	case line.Bytes != len(text) || line.SHA256 != hex.EncodeToString(sum[:]):
		return LastGood{}, errors.New(path + " was changed since lvsd wrote it")
	}
	line.LastGood.Text = string(text)
	return line.LastGood, nil
}
