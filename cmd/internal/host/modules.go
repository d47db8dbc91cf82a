package host

// Kernel modules: which are available, which the kernel loads on demand, and what to do
// about the others.

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"lvsd/config"
)

// moduleState is what is known of a module.
type moduleState int

const (
	moduleUnknown     moduleState = iota // no /lib/modules of this kernel here, as in a container
	moduleBuiltIn                        // part of the kernel
	moduleLoaded                         // loaded
	moduleLoadable                       // the kernel loads it when it is asked for
	moduleBlacklisted                    // present, but the configuration of this machine forbids loading it
	moduleAbsent                         // not of this kernel
)

// modules finds the kernel modules that the configuration needs.
func modules(u uses) []Finding { return modulesIn("/", Release(), u) }

// modulesIn is modules of the files below root.
func modulesIn(root, release string, u uses) []Finding {
	wanted := []string{"ip_vs"}
	for _, s := range u.schedulers {
		wanted = append(wanted, "ip_vs_"+s)
	}
	for _, e := range u.engines {
		wanted = append(wanted, "ip_vs_pe_"+e)
	}
	if u.virtualMAC {
		wanted = append(wanted, "macvlan")
	}
	t := moduleTree{root: root, release: release}
	var all []Finding
	for _, m := range wanted {
		all = append(all, t.finding(m))
	}
	return all
}

// MissingModules returns an error for each scheduler and persistence engine that this kernel
// lacks or may not load.
func MissingModules(c *config.Config) []error { return missingIn("/", Release(), c) }

func missingIn(root, release string, c *config.Config) []error {
	t := moduleTree{root: root, release: release}
	var all []error
	seen := map[string]bool{}
	for _, s := range c.Services {
		wanted := []string{"ip_vs_" + s.Scheduler}
		if s.PersistenceEngine != "" {
			wanted = append(wanted, "ip_vs_pe_"+s.PersistenceEngine)
		}
		for _, m := range wanted {
			if seen[m] {
				continue
			}
			seen[m] = true
			if state, _ := t.state(m); state == moduleBlacklisted || state == moduleAbsent {
				all = append(all, fmt.Errorf("%s:%d:%d: virtual_service %s: %s", cmp.Or(s.File, c.File), s.Line, s.Col, s.Name, t.finding(m)))
			}
		}
	}
	return all
}

// moduleTree is where a machine says what modules there are.
type moduleTree struct{ root, release string }

func (t moduleTree) dir() string { return filepath.Join(t.root, "lib/modules", t.release) }

func (t moduleTree) finding(module string) Finding {
	f := Finding{Kind: "module", Name: "module " + module, Want: "loaded or loadable", Why: "the configuration uses it", manual: true}
	state, by := t.state(module)
	switch state {
	case moduleBuiltIn:
		f.Have, f.OK = "built in", true
	case moduleLoaded:
		f.Have, f.OK = "loaded", true
		if by.persists {
			f.Have, f.OK, f.Remedy = "loaded, but not after the next boot: blacklisted by "+by.entry, false, by.remedy
		}
	case moduleLoadable:
		f.Have, f.OK = "loadable: the kernel loads it on demand", true
	case moduleBlacklisted:
		f.Have, f.Remedy = "blacklisted by "+by.entry, by.remedy
	case moduleAbsent:
		f.Have = "absent from kernel " + t.release
		f.Remedy = "install the package with all modules of this kernel (Debian: linux-image-amd64 instead of linux-image-cloud-amd64, Ubuntu: linux-modules-extra-" + t.release + ", RHEL: kernel-modules), or change the configuration"
	case moduleUnknown:
		// In a container the kernel still loads modules on demand, from the machine below.
		f.Have, f.OK = "unknown: no /lib/modules/"+t.release+" here (a container?)", true
		if module == "ip_vs" && !exists(filepath.Join(t.root, "proc/net/ip_vs")) {
			f.OK, f.Remedy = false, "run modprobe ip_vs on the host"
		}
	}
	return f
}

// state returns what is known of a module, and what forbids loading it.
func (t moduleTree) state(module string) (moduleState, blacklisting) {
	builtIn, errBuiltIn := t.lists("modules.builtin", module)
	if builtIn {
		return moduleBuiltIn, blacklisting{}
	}
	by := t.blacklisted(module)
	if exists(filepath.Join(t.root, "sys/module", module)) {
		return moduleLoaded, by
	}
	loadable, errDep := t.lists("modules.dep", module)
	switch {
	case loadable && by.entry != "":
		return moduleBlacklisted, by
	case loadable:
		return moduleLoadable, by
	case errBuiltIn != nil && errDep != nil:
		return moduleUnknown, by
	}
	return moduleAbsent, by
}

// lists reports whether a module is in modules.dep ("PATH.ko.xz: …") or
// modules.builtin ("PATH.ko").
func (t moduleTree) lists(list, module string) (bool, error) {
	f, err := os.Open(filepath.Join(t.dir(), list))
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		file, _, _ := strings.Cut(lines.Text(), ":")
		name, _, isModule := strings.Cut(path.Base(file), ".ko")
		if isModule && underscored(name) == module {
			return true, nil
		}
	}
	return false, lines.Err()
}

// blacklisting is what keeps the kernel, modprobe and systemd from loading a module.
type blacklisting struct {
	entry    string // "": nothing
	remedy   string
	persists bool // over the next boot
}

// blacklisted looks for what forbids loading a module. A line "blacklist" hides a module's
// aliases (modprobe.d(5)): the kernel asks for ip_vs and macvlan by an alias, and systemd,
// which loads these two at boot, honours it too; for a scheduler it asks by name.
func (t moduleTree) blacklisted(module string) blacklisting {
	byAlias := !strings.HasPrefix(module, "ip_vs_")
	for _, word := range strings.Fields(read(filepath.Join(t.root, "proc/cmdline"))) {
		name, list, _ := strings.Cut(word, "=")
		if name == "module_blacklist" || name == "modprobe.blacklist" && byAlias {
			if slices.Contains(strings.Split(underscored(list), ","), module) {
				return blacklisting{word + " on the kernel's command line", "remove it there and reboot", true}
			}
		}
	}
	seen := map[string]bool{} // of the same name the first folder's file counts
	for _, dir := range []string{"etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"} {
		files, _ := filepath.Glob(filepath.Join(t.root, dir, "*.conf"))
		for _, file := range files {
			if seen[filepath.Base(file)] {
				continue
			}
			seen[filepath.Base(file)] = true
			text, _ := os.ReadFile(file)
			for line := range strings.Lines(string(text)) {
				w := strings.Fields(line)
				if len(w) < 2 || underscored(w[1]) != module {
					continue
				}
				nothing := w[0] == "install" && len(w) == 3 && slices.Contains([]string{"true", "false"}, path.Base(w[2]))
				if nothing || w[0] == "blacklist" && byAlias {
					return blacklisting{fmt.Sprintf("%q in /%s", strings.Join(w, " "), filepath.Join(dir, filepath.Base(file))),
						"remove that line, then run modprobe " + module, true}
				}
			}
		}
	}
	if read(filepath.Join(t.root, "proc/sys/kernel/modules_disabled")) == "1" {
		return blacklisting{"kernel.modules_disabled = 1", "reboot, and load it before that is set (modules-load.d)", false}
	}
	return blacklisting{}
}

// underscored is the one form of the two in which names of modules are written.
func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }
