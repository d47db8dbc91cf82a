package persist

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"lvsd/ipvs"
)

// Dir is an opened and locked state directory.
type Dir struct {
	path string
	lock *os.File
	// unkept is why the decision cannot be written; nil: it can.
	unkept atomic.Pointer[string]
}

// Open creates the directory if it is missing (mode 0700) and locks it until Close. It
// fails where another daemon has locked it.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("failed to make state_dir: %w (make it writable, or set [global] state_dir to another place)", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("failed to open the lock in state_dir: %w (make it writable, or set [global] state_dir to another place)", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another lvsd runs with state_dir %s: stop it first, or give this one a state_dir of its own", path)
		}
		return nil, fmt.Errorf("failed to lock state_dir %s: %w", path, err)
	}
	return &Dir{path: path, lock: lock}, nil
}

// Path is where the directory is.
func (d *Dir) Path() string { return d.path }

// Close releases the lock.
func (d *Dir) Close() error { return d.lock.Close() }

// Ledger is the record of the kernel entries that lvsd wrote, in the file
// "owned".
func (d *Dir) Ledger() ipvs.Ledger { return ledger{filepath.Join(d.path, "owned")} }

type ledger struct{ path string }

// ownedFile is the content of the file: JSON, one entry a service.
type ownedFile struct {
	Version  int            `json:"version"`
	Services []ownedService `json:"services"`
	Sync     bool           `json:"sync,omitempty"` // the sync daemons are ours
}

// ownedService is identified by protocol and address, or by a firewall mark.
type ownedService struct {
	Protocol     ipvs.Protocol    `json:"protocol,omitempty"` // IP protocol number
	Address      netip.AddrPort   `json:"address,omitzero"`
	Mark         uint32           `json:"mark,omitempty"`
	IPv6         bool             `json:"ipv6,omitempty"` // of the mark
	Destinations []netip.AddrPort `json:"destinations"`
}

const ownedVersion = 1

// aside is the suffix under which an unreadable record is kept.
const aside = ".bad"

// Problems returns what an operator has to fix.
func (d *Dir) Problems() []string {
	var all []string
	bad := filepath.Join(d.path, "owned"+aside)
	if _, err := os.Stat(bad); err == nil {
		all = append(all, fmt.Sprintf("the record of our kernel entries could not be read: services and servers that left the configuration before may still be in the kernel; compare with ipvsadm -L -n, then remove %s", bad))
	}
	if p := d.unkept.Load(); p != nil {
		all = append(all, *p)
	}
	return all
}

// Load reads the record. A missing file is an empty record; a file that does not parse is an
// error and is renamed (see Problems).
func (l ledger) Load() (ipvs.Owned, error) {
	owned, err := l.read()
	if errors.Is(err, errMalformed) {
		err = errors.Join(fmt.Errorf("%w, kept as %s%s", err, l.path, aside), os.Rename(l.path, l.path+aside))
	}
	return owned, err
}

// errMalformed is wrapped by the error of a record that does not parse.
var errMalformed = errors.New("it is illegible")

// read reads the record and changes nothing.
func (l ledger) read() (ipvs.Owned, error) {
	text, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return ipvs.Owned{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to read the record of our kernel entries: %w", err)
	}
	var file ownedFile
	err = json.Unmarshal(text, &file)
	if err == nil && file.Version != ownedVersion {
		err = fmt.Errorf("its version %d is not known to this lvsd", file.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to read the record of our kernel entries: %w: %w", errMalformed, err)
	}
	owned := make(ipvs.Owned, len(file.Services))
	for _, s := range file.Services {
		destinations := make(map[netip.AddrPort]struct{}, len(s.Destinations))
		for _, d := range s.Destinations {
			destinations[d] = struct{}{}
		}
		owned[ipvs.ServiceKey{Protocol: s.Protocol, Address: s.Address, Mark: s.Mark, IPv6: s.IPv6}] = destinations
	}
	owned.SetSync(file.Sync)
	return owned, nil
}

// Save replaces the record: a crash at any moment leaves the old or the new
// one, never half of one.
func (l ledger) Save(owned ipvs.Owned) error {
	file := ownedFile{Version: ownedVersion, Services: []ownedService{}, Sync: owned.Sync()}
	for _, key := range owned.Keys() {
		destinations := owned[key]
		s := ownedService{Protocol: key.Protocol, Address: key.Address, Mark: key.Mark, IPv6: key.IPv6, Destinations: []netip.AddrPort{}}
		for d := range destinations {
			s.Destinations = append(s.Destinations, d)
		}
		slices.SortFunc(s.Destinations, netip.AddrPort.Compare)
		file.Services = append(file.Services, s)
	}
	text, err := json.Marshal(file)
	if err != nil {
		return fmt.Errorf("failed to encode the record of our kernel entries: %w", err)
	}
	return replaceFile(l.path, append(text, '\n'))
}

// replaceFile writes beside the file and renames over it. The data is synced
// before the rename, the folder after it.
func replaceFile(path string, text []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("failed to write %s: %w", path, err)
		}
	}()
	beside := path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(beside)
		return err
	}
	if err := os.Rename(beside, path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
