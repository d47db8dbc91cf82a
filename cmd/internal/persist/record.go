package persist

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"lvsd/cmd/internal/disk"
)

// recordLimit bounds the size of a record: far above that of any.
const recordLimit = 128 << 20

// badSuffix is the suffix under which a record is kept that cannot be read.
const badSuffix = ".bad"

// records are the files that are set aside when they cannot be read, with what is then
// lost.
var records = []struct{ name, lost string }{
	{"owned", "services and servers that were removed from the configuration may still be in the kernel; compare with ipvsadm -L -n"},
	{"addresses", "addresses of an earlier run may still be on an interface; compare with `ip address`"},
	{"standby", "earlier handovers are no longer in effect; repeat them if needed"},
	{"sysctls", "kernel settings that lvsd changed for checks with through are not restored; compare accept_local and rp_filter of the interfaces"},
}

// errMalformed is wrapped by the error of a record that cannot be used: garbage, cut
// short, of another version, or not a file.
var errMalformed = errors.New("it is corrupt")

// read decodes a record and changes nothing. found is false where there is none.
func read(path string, version int, into any) (found bool, err error) {
	text, err := disk.Read(path, recordLimit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, disk.ErrNotRegular):
		return false, fmt.Errorf("%w: %w", errMalformed, err)
	case err != nil:
		return false, err
	}
	var head struct {
		Version int `json:"version"`
	}
	if err = json.Unmarshal(text, &head); err == nil && head.Version != version {
		err = fmt.Errorf("version %d is not supported by this lvsd", head.Version)
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return true, nil
}

// load is read that renames a record that cannot be used (see Problems). After an error
// the value may be incomplete.
func (d *Dir) load(name, what string, version int, into any) (found bool, err error) {
	path := filepath.Join(d.path, name)
	found, err = read(path, version, into)
	if err == nil {
		return found, nil
	}
	if errors.Is(err, errMalformed) {
		if e := os.Rename(path, path+badSuffix); e == nil {
			err = fmt.Errorf("%w, kept as %s%s", err, path, badSuffix)
		} else {
			err = errors.Join(err, e)
		}
		d.findLost()
	}
	return false, fmt.Errorf("failed to read the record of %s: %w", what, err)
}

// findLost updates what Problems says of records that were set aside. It is called
// where waiting for the disk delays nothing else.
func (d *Dir) findLost() {
	var all []string
	for _, r := range records {
		bad := filepath.Join(d.path, r.name+badSuffix)
		if _, err := os.Lstat(bad); err == nil {
			all = append(all, fmt.Sprintf("a record in state_dir is unreadable: %s, then remove %s", r.lost, bad))
		}
	}
	d.lost.Store(&all)
}
