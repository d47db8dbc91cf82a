// Booting a kernel under QEMU, and what its process 1 does before anything else.

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab/internal/runner"
)

const (
	// linkPort is the first port of the only virtio-serial device, which the kernel
	// numbers by itself.
	linkPort = "/dev/vport*p1"
	// modulesVariable passes the folder of the kernel's modules to the guest.
	modulesVariable = "LVSD_LAB_MODULES"
)

// bootModules are what the guest needs to reach its root file system and the link,
// besides what they depend on.
var bootModules = []string{"virtio_pci", "9pnet_virtio", "9p", "virtio_console"}

func run(o options, signals <-chan os.Signal) (int, error) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return runner.ExitFailed, errors.New("qemu-system-x86_64 is missing (make deps-kernels installs Debian's qemu-system-x86)")
	}
	k, err := fetch(o.folder, o.kernel)
	if err != nil {
		return runner.ExitFailed, fmt.Errorf("failed to fetch the kernel: %w", err)
	}
	dir, err := os.MkdirTemp("", "lvsd-qemu-")
	if err != nil {
		return runner.ExitFailed, err
	}
	initrd := filepath.Join(dir, "initrd")
	if err := writeInitrd(initrd, k); err != nil {
		os.RemoveAll(dir)
		return runner.ExitFailed, fmt.Errorf("failed to make the initrd: %w", err)
	}
	machine := []string{"-accel", "tcg,thread=multi", "-cpu", "max"}
	if o.accel == "kvm" {
		machine = []string{"-accel", "kvm", "-cpu", "host"}
	}
	return o.Run(runner.Kernel{
		What: "Debian's " + k.version + " under QEMU",
		Path: qemu,
		Args: append(machine,
			"-name", "lab", "-smp", fmt.Sprint(o.cpus), "-m", fmt.Sprintf("%dM", o.Mem>>20),
			"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
			"-kernel", k.image, "-initrd", initrd,
			// The timer is not checked: on a busy machine its interrupt is late, and 5.10 panics.
			"-append", strings.Join([]string{
				"console=ttyS0", "quiet", "panic=-1", "mitigations=off", "no_timer_check",
				runner.RoleVariable + "=" + runner.RoleGuest, modulesVariable + "=" + k.modules,
			}, " "),
			"-serial", "stdio",
			"-fsdev", "local,id=root,path=/,security_model=none,multidevs=remap", "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
			"-chardev", fmt.Sprintf("socket,id=link,fd=%d", runner.LinkFD),
			"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=link,name=lvsd",
		),
		Env: []string{"HOME=" + dir, "TMPDIR=" + os.TempDir(), "PATH=/usr/bin:/bin"},
		Dir: dir,
	}, signals)
}

// guest is process 1. Only the modules needed to boot are loaded: the kernel loads
// others on demand, as on any machine.
func guest() runner.Guest {
	return runner.Guest{
		Root: enterRoot,
		Line: linkPort,
		Modules: func() {
			dir := os.Getenv(modulesVariable)
			if err := runner.LinkModules(dir, filepath.Base(dir)); err != nil {
				runner.Warnf("%v", err)
			}
			keepHooks()
		},
		// No socket can be bound on 9p, so temporary files are in memory.
		Env: []string{"TMPDIR=/dev/shm"},
	}
}

// keepHooks keeps a chain in each netfilter hook, in the first network namespace, which no
// test uses. The first chain of a hook and the end of the last one make the kernel patch
// its own code while the other processor runs it, and QEMU's translation sometimes executes
// a breakpoint there that is gone already ("Oops: int3", in NF_HOOK).
func keepHooks() {
	var text strings.Builder
	for _, family := range []string{"ip", "ip6", "arp"} {
		hooks := []string{"input", "output"}
		if family != "arp" {
			hooks = append(hooks, "prerouting", "forward", "postrouting")
		}
		fmt.Fprintf(&text, "add table %s kept\n", family)
		for _, hook := range hooks {
			fmt.Fprintf(&text, "add chain %s kept %s { type filter hook %s priority 0; }\n", family, hook, hook)
		}
	}
	nft := exec.Command("/usr/sbin/nft", "-f", "-")
	nft.Stdin = strings.NewReader(text.String())
	if out, err := nft.CombinedOutput(); err != nil {
		runner.Warnf("nft: %v: %s", err, out)
	}
}

// enterRoot leaves the initrd for this machine's root file system.
func enterRoot() error {
	files, err := filepath.Glob("/modules/*")
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := runner.LoadFile(f); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	if err := os.MkdirAll("/root", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("root", "/root", "9p", 0, "trans=virtio,version=9p2000.L,msize=512000,cache=loose"); err != nil {
		return fmt.Errorf("failed to mount the root file system: %w", err)
	}
	if err := unix.Chdir("/root"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}
