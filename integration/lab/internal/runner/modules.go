// Where a kernel and its tools find modules, and loading them without a single fork.

package runner

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// modulesPlace is where every kernel and tool looks for modules.
const modulesPlace = "/lib/modules"

// KernelVersion is the release of the running kernel, as uname -r prints it.
func KernelVersion() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// holdModulesFolder is the runner's part: it gives guests a folder to mount their
// modules over. Few machines lack it. If it is created here, the last runner that uses
// it removes it; if it cannot be created, the guest uses another way. Runners see each
// other by a shared lock, and recognise a folder that they created by its sticky bit.
func holdModulesFolder() (release func()) {
	for range 10 {
		if os.Mkdir(modulesPlace, 0o755) == nil {
			_ = os.Chmod(modulesPlace, 0o755|os.ModeSticky)
		}
		f, err := os.Open(modulesPlace)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_SH) == nil && stillThere(f) {
			return func() { releaseModulesFolder(f) }
		}
		f.Close() // the last user removed it meanwhile
	}
	return func() {}
}

func stillThere(f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(modulesPlace)
	return err == nil && os.SameFile(opened, now)
}

func releaseModulesFolder(f *os.File) {
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeSticky == 0 {
		return
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && stillThere(f) {
		_ = os.Remove(modulesPlace) // refused when it is not empty
	}
}

// LinkModules shows the modules at /lib/modules/VERSION, where modprobe, the kernel's
// autoload and lvsd look. The folder may be missing (the runner creates it if it can);
// then at least the kernel gets a modprobe with the path.
func LinkModules(dir, version string) error {
	if _, err := os.Stat(modulesPlace); err == nil {
		if err := unix.Mount("tmpfs", modulesPlace, "tmpfs", 0, "mode=755"); err != nil {
			return err
		}
		return os.Symlink(dir, filepath.Join(modulesPlace, version))
	}
	if err := os.MkdirAll("/run/lab/lib/modules", 0o755); err != nil {
		return err
	}
	if err := os.Symlink(dir, filepath.Join("/run/lab/lib/modules", version)); err != nil {
		return err
	}
	script := "#!/bin/sh\nexec modprobe -d /run/lab \"$@\"\n"
	if err := os.WriteFile("/run/lab/modprobe", []byte(script), 0o755); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/kernel/modprobe", []byte("/run/lab/modprobe"), 0)
}

// Dependencies is modules.dep.
type Dependencies struct {
	dir    string
	file   map[string]string   // by module name
	needs  map[string][]string // by file: those that must be loaded before, in order
	loaded map[string]bool
}

// ReadDependencies reads the modules.dep of a folder of modules.
func ReadDependencies(dir string) (*Dependencies, error) {
	f, err := os.Open(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := &Dependencies{dir: dir, file: map[string]string{}, needs: map[string][]string{}, loaded: map[string]bool{}}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		file, rest, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(path.Base(file), ".")
		d.file[strings.ReplaceAll(name, "-", "_")] = file
		// depmod writes direct dependencies first, then theirs.
		before := strings.Fields(rest)
		for i := len(before) - 1; i >= 0; i-- {
			d.needs[file] = append(d.needs[file], before[i])
		}
	}
	return d, lines.Err()
}

// Files are those of a module in the order in which they are loaded: what it needs
// first, itself last. None: it is built in, or not of this kernel.
func (d *Dependencies) Files(module string) []string {
	file, ok := d.file[module]
	if !ok {
		return nil
	}
	return append(slices.Clone(d.needs[file]), file)
}

// Load loads a module and what it needs.
func (d *Dependencies) Load(module string) error {
	for _, file := range d.Files(module) {
		if err := d.load(file); err != nil {
			return fmt.Errorf("module %s: %w", file, err)
		}
	}
	return nil
}

func (d *Dependencies) load(file string) error {
	if d.loaded[file] {
		return nil
	}
	if err := LoadFile(filepath.Join(d.dir, file)); err != nil {
		return err
	}
	d.loaded[file] = true
	return nil
}

// LoadFile loads the module in an uncompressed file; one that is loaded already is
// no error.
func LoadFile(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return err
	}
	return nil
}
