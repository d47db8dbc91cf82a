// Command uml runs a command on a kernel that has IPVS, and ends as it ends.
//
//	uml [flags] -- COMMAND ARGS…
//
// Where this machine's kernel has IPVS and we are root, the command runs right
// here, in network, mount and process namespaces of its own. Elsewhere a
// User-Mode Linux kernel is booted for it: an ordinary process whose root file
// system is this machine's. Folder, environment, the three streams and the
// exit status are the caller's in both. It changes nothing of this machine's
// network and leaves no process and no file behind.
//
// The same program is also what runs inside: process 1 of the guest, and
// process 1 of the process namespace around a kernel or a command.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Exit statuses of our own, as env(1) and timeout(1) have them.
const (
	exitTimeout       = 124
	exitFailed        = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

// Roles of this program when it is not the runner. They travel in the
// environment (a kernel passes NAME=value of its command line to init so).
const (
	roleVariable = "LVSD_LAB_ROLE"
	roleGuest    = "guest"
	roleCell     = "cell"
	roleDirect   = "direct"
)

func main() {
	// The kernel kills our child when the thread that made it ends: all children
	// are made by the main goroutine, and this thread lives as long as we do.
	runtime.LockOSThread()
	role := os.Getenv(roleVariable)
	os.Unsetenv(roleVariable)
	if os.Getpid() == 1 {
		switch role {
		case roleGuest:
			guestMain()
		case roleCell, roleDirect:
			os.Exit(cellMain(role == roleDirect, os.Args[1:]))
		}
	}
	os.Exit(runnerMain(os.Args[1:]))
}

// options are the runner's flags.
type options struct {
	mode    string
	mem     uint64 // bytes
	timeout time.Duration
	tty     bool
	verbose bool
	command []string
}

func runnerMain(args []string) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		complain("%v", err)
		return 2
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)

	status, err := run(o, signals)
	if err != nil {
		complain("%v", err)
	}
	return status
}

// run chooses the kernel.
func run(o options, signals <-chan os.Signal) (int, error) {
	direct := errors.New("not tried")
	if o.mode != "uml" {
		if direct = directProblem(); direct == nil {
			return runDirect(o, signals)
		}
		if o.mode == "direct" {
			return exitFailed, fmt.Errorf("this machine's kernel cannot be used: %w", direct)
		}
	}
	if err := umlProblem(); err != nil {
		return exitFailed, fmt.Errorf("no kernel with IPVS: this machine's: %w; User-Mode Linux: %w", direct, err)
	}
	return runUML(o, signals)
}

func parse(args []string) (options, error) {
	o := options{tty: isTerminal(0) && isTerminal(1)}
	f := flag.NewFlagSet("uml", flag.ContinueOnError)
	f.StringVar(&o.mode, "mode", "auto", "`KERNEL` to use: auto, direct (this machine's) or uml")
	mem := f.String("mem", "2G", "memory of a User-Mode Linux kernel: `SIZE` with M or G")
	f.DurationVar(&o.timeout, "timeout", 20*time.Minute, "end everything after this `TIME`")
	f.BoolVar(&o.tty, "tty", o.tty, "give the command a terminal (default: when stdin and stdout are one)")
	f.BoolVar(&o.verbose, "v", false, "say which kernel, and how long it took to boot")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: uml [flags] -- COMMAND ARGS…\nRuns a command on a kernel with IPVS: this machine's, or User-Mode Linux.")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.command = f.Args()
	if len(o.command) == 0 {
		f.Usage()
		return o, errors.New("no command given")
	}
	switch o.mode {
	case "auto", "direct", "uml":
	default:
		return o, fmt.Errorf("--mode %s: want auto, direct or uml", o.mode)
	}
	var err error
	o.mem, err = parseSize(*mem)
	return o, err
}

// minMem is below what a guest with nginx and a few daemons needs.
const minMem = 128 << 20

func parseSize(s string) (uint64, error) {
	shift := map[byte]int{'M': 20, 'G': 30}
	if s == "" || shift[s[len(s)-1]] == 0 {
		return 0, fmt.Errorf("--mem %s: want a number with M or G", s)
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 16)
	if err != nil {
		return 0, fmt.Errorf("--mem %s: want a number with M or G", s)
	}
	n <<= shift[s[len(s)-1]]
	if n < minMem {
		return 0, fmt.Errorf("--mem %s: want at least %dM", s, minMem>>20)
	}
	return n, nil
}

// lookPath finds a program as a shell would in the environment env, with the
// folders of root's programs added: Debian's other users do not have them.
func lookPath(name string, env []string) (path string, newEnv []string, err error) {
	const sbin = "/usr/local/sbin:/usr/sbin:/sbin"
	newEnv = make([]string, 0, len(env)+1)
	dirs := "/usr/local/bin:/usr/bin:/bin"
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			dirs = v
			continue
		}
		newEnv = append(newEnv, kv)
	}
	for _, d := range strings.Split(sbin, ":") {
		if !strings.Contains(":"+dirs+":", ":"+d+":") {
			dirs += ":" + d
		}
	}
	newEnv = append(newEnv, "PATH="+dirs)
	os.Setenv("PATH", dirs)
	path, err = exec.LookPath(name)
	return path, newEnv, err
}

// startStatus is the exit status for a command that could not be started.
func startStatus(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return exitNotFound
	}
	return exitNotExecutable
}

func complain(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "uml: "+format+"\n", args...)
}
