package persist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/disk"
	"lvsd/ipvs"
)

// Dir is an opened and locked state directory.
type Dir struct {
	path string
	lock *os.File // nil: nothing there can be locked
	// openProblem is why the disk could not be written when the directory was opened; nil
	// from the first write on.
	openProblem atomic.Pointer[error]
	// saveProblem is why the decision cannot be written; nil: it can.
	saveProblem atomic.Pointer[string]
	lost        atomic.Pointer[[]string] // of records that were set aside
	// saving is since when the decision is being saved, which uses the disk each second;
	// nil: it is not.
	saving atomic.Pointer[time.Time]
}

// Open creates the directory if it is missing (mode 0700) and locks it until Close. It
// fails where another daemon has locked it, and where it cannot be used because of a
// misconfiguration. A disk that is full, read-only, broken or does not reply is no
// reason to fail, as a director must start then too: see Problems.
func Open(path string) (*Dir, error) {
	d, err := disk.Within(path, func() (*Dir, error) { return open(path) })
	if errors.Is(err, disk.ErrHangs) {
		d = &Dir{path: path}
		d.openProblem.Store(&err)
		return d, nil
	}
	return d, err
}

func open(path string) (*Dir, error) {
	d := &Dir{path: path}
	failed := "make"
	err := disk.MakeDir(path, 0o700)
	if err == nil {
		failed = "open the lock in"
		d.lock, err = os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	}
	if diskFails(err) {
		reason := err
		d.openProblem.Store(&reason)
		// Locking does not need to write. Without the file the folder stands for it.
		if d.lock, err = os.Open(filepath.Join(path, lockName)); err != nil {
			if d.lock, err = os.Open(path); err != nil {
				return d, nil // there is nothing that another daemon could use either
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("failed to %s state_dir: %w (make it writable, or change [global] state_dir)", failed, err)
	}
	if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		d.lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another lvsd uses state_dir %s: stop it first, or configure another state_dir", path)
		}
		return nil, fmt.Errorf("failed to lock state_dir %s: %w", path, err)
	}
	d.findLost()
	return d, nil
}

const lockName = "lock"

// diskErrors are what disks and their file systems return: full, read-only, broken,
// inconsistent, and gone.
var diskErrors = []error{
	unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, unix.EREMOTEIO, unix.EUCLEAN, unix.ESTALE,
	unix.ENOTCONN, unix.ENODEV, unix.ENXIO, unix.ETIMEDOUT,
}

// diskFails reports whether an error is the disk's and not a misconfiguration.
func diskFails(err error) bool {
	return slices.ContainsFunc(diskErrors, func(e error) bool { return errors.Is(err, e) })
}

// Writable reports whether the disk could be written when the directory was opened, or
// since.
func (d *Dir) Writable() bool { return d.openProblem.Load() == nil }

// Path is where the directory is.
func (d *Dir) Path() string { return d.path }

// Close releases the lock.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// Ledger is the record of the kernel entries that lvsd wrote, in the file
// "owned".
func (d *Dir) Ledger() ipvs.Ledger {
	l := &ledger{dir: d}
	l.writer.Write = l.write
	return l
}

// ledger is used by one goroutine.
type ledger struct {
	dir     *Dir
	writer  disk.Writer[ipvs.Owned]
	pending <-chan error // of a write that took longer than ledgerWait; nil: there is none
}

// ledgerWait is how long the reconciler waits for the disk before it writes the kernel.
const ledgerWait = time.Second

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

// Problems returns what an operator has to fix. It does not wait for the disk.
func (d *Dir) Problems() []string {
	var all []string
	if lost := d.lost.Load(); lost != nil {
		all = append(all, *lost...)
	}
	trouble, saveProblem, saving := d.openProblem.Load(), d.saveProblem.Load(), d.saving.Load()
	switch {
	case saving != nil && time.Since(*saving) > disk.Deadline:
		all = append(all, fmt.Sprintf("state_dir %s: %v, for %v so far: events, decisions, handovers and addresses are not recorded meanwhile", d.path, disk.ErrHangs, time.Since(*saving).Round(time.Second)))
	case saveProblem != nil:
		all = append(all, *saveProblem)
	case trouble != nil:
		all = append(all, fmt.Sprintf("state_dir %s cannot be written: %v: events, decisions, handovers and addresses of this run are not recorded, and lost at its end; make it writable", d.path, *trouble))
	}
	return all
}

// Load reads the record. A missing file is an empty record; a file that cannot be used is
// an error and is renamed (see Problems).
func (l *ledger) Load() (ipvs.Owned, error) {
	var file ownedFile
	if _, err := l.dir.load("owned", "lvsd's kernel entries", ownedVersion, &file); err != nil {
		return nil, err
	}
	return file.owned(), nil
}

func (f ownedFile) owned() ipvs.Owned {
	owned := make(ipvs.Owned, len(f.Services))
	for _, s := range f.Services {
		destinations := make(map[netip.AddrPort]struct{}, len(s.Destinations))
		for _, d := range s.Destinations {
			destinations[d] = struct{}{}
		}
		owned[ipvs.ServiceKey{Protocol: s.Protocol, Address: s.Address, Mark: s.Mark, IPv6: s.IPv6}] = destinations
	}
	owned.SetSync(f.Sync)
	return owned
}

// Save replaces the record: a crash at any moment leaves the old or the new one, never
// half of one. A disk that takes longer than ledgerWait is an error. While it does not
// reply, further calls fail at once, so that the kernel's table still follows.
func (l *ledger) Save(owned ipvs.Owned) error {
	if l.pending != nil {
		select {
		case <-l.pending: // written at last; its content is older
			l.pending = nil
		default:
			return fmt.Errorf("state_dir %s: %w", l.dir.path, disk.ErrHangs)
		}
	}
	saved := l.writer.Save(owned)
	err := disk.Await(context.Background(), saved, ledgerWait)
	if errors.Is(err, disk.ErrHangs) {
		l.pending = saved
		err = fmt.Errorf("state_dir %s: %w", l.dir.path, disk.ErrHangs)
	}
	return err
}

func (l *ledger) write(owned ipvs.Owned) error {
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
		return fmt.Errorf("failed to encode the record of lvsd's kernel entries: %w", err)
	}
	return disk.ReplaceFile(filepath.Join(l.dir.path, "owned"), append(text, '\n'), 0o600)
}
