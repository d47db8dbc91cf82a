package program

import (
	"bytes"
	"context"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// outputDelay bounds the wait for the end of the output after the program and
	// its group ended: a process that left the group may still hold it.
	outputDelay = 100 * time.Millisecond
	// killDelay bounds the wait for a group that was killed: a process that waits
	// for a dead disk does not end.
	killDelay = 10 * outputDelay
)

// Program is what to run, without a shell. It inherits no file descriptor but the
// three streams.
type Program struct {
	Command     []string // the program, as an absolute path, and its arguments
	Environment []string // the whole environment besides Path
	Input       []byte
	Credential  *syscall.Credential // nil: that of lvsd
	// Output is how many bytes of its output are kept.
	Output int
}

// Ending is how a program ended.
type Ending struct {
	Err    error // why it could not be started
	Killed bool  // killed because the context ended
	Status syscall.WaitStatus
	Output string
}

// Path is the PATH of every program.
const Path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Run runs a program until it or the context ends. gone, if not nil, is called once
// when nothing is left of it: before Run returns, or later if it could not be killed.
func (p Program) Run(ctx context.Context, gone func()) Ending {
	if gone == nil {
		gone = func() {}
	}
	out := &output{limit: p.Output}
	cmd := &exec.Cmd{Path: p.Command[0], Args: p.Command, Env: append([]string{Path}, p.Environment...), Dir: "/", Stdout: out, Stderr: out,
		WaitDelay: outputDelay, SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Credential: p.Credential}}
	if len(p.Input) > 0 {
		cmd.Stdin = bytes.NewReader(p.Input)
	}
	if err := start(cmd); err != nil {
		gone()
		return Ending{Err: err}
	}
	started := &group{pid: cmd.Process.Pid}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer gone()
		awaitExit(cmd.Process.Pid)
		// It is not reaped yet: kill what is left of its group.
		started.kill()
		started.release()
		_ = cmd.Wait() // the status is in ProcessState
	}()
	select {
	case <-ended:
		return Ending{Status: cmd.ProcessState.Sys().(syscall.WaitStatus), Output: out.String()}
	case <-ctx.Done():
	}
	started.kill()
	timer := time.NewTimer(killDelay)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C: // left to the goroutine above
	}
	return Ending{Killed: true, Output: out.String()}
}

// group is the process group of a program. Until the program is reaped the number cannot
// belong to another group.
type group struct {
	pid int

	mu       sync.Mutex
	released bool
}

// kill kills the group, unless it was released.
func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.released {
		_ = unix.Kill(-g.pid, unix.SIGKILL)
	}
}

// release is called before the program is reaped.
func (g *group) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.released = true
}

// OK reports whether the program ended by itself with exit code 0.
func (e Ending) OK() bool { return e.Err == nil && !e.Killed && e.Status == 0 }

// String describes a failure, without the output; "" if e.OK().
func (e Ending) String() string {
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.Killed:
		return "killed at the deadline"
	case e.Status.Signaled():
		return "killed by " + unix.SignalName(e.Status.Signal())
	case e.Status.ExitStatus() != 0:
		return "exit code " + strconv.Itoa(e.Status.ExitStatus())
	}
	return ""
}

// start starts a program without the ambient capabilities (capabilities(7)) of lvsd.
// They belong to the thread that forks, which ends here.
func start(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		started <- startHere(cmd)
	}()
	return <-started
}

// startHere is start on the calling thread. Errors are ignored: a kernel before 4.3
// has no ambient capabilities.
func startHere(cmd *exec.Cmd) error {
	// Drop the real-time policy of the VRRP process: a busy program must not keep
	// it from the processor. Setting the ordinary policy needs no permission.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	// Clear the inheritable set too, which file capabilities could add to.
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if unix.Capget(&head, &sets[0]) == nil {
		sets[0].Inheritable, sets[1].Inheritable = 0, 0
		_ = unix.Capset(&head, &sets[0])
	}
	return cmd.Start()
}

// awaitExit waits until a child has exited, without reaping it.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// output keeps the first bytes that are written.
type output struct {
	limit int
	mu    sync.Mutex
	buf   []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, b[:min(len(b), o.limit-len(o.buf))]...)
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.buf)
}
