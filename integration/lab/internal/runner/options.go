// Options that the runners share.

package runner

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Exit statuses of our own, as env(1) and timeout(1) have them.
const (
	ExitTimeout       = 124
	ExitFailed        = 125
	ExitNotExecutable = 126
	ExitNotFound      = 127
)

// RoleVariable names what a program is when it is not the runner. It is in the
// environment: a kernel passes NAME=value of its command line to init.
const RoleVariable = "LVSD_LAB_ROLE"

// Roles that every runner has.
const (
	RoleGuest = "guest" // process 1 of the kernel
	RoleCell  = "cell"  // process 1 of the process namespace around the kernel
)

// BootedVariable is set for commands in a kernel that a runner booted for them.
const BootedVariable = "LVSD_LAB_BOOTED"

// Name is the program's, for its messages.
var Name = "runner"

// Options are the flags that every runner has.
type Options struct {
	Mem       Size
	Timeout   time.Duration // of the whole run
	BootLimit time.Duration
	TTY       bool
	Verbose   bool
	Command   []string
}

// Flags adds the flags to f; the fields that are set are their defaults.
func (o *Options) Flags(f *flag.FlagSet) {
	o.TTY = IsTerminal(0) && IsTerminal(1)
	f.Var(&o.Mem, "mem", "memory of the kernel that is booted: `SIZE` with M or G")
	f.DurationVar(&o.Timeout, "timeout", o.Timeout, "end everything after this `TIME`")
	f.BoolVar(&o.TTY, "tty", o.TTY, "give the command a terminal (default: when stdin and stdout are one)")
	f.BoolVar(&o.Verbose, "v", false, "say which kernel, and how long it took to boot")
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: %s [flags] -- COMMAND ARGS…\n", f.Name())
		f.PrintDefaults()
	}
}

// Parse parses the flags of f; the remaining arguments are the command.
func (o *Options) Parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.Command = f.Args(); len(o.Command) == 0 {
		f.Usage()
		return errors.New("no command given")
	}
	return nil
}

// minMem is below what a guest with nginx and a few daemons needs.
const minMem = 128 << 20

// Size is a number of bytes, written with M or G.
type Size uint64

// String is the size as Set reads it.
func (s *Size) String() string {
	if *s != 0 && *s%(1<<30) == 0 {
		return fmt.Sprintf("%dG", *s>>30)
	}
	return fmt.Sprintf("%dM", *s>>20)
}

// Set implements flag.Value.
func (s *Size) Set(text string) error {
	shift := map[byte]int{'M': 20, 'G': 30}
	if text == "" || shift[text[len(text)-1]] == 0 {
		return errors.New("want a number with M or G")
	}
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 16)
	if err != nil {
		return errors.New("want a number with M or G")
	}
	if n <<= shift[text[len(text)-1]]; n < minMem {
		return fmt.Errorf("want at least %dM", minMem>>20)
	}
	*s = Size(n)
	return nil
}

// Main runs the runner: parse reads the command line, run does the rest and
// returns the exit status, with an error for people.
func Main(args []string, parse func([]string) error, run func(signals <-chan os.Signal) (int, error)) int {
	switch err := parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		Warnf("%v", err)
		return 2
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	status, err := run(signals)
	if err != nil {
		Warnf("%v", err)
	}
	return status
}

// LookPath finds a program as a shell would in the environment env, with the
// folders of root's programs added: Debian's other users do not have them.
func LookPath(name string, env []string) (path string, newEnv []string, err error) {
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

// StartStatus is the exit status for a command that could not be started.
func StartStatus(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return ExitNotFound
	}
	return ExitNotExecutable
}

// Warnf writes a message of the runner's own to stderr.
func Warnf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, Name+": "+format+"\n", args...)
}
