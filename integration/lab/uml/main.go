// Command uml runs a command on a kernel that has IPVS, and exits with its status.
//
//	uml [flags] -- COMMAND ARGS…
//
// If this machine's kernel has IPVS and the user is root, the command runs on it, in
// network, mount and process namespaces of its own. Elsewhere a User-Mode Linux kernel
// is booted for it: an ordinary process whose root file system is this machine's.
// Folder, environment, the three streams and the exit status are the caller's in both.
// It changes nothing of this machine's network and leaves no process and no file
// behind.
//
// The same program is also what runs inside: process 1 of the guest, and
// process 1 of the process namespace around a kernel or a command.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"lvsd/integration/lab/internal/runner"
)

// roleDirect is this program around a command on this machine's own kernel.
const roleDirect = "direct"

func main() {
	// The kernel kills a child when the thread that started it ends: all children are
	// started by the main goroutine, whose thread lives as long as the process.
	runtime.LockOSThread()
	runner.Name = "uml"
	role := os.Getenv(runner.RoleVariable)
	os.Unsetenv(runner.RoleVariable)
	if os.Getpid() == 1 {
		switch role {
		case runner.RoleGuest:
			runner.Guest{Line: "/dev/ttyS0", Terminal: true, Modules: loadModules}.Main()
		case runner.RoleCell:
			os.Exit(runner.KernelCell(os.Args[1:]))
		case roleDirect:
			os.Exit(directCell(os.Args[1:]))
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
	mode   string
	kernel string
	folder string // of the fetched kernels
}

// run chooses the kernel.
func run(o options, signals <-chan os.Signal) (int, error) {
	direct := errors.New("not tried")
	if o.mode != "uml" {
		if direct = directProblem(); direct == nil {
			return runDirect(o, signals)
		}
		if o.mode == "direct" {
			return runner.ExitFailed, fmt.Errorf("this machine's kernel cannot be used: %w", direct)
		}
	}
	err := inside()
	var k kernel
	if err == nil {
		k, err = chooseKernel(o)
	}
	if err != nil {
		return runner.ExitFailed, fmt.Errorf("no kernel with IPVS: this machine's: %w; User-Mode Linux: %w", direct, err)
	}
	return runUML(o, k, signals)
}

func parse(args []string) (options, error) {
	// A boot takes 1 to 5 s; the limit is far above that.
	o := options{Options: runner.Options{Mem: 2 << 30, Timeout: 20 * time.Minute, BootLimit: 90 * time.Second}}
	if self, err := os.Executable(); err == nil {
		o.folder = filepath.Join(filepath.Dir(self), "kernels")
	}
	f := flag.NewFlagSet("uml", flag.ContinueOnError)
	f.StringVar(&o.kernel, "kernel", "fetched", "which User-Mode Linux: `fetched` or installed")
	f.StringVar(&o.folder, "kernels", o.folder, "`FOLDER` into which kernels are fetched")
	f.StringVar(&o.mode, "mode", "auto", "`KERNEL` to use: auto, direct (this machine's) or uml")
	o.Flags(f)
	if err := o.Parse(f, args); err != nil {
		return o, err
	}
	switch o.mode {
	case "auto", "direct", "uml":
	default:
		return o, fmt.Errorf("--mode %s: want auto, direct or uml", o.mode)
	}
	if o.kernel != "fetched" && o.kernel != "installed" {
		return o, fmt.Errorf("--kernel %s: want fetched or installed", o.kernel)
	}
	return o, nil
}
