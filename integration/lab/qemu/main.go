// Command qemu runs a command on a Debian kernel with several processors, booted under
// QEMU, and exits with its status.
//
//	qemu [--kernel 6.12] [flags] -- COMMAND ARGS…
//
// The root file system is this machine's, over 9p. Folder, environment, the three
// streams and the exit status are the caller's. The kernels are Debian's packages,
// which are fetched with apt and unpacked beside this program; nothing is
// installed, and no process and no other file is left behind.
//
// The same program is also what runs inside: process 1 of the guest, and process
// 1 of the process namespace around QEMU.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"lvsd/integration/lab/internal/runner"
)

func main() {
	// The kernel kills a child when the thread that started it ends: all children are
	// started by the main goroutine, whose thread lives as long as the process.
	runtime.LockOSThread()
	runner.Name = "qemu"
	role := os.Getenv(runner.RoleVariable)
	os.Unsetenv(runner.RoleVariable)
	if os.Getpid() == 1 {
		switch role {
		case runner.RoleGuest:
			guest().Main()
		case runner.RoleCell:
			os.Exit(runner.KernelCell(os.Args[1:]))
		}
	}
	var o options
	os.Exit(runner.Main(os.Args[1:], func(args []string) (err error) {
		o, err = parse(args)
		return err
	}, func(signals <-chan os.Signal) (int, error) { return run(o, signals) }))
}

// options are the runner's flags.
type options struct {
	runner.Options
	kernel string
	cpus   int
	accel  string
	folder string // of the kernels
}

func parse(args []string) (options, error) {
	// Without KVM a boot takes ten seconds, and much longer on a busy machine.
	o := options{Options: runner.Options{Mem: 3 << 30, Timeout: 20 * time.Minute, BootLimit: 5 * time.Minute}}
	if self, err := os.Executable(); err == nil {
		o.folder = filepath.Join(filepath.Dir(self), "kernels")
	}
	f := flag.NewFlagSet("qemu", flag.ContinueOnError)
	f.StringVar(&o.kernel, "kernel", releases[len(releases)-1].kernel, "`VERSION` of the kernel: "+strings.Join(versions(), ", "))
	f.IntVar(&o.cpus, "cpus", 2, "`NUMBER` of processors")
	f.StringVar(&o.accel, "accel", "tcg", "how QEMU runs it: tcg (software, everywhere) or kvm")
	f.StringVar(&o.folder, "kernels", o.folder, "`FOLDER` into which kernels are fetched")
	o.Flags(f)
	if err := o.Parse(f, args); err != nil {
		return o, err
	}
	switch {
	case !slices.Contains(versions(), o.kernel):
		return o, fmt.Errorf("--kernel %s: want one of %s", o.kernel, strings.Join(versions(), ", "))
	case o.cpus < 1:
		return o, fmt.Errorf("--cpus %d: want at least 1", o.cpus)
	case o.accel != "tcg" && o.accel != "kvm":
		return o, fmt.Errorf("--accel %s: want tcg or kvm", o.accel)
	}
	return o, nil
}
