package host

// Kernel modules: which are available, which the kernel loads on demand, and what to do
// about the others.

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// moduleState is what is known of a module.
type moduleState int

const (
	moduleUnknown   moduleState = iota // no /lib/modules of this kernel here, as in a container
	moduleBuiltIn                      // part of the kernel
	moduleLoaded                       // loaded
	moduleLoadable                     // the kernel loads it when it is asked for
	moduleForbidden                    // present, but the configuration of this machine forbids loading it
	moduleAbsent                       // not of this kernel
)

// modules finds the modules of IPVS that the configuration needs.
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
	t := moduleTree{root: root, release: release}
	var all []Finding
	for _, m := range wanted {
		all = append(all, t.finding(m))
	}
	return all
}

// moduleTree is where a machine says what modules there are.
type moduleTree struct{ root, release string }

func (t moduleTree) dir() string { return filepath.Join(t.root, "lib/modules", t.release) }

func (t moduleTree) finding(module string) Finding {
	f := Finding{Kind: "module", Name: "module " + module, Want: "loaded or loadable", Why: "the configuration uses it"}
	state, place := t.state(module)
	switch state {
	case moduleBuiltIn:
		f.Have, f.OK = "built in", true
	case moduleLoaded:
		f.Have, f.OK = "loaded", true
	case moduleLoadable:
		f.Have, f.OK = "loadable: the kernel loads it on demand", true
	case moduleForbidden:
		f.Have, f.Remedy, f.manual = "blacklisted by "+place, "remove that entry, then run modprobe "+module, true
	case moduleAbsent:
		f.Have, f.manual = "absent from kernel "+t.release, true
		f.Remedy = "install the package with all modules of this kernel (Debian: linux-image-amd64 instead of linux-image-cloud-amd64, Ubuntu: linux-modules-extra-" + t.release + ", RHEL: kernel-modules), or choose another"
	case moduleUnknown:
		// In a container the machine below loads modules, and the kernel still does so on demand.
		f.Have, f.OK = "unknown: no /lib/modules/"+t.release+" here (a container?); on the host, run modprobe "+module, true
		if module == "ip_vs" {
			f.OK = exists(filepath.Join(t.root, "proc/net/ip_vs"))
			f.Remedy, f.manual = "run modprobe ip_vs on the host", true
		}
	}
	return f
}

// state returns what is known of a module; of one that may not be loaded also what
// forbids it.
func (t moduleTree) state(module string) (state moduleState, place string) {
	builtIn, errBuiltIn := t.lists("modules.builtin", module)
	if builtIn {
		return moduleBuiltIn, ""
	}
	if exists(filepath.Join(t.root, "sys/module", module)) {
		return moduleLoaded, ""
	}
	loadable, errDep := t.lists("modules.dep", module)
	switch {
	case loadable:
		if place := t.forbidden(module); place != "" {
			return moduleForbidden, place
		}
		return moduleLoadable, ""
	case errBuiltIn != nil && errDep != nil:
		return moduleUnknown, ""
	}
	return moduleAbsent, ""
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

// forbidden returns what keeps the kernel and modprobe from loading a module. A line
// "blacklist" of modprobe.d hides a module's aliases alone: a scheduler is asked for
// by its own name, ip_vs by an alias (modprobe.d(5)).
func (t moduleTree) forbidden(module string) string {
	if read(filepath.Join(t.root, "proc/sys/kernel/modules_disabled")) == "1" {
		return "kernel.modules_disabled = 1 (until the next boot)"
	}
	for _, word := range strings.Fields(read(filepath.Join(t.root, "proc/cmdline"))) {
		list, ok := strings.CutPrefix(word, "module_blacklist=")
		if ok && slices.Contains(strings.Split(underscored(list), ","), module) {
			return word + " on the kernel's command line"
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
				if nothing || w[0] == "blacklist" && module == "ip_vs" {
					return fmt.Sprintf("%q in %s", strings.Join(w, " "), "/"+strings.TrimPrefix(strings.TrimPrefix(file, t.root), "/"))
				}
			}
		}
	}
	return ""
}

// underscored is the one form of the two in which names of modules are written.
func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }
