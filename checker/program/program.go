// Package program runs the programs of others: of checks, of elections that
// track one, of notifications. No shell is between; a program is a process group
// of its own, which ends as a whole with it or at its deadline; it has none of
// our ambient capabilities and no real-time policy, and a bounded part of its
// output is kept. It decides nothing
// about what a program's end means.
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
	// outputDelay is how long is waited for the end of the output after the
	// program and its group ended: somebody may have left the group and hold it.
	outputDelay = 100 * time.Millisecond
	// killDelay is how long is waited for a group that was killed. A process that
	// waits for a dead disk cannot be.
	killDelay = 10 * outputDelay
)

// Program is what to run. No file of ours is open in it but the three streams.
type Program struct {
	Command     []string // the program, as an absolute path, and its arguments
	Environment []string // besides PATH, all that it has
	Input       []byte
	Credential  *syscall.Credential // nil: ours
	// Output is how many bytes of what it prints are kept.
	Output int
}

// Ending is how a program ended.
type Ending struct {
	Err    error // it could not be started
	Killed bool  // it had not ended when the context did
	Status syscall.WaitStatus
	Output string
}

// Path is the PATH of every program.
const Path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Run runs a program until it ends or the context does. Gone, when it is not
// nil, is called once when nothing is left of it, which may be later than Run's
// return where it could not be killed.
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
	ended := make(chan struct{})
	go func() {
		defer gone()
		defer close(ended)
		awaitExit(cmd.Process.Pid)
		// It is not reaped yet, so that its number is nobody else's: what is left
		// of its group goes with it.
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	select {
	case <-ended:
		return Ending{Status: cmd.ProcessState.Sys().(syscall.WaitStatus), Output: out.String()}
	case <-ctx.Done():
	}
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	timer := time.NewTimer(killDelay)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C: // nobody waits for it
	}
	return Ending{Killed: true, Output: out.String()}
}

// OK says that the program ended by itself, with exit code 0.
func (e Ending) OK() bool { return e.Err == nil && !e.Killed && e.Status == 0 }

// String is what is wrong with the ending, without what the program said; "" for
// a good one.
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

// start starts a program that has none of the capabilities which a service that
// is not root was given as ambient ones (capabilities(7)): they belong to the
// thread that forks, and that one ends here.
func start(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		started <- startHere(cmd)
	}()
	return <-started
}

// startHere is start on the caller's own thread. A kernel before 4.3 has no
// ambient capabilities, and its error is none.
func startHere(cmd *exec.Cmd) error {
	// Nor the real-time policy of the elections' process: a busy program must not
	// keep the election from the processor. Where the policy is ordinary nothing
	// changes, and what is ordinary is nobody's to refuse.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	// Nor is any left for a file that gives what is inheritable; to have fewer is
	// nobody's to refuse, either.
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if unix.Capget(&head, &sets[0]) == nil {
		sets[0].Inheritable, sets[1].Inheritable = 0, 0
		_ = unix.Capset(&head, &sets[0])
	}
	return cmd.Start()
}

// awaitExit waits until a child ended, and leaves it to be reaped.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// output keeps the beginning of what is written.
type output struct {
	limit int
	mu    sync.Mutex
	kept  []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, b[:min(len(b), o.limit-len(o.kept))]...)
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.kept)
}
