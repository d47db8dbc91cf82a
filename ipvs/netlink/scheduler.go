// Detection of the kernel's schedulers without loading them.

package netlink

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// CheckScheduler returns an error if this kernel does not have the scheduler: neither
// loaded, nor built in, nor as a module in /lib/modules. It returns nil if the kernel's
// modules directory or its indexes do not exist, for example in a container.
func CheckScheduler(name string) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil
	}
	return checkScheduler("/", unix.ByteSliceToString(u.Release[:]), name)
}

func checkScheduler(root, release, name string) error {
	module := "ip_vs_" + name
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("no IPVS scheduler can be called %q", name)
	}
	if _, err := os.Stat(filepath.Join(root, "sys/module", module)); err == nil {
		return nil
	}
	dir := filepath.Join(root, "lib/modules", release)
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	read := false
	for _, list := range []string{"modules.dep", "modules.builtin"} {
		found, err := lists(filepath.Join(dir, list), module)
		if found {
			return nil
		}
		read = read || err == nil
	}
	if !read {
		return nil // unknown
	}
	return fmt.Errorf("the kernel %s has no IPVS scheduler %q: no module %s in %s", release, name, module, dir)
}

// lists reports whether a module is in modules.dep ("path.ko.xz: …") or
// modules.builtin.
func lists(file, module string) (bool, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, err
	} else if err != nil {
		return false, fmt.Errorf("failed to open the list of modules: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p, _, _ := strings.Cut(lines.Text(), ":")
		base, _, isModule := strings.Cut(path.Base(p), ".ko")
		if isModule && strings.ReplaceAll(base, "-", "_") == module {
			return true, nil
		}
	}
	return false, lines.Err()
}
