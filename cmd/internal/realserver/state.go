// This file has the record of previous values. A change is recorded before it is made:
// a crash between the two leaves a record of a change that was not made, never a change
// without a record.

package realserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/sysctl"
)

// record is one change.
type record struct {
	Kind  kind   `json:"kind"`
	Key   string `json:"key"`
	Found string `json:"found"`
	Set   string `json:"set"`
}

// memory is the content of the file.
type memory struct {
	Boot  string   `json:"boot"`  // boot ID: changes of another boot are gone
	NetNS uint64   `json:"netns"` // network namespace of the changes
	Specs []Spec   `json:"wishes"`
	Undo  []record `json:"undo"` // in the order of the changes
}

// find returns the index of a change, or -1.
func (m *memory) find(n need) int {
	return slices.IndexFunc(m.Undo, func(r record) bool { return r.Kind == n.Kind && r.Key == n.Key })
}

// store is the file, locked.
type store struct {
	file string
	lock *os.File
}

const (
	fileName = "realserver.json"
	lockName = "realserver.lock"
)

// openStore locks the file in the folder, which it creates if necessary.
func openStore(folder string) (*store, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("failed to create the folder of previous settings: %w (choose another with --state-dir)", err)
	}
	lock, err := os.OpenFile(filepath.Join(folder, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("failed to lock %s: %w", folder, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		lock.Close()
		return nil, fmt.Errorf("failed to lock %s: %w", folder, err)
	}
	return &store{filepath.Join(folder, fileName), lock}, nil
}

func (s *store) close() { s.lock.Close() }

// read reads the file. What an earlier boot left is ignored.
func read(file string) (memory, error) {
	fresh := memory{Boot: sysctl.BootID(), NetNS: netNS()}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return fresh, fmt.Errorf("failed to read the previous settings: %w", err)
	}
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		return fresh, fmt.Errorf("failed to read the previous settings: %s: %w (inspect the file, and remove it if nothing is to be restored)", file, err)
	}
	switch {
	case m.Boot != fresh.Boot:
		return fresh, nil
	case m.NetNS != fresh.NetNS:
		return fresh, fmt.Errorf("%s belongs to another network namespace: use a --state-dir for each", file)
	}
	return m, nil
}

// save replaces the file so that a crash leaves the old or the new one.
func (s *store) save(m memory) error {
	if len(m.Specs) == 0 && len(m.Undo) == 0 {
		if err := os.Remove(s.file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("failed to remove the previous settings: %w", err)
		}
		return nil
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("failed to write the previous settings: %w", err)
	}
	if err := disk.ReplaceFile(s.file, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("failed to write the previous settings: %w", err)
	}
	return nil
}

// netNS returns the inode of this process's network namespace.
func netNS() uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/net", &st) != nil {
		return 0
	}
	return st.Ino
}
