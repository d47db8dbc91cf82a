// A host of the lab as a machine with its own init: Debian's systemd as process 1 of PID,
// mount and control group namespaces, on an overlay of this machine's file system, so that
// packages can be installed without a change outside.

package packaging_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
)

// machine is a host with its own systemd.
type machine struct {
	*lab.Host
	t      testing.TB
	lab    *lab.Lab
	root   string // its file system, seen from outside
	groups string // its control groups
	init   *lab.Process
	pid    string // of its init, seen from outside
}

// masked are the units that a machine without hardware does not need, or that take long.
var masked = []string{
	"dev-hugepages.mount", "dev-mqueue.mount", "kmod-static-nodes.service", "ldconfig.service", "modprobe@.service",
	"proc-sys-fs-binfmt_misc.automount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount",
	"sys-kernel-tracing.mount", "systemd-binfmt.service", "systemd-boot-system-token.service", "systemd-firstboot.service",
	"systemd-hwdb-update.service", "systemd-journal-catalog-update.service", "systemd-machine-id-commit.service",
	"systemd-modules-load.service", "systemd-random-seed.service", "systemd-sysctl.service", "systemd-sysusers.service",
	"systemd-timesyncd.service", "systemd-tmpfiles-setup-dev.service", "systemd-udevd.service", "systemd-udev-trigger.service",
	"systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-update-done.service", "systemd-update-utmp.service",
}

// bootScript mounts the machine's file systems in $0 and executes its init.
const bootScript = `set -e
mount --make-rprivate /
mount --bind "$0" "$0"
cd "$0"
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t cgroup2 cgroup2 sys/fs/cgroup
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd --unit=lab.target --log-target=journal --show-status=no`

// boot boots a machine on a host of the lab.
func boot(t testing.TB, l *lab.Lab, h *lab.Host) *machine {
	t.Helper()
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		t.Fatalf("no systemd (install it with make deps-oncall): %v", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := l.Path(h.Name + ".machine")
	must(os.Mkdir(dir, 0o755))
	must(unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	m := &machine{Host: h, t: t, lab: l, root: filepath.Join(dir, "root"), groups: filepath.Join(dir, "cgroup")}
	for _, folder := range []string{"upper", "work", "root", "cgroup"} {
		must(os.Mkdir(filepath.Join(dir, folder), 0o755))
	}
	_ = exec.Command("modprobe", "overlay").Run() // or it is built in
	must(unix.Mount("overlay", m.root, "overlay", 0, fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", dir, dir)))
	t.Cleanup(func() { _ = unix.Unmount(m.root, unix.MNT_DETACH) })

	units := "etc/systemd/system"
	must(os.RemoveAll(m.file(units)))
	must(os.MkdirAll(m.file(units), 0o755))
	for _, unit := range masked {
		must(os.Symlink("/dev/null", m.file(units, unit)))
	}
	m.write("etc/hostname", h.Name+"\n")
	m.write("etc/machine-id", strings.Repeat("0123456789abcdef", 2)+"\n")
	m.write("etc/fstab", "")
	_ = os.Remove(m.file("usr/sbin/policy-rc.d")) // or services would not be started
	_ = os.Remove(m.file("var/lib/man-db/auto-update"))
	must(os.RemoveAll(m.file("var/lib/apt/lists"))) // apt reads all of them at each installation

	must(unix.Mount("cgroup2", m.groups, "cgroup2", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(m.groups, unix.MNT_DETACH) })
	m.start()
	return m
}

// start starts the machine's init, and waits until it has booted.
func (m *machine) start() {
	m.t.Helper()
	must := func(err error) {
		m.t.Helper()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	// What is enabled on the machine is started, and nothing that this one has in multi-user.target.
	enabled, _ := filepath.Glob(m.file("etc/systemd/system/multi-user.target.wants/*"))
	for i, unit := range enabled {
		enabled[i] = filepath.Base(unit)
	}
	m.write("etc/systemd/system/lab.target", "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\nWants="+strings.Join(enabled, " ")+"\n")

	// A control group, which is the root in the namespace.
	group, err := os.MkdirTemp(m.groups, "lvsd-lab-"+m.Name+"-*")
	must(err)
	m.t.Cleanup(func() { removeControlGroup(group) })
	init := m.Start("sh", "-c", `echo 0 >"$1/cgroup.procs" && exec unshare --mount --pid --uts --ipc --cgroup --fork --kill-child sh -c "$2" "$3"`,
		"sh", group, bootScript, m.root)
	m.init, m.pid = init, ""
	m.t.Cleanup(func() {
		if m.t.Failed() && m.init == init {
			m.t.Logf("output of %s:\n%s\n%s", m.Name, init.Tail(20), m.journal())
		}
		init.Kill()
		<-init.Done()
	})
	m.lab.WaitUntil(60*time.Second, m.Name+" to have booted", func() bool {
		if !m.init.Running() {
			m.t.Fatalf("the init ended:\n%s", m.init.Output())
		}
		if m.pid == "" {
			children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", m.init.Pid(), m.init.Pid()))
			m.pid = strings.TrimSpace(string(children))
			return false
		}
		out, _ := m.run("systemctl", "is-system-running")
		return strings.Contains(out, "running") || strings.Contains(out, "degraded")
	})
}

// stop shuts the machine down. Its network namespace stays.
func (m *machine) stop() {
	m.t.Helper()
	_, _ = m.run("systemctl", "poweroff") // its answer may come too late
	m.lab.WaitUntil(60*time.Second, m.Name+" to have shut down", func() bool { return !m.init.Running() })
}

// removeControlGroup removes a control group with those that the machine made in it.
func removeControlGroup(group string) {
	var all []string
	_ = filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for _, path := range slices.Backward(all) {
		_ = os.Remove(path)
	}
}

// file returns the path of a file of the machine, outside of it.
func (m *machine) file(elem ...string) string {
	return filepath.Join(append([]string{m.root}, elem...)...)
}

// write writes a file of the machine.
func (m *machine) write(path, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.file(path)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.file(path), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// exists reports whether a file of the machine exists.
func (m *machine) exists(path string) bool {
	_, err := os.Lstat(m.file(path))
	return err == nil
}

// run runs a command as root on the machine.
func (m *machine) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(m.t.Context(), 4*time.Minute)
	defer cancel()
	return m.Run(ctx, append([]string{"nsenter", "-t", m.pid, "-m", "-p", "-u", "-i", "-C", "-r", "-w", "env", "DEBIAN_FRONTEND=noninteractive"}, args...)...)
}

// mustRun runs a command that must succeed.
func (m *machine) mustRun(args ...string) string {
	m.t.Helper()
	out, err := m.run(args...)
	if err != nil {
		m.t.Fatalf("%s: %s: %v\n%s", m.Name, strings.Join(args, " "), err, out)
	}
	return out
}

// property returns a property of the unit.
func (m *machine) property(property string) string {
	out, _ := m.run("systemctl", "show", "--value", "-p", property, "lvsd")
	return strings.TrimSpace(out)
}

// journal returns the end of the journal of the unit.
func (m *machine) journal() string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, _ := m.Run(ctx, "nsenter", "-t", m.pid, "-m", "-p", "-r", "-w", "journalctl", "-u", "lvsd", "--no-pager", "-o", "cat", "-n", "60")
	return out
}

// mainPID returns the process id of the daemon, outside of the machine.
func (m *machine) mainPID() string {
	inside := m.property("MainPID")
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, file := range statuses {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), "Name:\tlvsd\n") {
			continue
		}
		for line := range strings.Lines(string(text)) {
			// NSpid: the process id in each namespace, ours first.
			if f := strings.Fields(line); len(f) == 3 && f[0] == "NSpid:" && f[2] == inside {
				return f[1]
			}
		}
	}
	m.t.Fatalf("no process %s of the unit:\n%s", inside, m.journal())
	return ""
}
