package persist

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/sysctl"
)

// sysctlsFile is the content of the file "sysctls": the settings of interfaces as they were
// before mark probes needed others. They hold for one boot.
type sysctlsFile struct {
	Boot     string            `json:"boot"` // /proc/sys/kernel/random/boot_id
	Settings map[string]string `json:"settings"`
}

func (d *Dir) sysctlsPath() string { return filepath.Join(d.path, "sysctls") }

// LoadSysctls reads them. A missing file, and one of another boot, has none.
func (d *Dir) LoadSysctls() (map[string]string, error) {
	var file sysctlsFile
	if _, err := d.load("sysctls", "previous kernel settings", 0, &file); err != nil {
		return nil, err
	}
	if file.Boot != sysctl.BootID() {
		return nil, nil
	}
	return file.Settings, nil
}

// SaveSysctls replaces them; none removes the file.
func (d *Dir) SaveSysctls(settings map[string]string) error {
	if len(settings) == 0 {
		if err := os.Remove(d.sysctlsPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("failed to remove the record of previous kernel settings: %w", err)
		}
		return nil
	}
	text, err := json.Marshal(sysctlsFile{sysctl.BootID(), settings})
	if err != nil {
		return fmt.Errorf("failed to encode previous kernel settings: %w", err)
	}
	return disk.ReplaceFile(d.sysctlsPath(), append(text, '\n'), 0o600)
}
