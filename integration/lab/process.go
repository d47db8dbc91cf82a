// Programs that run on a host: started in its namespace, with their output recorded,
// signalled and ended by their own process ID.

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// outputLimit bounds what is kept in memory of one process; the file has all of it.
	outputLimit = 16 << 20
	// endGrace is how long a process may take to end after SIGTERM at the end of a test.
	endGrace = 5 * time.Second
	// pipeGrace is how long output is read after the process has ended, while a child of it
	// still holds the pipe.
	pipeGrace = 2 * time.Second
)

// Command is a program with its arguments, environment and folder.
type Command struct {
	Args []string
	Env  []string // added to this program's environment; the later one wins
	Dir  string   // "" is this program's
	Name string   // of the log file; "" is made of host and program
}

// Process is a program running on a host, in a process group of its own. The kernel
// kills it when this program ends.
type Process struct {
	host *Host
	name string
	cmd  *exec.Cmd
	log  string
	out  *output
	done chan struct{}
	err  error // of Wait; valid once done is closed
}

// Start runs a program on the host and returns at once. A program that cannot
// be started ends the test.
func (h *Host) Start(args ...string) *Process {
	h.lab.tb.Helper()
	return h.StartCommand(Command{Args: args})
}

// StartCommand is Start with an environment, a folder or a name.
func (h *Host) StartCommand(c Command) *Process {
	h.lab.tb.Helper()
	p, err := h.start(c)
	h.lab.must(err, "start %s on %s", strings.Join(c.Args, " "), h.Name)
	return p
}

// Run runs a program on the host to its end and returns its stdout and stderr, mixed.
// The error is an *exec.ExitError where the program ran and failed. When ctx ends first
// its process group is killed.
func (h *Host) Run(ctx context.Context, args ...string) (string, error) {
	p, err := h.start(Command{Args: args})
	if err != nil {
		return "", fmt.Errorf("failed to start %s on %s: %w", strings.Join(args, " "), h.Name, err)
	}
	defer p.forget()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
		<-p.done
		return p.Output(), fmt.Errorf("%s on %s: %w", strings.Join(args, " "), h.Name, context.Cause(ctx))
	}
	return p.Output(), p.err
}

// MustRun is Run with a limit of 30 s; a failure ends the test and shows the output.
func (h *Host) MustRun(args ...string) string {
	h.lab.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := h.Run(ctx, args...)
	if err != nil {
		h.lab.tb.Fatalf("%s: %s: %v\n%s", h.Name, strings.Join(args, " "), err, out)
	}
	return out
}

func (h *Host) start(c Command) (*Process, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("no program given")
	}
	if c.Name == "" {
		c.Name = h.Name + "-" + filepath.Base(c.Args[0])
	}
	f, err := os.CreateTemp(h.lab.dir, c.Name+"-*.log")
	if err != nil {
		return nil, err
	}
	p := &Process{
		host: h,
		name: c.Name,
		cmd:  exec.Command(c.Args[0], c.Args[1:]...),
		log:  f.Name(),
		out:  &output{file: f, more: make(chan struct{})},
		done: make(chan struct{}),
	}
	p.cmd.Dir = c.Dir
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.WaitDelay = pipeGrace
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := h.ns.onThread(p.cmd.Start); err != nil {
		f.Close()
		return nil, err
	}
	h.lab.mu.Lock()
	h.lab.procs = append(h.lab.procs, p)
	h.lab.mu.Unlock()
	go func() {
		err := p.cmd.Wait()
		// A child that kept the pipe does not make the program itself a failure.
		if errors.Is(err, exec.ErrWaitDelay) && p.cmd.ProcessState.Success() {
			err = nil
		}
		p.err = err
		p.out.close()
		close(p.done)
	}()
	return p, nil
}

// forget removes an ended process from the lab's list, so that a test that runs
// thousands of commands does not keep the output of all.
func (p *Process) forget() {
	l := p.host.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, q := range l.procs {
		if q == p {
			l.procs = append(l.procs[:i:i], l.procs[i+1:]...)
			break
		}
	}
	os.Remove(p.log)
}

// String names the process for messages: "lb1-lvsd[1234]".
func (p *Process) String() string { return fmt.Sprintf("%s[%d]", p.name, p.Pid()) }

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Host is where it runs.
func (p *Process) Host() *Host { return p.host }

// LogFile is the path of the file with all of its output.
func (p *Process) LogFile() string { return p.log }

// Output is what the process wrote so far, stdout and stderr mixed, at most
// the last 16 MiB.
func (p *Process) Output() string { return p.out.String() }

// Tail is the last n lines of Output.
func (p *Process) Tail(n int) string {
	lines := strings.SplitAfter(p.Output(), "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

// Done is closed when the process has ended and all of its output is here.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits for the end of the process: nil when it exited with 0, an
// *exec.ExitError when not, the context's error when that comes first.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%s still runs: %w", p, context.Cause(ctx))
	}
}

// ExitCode is the exit status, 128 + the signal for a process killed by one,
// -1 while it runs.
func (p *Process) ExitCode() int {
	if p.Running() {
		return -1
	}
	ws := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// Signal sends a signal to the process alone; an ended one is an error.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill sends SIGKILL to the process and its children, and does not wait.
func (p *Process) Kill() { p.group(syscall.SIGKILL) }

// Terminate sends SIGTERM to the process alone, as a service manager does, and does not
// wait.
func (p *Process) Terminate() { _ = p.Signal(syscall.SIGTERM) }

// Stop stops the process and its children (SIGSTOP) until Cont.
func (p *Process) Stop() { p.group(syscall.SIGSTOP) }

// Cont ends Stop.
func (p *Process) Cont() { p.group(syscall.SIGCONT) }

// group signals the process group, which still exists while children live.
func (p *Process) group(sig syscall.Signal) {
	err := syscall.Kill(-p.Pid(), sig)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		p.host.lab.tb.Logf("failed to send %v to %s: %v", sig, p, err)
	}
}

// end ends the process by SIGTERM, then by SIGKILL, and what is left of its group.
func (p *Process) end() {
	if p.Running() {
		p.Cont()
		p.Terminate()
		t := time.NewTimer(endGrace)
		defer t.Stop()
		select {
		case <-p.done:
		case <-t.C:
			p.host.lab.tb.Logf("%s did not end within %v of SIGTERM and is killed", p, endGrace)
		}
	}
	p.Kill()
	<-p.done
}

// WaitOutput waits until the output contains text and returns how long that
// took. It is an error when the limit or the process ends first.
func (p *Process) WaitOutput(limit time.Duration, text string) (time.Duration, error) {
	start := time.Now()
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		more := p.out.changed()
		if strings.Contains(p.Output(), text) {
			return time.Since(start), nil
		}
		select {
		case <-more:
		case <-p.done:
			if strings.Contains(p.Output(), text) {
				return time.Since(start), nil
			}
			return time.Since(start), fmt.Errorf("%s ended (status %d) without saying %q:\n%s", p, p.ExitCode(), text, p.Tail(20))
		case <-t.C:
			return time.Since(start), fmt.Errorf("%s did not say %q within %v:\n%s", p, text, limit, p.Tail(20))
		}
	}
}

// output keeps what a process writes, in a file and in memory.
type output struct {
	mu   sync.Mutex
	file io.WriteCloser
	buf  bytes.Buffer
	more chan struct{} // closed and replaced at every write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(b)
	if over := o.buf.Len() - outputLimit; over > 0 {
		o.buf.Next(over)
	}
	close(o.more)
	o.more = make(chan struct{})
	// A full disk must not stop the process; memory still has the output.
	_, _ = o.file.Write(b)
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.more
}

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.file.Close()
}
