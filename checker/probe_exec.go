// This file is the probe of type "exec": a program whose exit code is the result.
// No shell is between; whatever the program started ends with it, or at the
// deadline.

package checker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// programLimit is how many programs run at once: hundreds of them would
	// take the processor from the daemon itself. The others wait, within their
	// time.
	programLimit = 32
	// outputLimit bounds what is kept of a program's output, in bytes.
	outputLimit = 1 << 10
	// outputDelay is how long is waited for the end of the output after the
	// program and its group ended: somebody may have left the group and hold it.
	outputDelay = 100 * time.Millisecond
)

// programs are the places for programs.
var programs = make(chan struct{}, programLimit)

type execProbe struct {
	command     []string
	environment []string
	credential  *syscall.Credential // nil: ours
}

func newExecProbe(c *Check) (prober, error) {
	if len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]) {
		return nil, errors.New("no program, as an absolute path")
	}
	p := &execProbe{command: c.Command, environment: []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LVSD_SERVICE=" + c.Service,
		"LVSD_REAL_SERVER=" + c.Server,
		"LVSD_ADDRESS=" + c.Address.Addr().Unmap().String(),
		"LVSD_PORT=" + strconv.Itoa(int(c.Address.Port())),
	}}
	if c.User != "" {
		var err error
		if p.credential, err = credentialOf(c.User); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// credentialOf is what a user may do, with all groups; nil is what we may.
func credentialOf(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	groups, err3 := u.GroupIds()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	if int(uid) == os.Geteuid() && int(gid) == os.Getegid() {
		return nil, nil
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for _, g := range groups {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		c.Groups = append(c.Groups, uint32(n))
	}
	return c, nil
}

func (p *execProbe) probe(ctx context.Context, deadline time.Time) outcome {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case programs <- struct{}{}:
	case <-timer.C:
		return end(Local, PhaseRun, fmt.Sprintf("%d other programs of checks are running", programLimit))
	case <-ctx.Done():
		return outcome{}
	}
	var out output
	cmd := &exec.Cmd{Path: p.command[0], Args: p.command, Env: p.environment, Dir: "/", Stdout: &out, Stderr: &out, WaitDelay: outputDelay,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Credential: p.credential}}
	if err := startPlain(cmd); err != nil {
		<-programs
		return end(Local, PhaseRun, printable("failed to run "+p.command[0]+": "+brief(err), detailLimit))
	}
	ended := make(chan struct{})
	go func() {
		defer func() { close(ended); <-programs }()
		awaitExit(cmd.Process.Pid)
		// It is not reaped yet, so that its number is nobody else's: what is left
		// of its group goes with it.
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		cmd.Wait() // how it ended is in ProcessState
	}()
	select {
	case <-ended:
		return judgeProgram(cmd.ProcessState.Sys().(syscall.WaitStatus), out.String())
	case <-timer.C:
	case <-ctx.Done():
	}
	unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	// A process that waits for a dead disk cannot be killed. It keeps its place;
	// nobody waits for it.
	timer.Reset(10 * outputDelay)
	select {
	case <-ended:
	case <-timer.C:
	}
	detail := "killed at the deadline"
	if said := out.String(); said != "" {
		detail += ": " + said
	}
	return end(Timeout, PhaseRun, printable(detail, detailLimit))
}

// judgeProgram maps how a program ended. A lone percentage on the first line is
// its word about the weight.
func judgeProgram(status syscall.WaitStatus, said string) outcome {
	detail := ""
	switch {
	case status.Signaled():
		detail = "killed by " + unix.SignalName(status.Signal())
	case status.ExitStatus() != 0:
		detail = "exit code " + strconv.Itoa(status.ExitStatus())
	}
	if detail != "" {
		if said != "" {
			detail += ": " + said
		}
		return end(Exec, PhaseRun, printable(detail, detailLimit))
	}
	out := end(OK, PhaseRun, printable(said, detailLimit))
	weight := nothingSaid
	if percent, ok := lonePercentage(said); ok {
		weight.weight = percent
	}
	out.said = &weight
	return out
}

func (p *execProbe) resume(said) {} // each run says all of it

// startPlain starts a program that has none of the capabilities which a service
// that is not root was given as ambient ones (capabilities(7)): they belong to the
// thread that forks, and that one ends here.
func startPlain(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		started <- startPlainHere(cmd)
	}()
	return <-started
}

// startPlainHere is startPlain on the caller's own thread. A kernel before 4.3 has
// no ambient capabilities, and its error is none.
func startPlainHere(cmd *exec.Cmd) error {
	unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	return cmd.Start()
}

// awaitExit waits until a child ended, and leaves it to be reaped.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// output keeps the beginning of what is written.
type output struct {
	mu   sync.Mutex
	kept []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, b[:min(len(b), outputLimit-len(o.kept))]...)
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.kept)
}
