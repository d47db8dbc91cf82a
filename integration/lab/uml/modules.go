// Kernel modules of the guest: those that every test needs, loaded without a
// single fork, and a place where the kernel finds the others by itself.

package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// umlModules is where Debian's user-mode-linux has them.
const umlModules = "/usr/lib/uml/modules"

// modulesPlace is where every kernel and tool looks for modules.
const modulesPlace = "/lib/modules"

// wantedModules are loaded beforehand: IPVS with its schedulers, because
// loading them late would be measured by a test, and what hosts are made of.
var wantedModules = []string{
	"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_lblc", "ip_vs_lblcr", "ip_vs_dh", "ip_vs_sh",
	"ip_vs_sed", "ip_vs_nq", "ip_vs_fo", "ip_vs_ovf", "ip_vs_mh", "ip_vs_twos",
	"veth", "bridge", "af_packet", "macvlan", "dummy", "ipip", "sch_netem", "nf_tables",
}

// loadModules never fails the run: a module that is missing here is missed
// where it is used, with the kernel's own words.
func loadModules() {
	version, err := kernelVersion()
	if err != nil {
		warn(err)
		return
	}
	dir := filepath.Join(umlModules, version)
	if err := linkModules(dir, version); err != nil {
		warn(err)
	}
	deps, err := readDependencies(dir)
	if err != nil {
		warn(err)
		return
	}
	for _, m := range wantedModules {
		file, ok := deps.file[m]
		if !ok {
			continue // built in, or not in this kernel
		}
		for _, f := range append(deps.needs[file], file) {
			if err := deps.load(f); err != nil {
				warn(fmt.Errorf("module %s: %w", f, err))
				break
			}
		}
	}
}

func warn(err error) { fmt.Fprintf(os.Stderr, "guest: %v\n", err) }

func kernelVersion() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// holdModulesFolder is the runner's part: it gives guests a folder to mount
// their modules over. Few machines lack it; where it is made here it is
// removed by the last of the runners that use it, and where it cannot be made
// the guest has another way. Runners know each other by a shared lock, and a
// folder of theirs by its sticky bit.
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

// linkModules shows the modules at /lib/modules/VERSION, where modprobe, the
// kernel's autoload and lvsd look. The folder may be missing (the runner makes
// it where it can); then at least the kernel gets a modprobe that knows the place.
func linkModules(dir, version string) error {
	if _, err := os.Stat(modulesPlace); err == nil {
		if err := unix.Mount("tmpfs", modulesPlace, "tmpfs", 0, "mode=755"); err != nil {
			return err
		}
		return os.Symlink(dir, filepath.Join(modulesPlace, version))
	}
	if err := os.MkdirAll("/run/uml/lib/modules", 0o755); err != nil {
		return err
	}
	if err := os.Symlink(dir, filepath.Join("/run/uml/lib/modules", version)); err != nil {
		return err
	}
	script := "#!/bin/sh\nexec modprobe -d /run/uml \"$@\"\n"
	if err := os.WriteFile("/run/uml/modprobe", []byte(script), 0o755); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/kernel/modprobe", []byte("/run/uml/modprobe"), 0)
}

// dependencies is modules.dep: each file, and the files that must be loaded
// before it, in order.
type dependencies struct {
	dir    string
	file   map[string]string   // by module name
	needs  map[string][]string // by file
	loaded map[string]bool
}

func readDependencies(dir string) (*dependencies, error) {
	f, err := os.Open(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := &dependencies{dir: dir, file: map[string]string{}, needs: map[string][]string{}, loaded: map[string]bool{}}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		file, rest, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(path.Base(file), ".")
		d.file[strings.ReplaceAll(name, "-", "_")] = file
		// depmod writes the nearest first; what it needs itself comes later.
		before := strings.Fields(rest)
		for i := len(before) - 1; i >= 0; i-- {
			d.needs[file] = append(d.needs[file], before[i])
		}
	}
	return d, lines.Err()
}

func (d *dependencies) load(file string) error {
	if d.loaded[file] {
		return nil
	}
	f, err := os.Open(filepath.Join(d.dir, file))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return err
	}
	d.loaded[file] = true
	return nil
}
