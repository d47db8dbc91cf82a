package persist

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"lvsd/cmd/internal/disk"
)

// Standby is a VRRP instance that this director left in a handover: it preempts no
// master, and takes over only when no master is there.
type Standby struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // zero: until the operator ends it
}

// Expired reports whether the standby has ended by itself.
func (s Standby) Expired(now time.Time) bool { return !s.Until.IsZero() && !now.Before(s.Until) }

// standbyFile is the content of the file "standby": the instances on standby by name.
type standbyFile struct {
	Version   int                `json:"version"`
	Instances map[string]Standby `json:"elections"`
}

const standbyVersion = 1

func (d *Dir) standby() string { return filepath.Join(d.path, "standby") }

// LoadStandby reads the instances on standby. A missing file is none; one that cannot be
// used is an error and is renamed to standby.bad.
func (d *Dir) LoadStandby() (map[string]Standby, error) {
	var file standbyFile
	if _, err := d.load("standby", "handovers", standbyVersion, &file); err != nil {
		return nil, err
	}
	return file.Instances, nil
}

// SaveStandby replaces them.
func (d *Dir) SaveStandby(all map[string]Standby) error {
	text, err := json.Marshal(standbyFile{standbyVersion, all})
	if err != nil {
		return fmt.Errorf("failed to encode the record of handovers: %w", err)
	}
	return disk.ReplaceFile(d.standby(), append(text, '\n'), 0o600)
}
