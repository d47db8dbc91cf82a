package persist

// The holds are what this director was told about handovers: the elections that
// it stays away from, over restarts too.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"lvsd/cmd/internal/director"
)

// holdsFile is the file's form.
type holdsFile struct {
	Version   int                         `json:"version"`
	Elections map[string]director.Standby `json:"elections"`
}

const holdsVersion = 1

func (d *Dir) holds() string { return filepath.Join(d.path, "held") }

// LoadStandby reads them. A missing file is none; one that does not parse is an
// error and is kept aside.
func (d *Dir) LoadStandby() (map[string]director.Standby, error) {
	text, err := os.ReadFile(d.holds())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to read the record of handovers: %w", err)
	}
	var file holdsFile
	err = json.Unmarshal(text, &file)
	if err == nil && file.Version != holdsVersion {
		err = fmt.Errorf("its version %d is not known to this lvsd", file.Version)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("failed to read the record of handovers, kept as %s%s: %w", d.holds(), aside, err),
			os.Rename(d.holds(), d.holds()+aside))
	}
	return file.Elections, nil
}

// SaveStandby replaces them.
func (d *Dir) SaveStandby(holds map[string]director.Standby) error {
	text, err := json.Marshal(holdsFile{holdsVersion, holds})
	if err != nil {
		return fmt.Errorf("failed to encode the record of handovers: %w", err)
	}
	return replaceFile(d.holds(), append(text, '\n'))
}
