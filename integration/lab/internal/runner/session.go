// A kernel as a process of this machine, and a command in it, seen from the runner.

package runner

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SignalGrace is how long a command may take to end after a signal to the runner.
const SignalGrace = 5 * time.Second

// Kernel describes how a kernel is started. Descriptor 3 of its process is the link's
// other end.
type Kernel struct {
	What string // for messages
	Path string
	Args []string // without the program's name
	Env  []string
	Dir  string // files that it needs to boot, removed as soon as it has
}

// LinkFD is the link's descriptor in the kernel's process.
const LinkFD = 3

// machine is a kernel that runs.
type machine struct {
	Kernel
	cmd     *exec.Cmd
	celled  bool // in a process namespace: killing cmd kills all
	link    *os.File
	console *tail
	ended   chan struct{}
}

// Run boots a kernel, runs the command in it and returns its exit status, or one of
// ours and a note.
func (o Options) Run(k Kernel, signals <-chan os.Signal) (int, error) {
	defer os.RemoveAll(k.Dir)
	started := time.Now()
	j, err := newJob(o)
	if err != nil {
		return ExitFailed, err
	}
	defer holdModulesFolder()()
	m, err := start(k)
	if err != nil {
		return ExitFailed, err
	}
	defer m.kill()

	if j.TTY {
		restore, err := makeRaw(0)
		if err != nil {
			return ExitFailed, fmt.Errorf("failed to set the terminal: %w", err)
		}
		defer restore()
	}
	win := newWindow(m.link)
	s := &session{
		o: o, j: j, machine: m, window: win, w: &frameWriter{w: win},
		consumed: make(chan struct{}, 1), ready: make(chan struct{}), started: started,
	}
	status, note := s.run(signals)
	if note == "" {
		return status, nil
	}
	return status, errors.New(note)
}

func newJob(o Options) (job, error) {
	dir, err := os.Getwd()
	if err != nil {
		return job{}, err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return job{}, err
	}
	for _, own := range []string{"/run", "/dev", "/proc", "/sys"} {
		if real == own || strings.HasPrefix(real, own+"/") {
			return job{}, fmt.Errorf("the guest has a %s of its own and cannot work in %s: run it from another folder", own, dir)
		}
	}
	j := job{Args: o.Command, Env: os.Environ(), Dir: dir, TTY: o.TTY}
	if j.TTY {
		if !IsTerminal(0) {
			return job{}, errors.New("--tty: stdin is no terminal")
		}
		j.Rows, j.Columns = windowSize(0)
	}
	return j, nil
}

func start(k Kernel) (*machine, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "link of the guest")
	defer theirs.Close()
	m := &machine{Kernel: k, link: os.NewFile(uintptr(pair[0]), "link"), console: &tail{}, ended: make(chan struct{})}
	args := append([]string{k.Path}, k.Args...)
	for _, isolate := range []bool{true, false} {
		m.cmd = exec.Command(self, args...)
		m.cmd.Env = append(slices.Clone(k.Env), RoleVariable+"="+RoleCell)
		m.cmd.Stdout, m.cmd.Stderr = m.console, m.console
		m.cmd.ExtraFiles = []*os.File{theirs}
		m.cmd.SysProcAttr = cellAttributes()
		if !isolate {
			// Last resort where no process namespace may be made: the kernel itself, its group killed by us.
			m.cmd.Path, m.cmd.Args = k.Path, args
			m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		}
		if err = m.cmd.Start(); err == nil {
			m.celled = isolate
			break
		}
	}
	if err != nil {
		m.link.Close()
		return nil, fmt.Errorf("failed to start %s: %w", k.Path, err)
	}
	go func() {
		_ = m.cmd.Wait()
		close(m.ended)
	}()
	return m, nil
}

// cellAttributes puts the kernel and its helpers into a process namespace; without root
// this needs a user namespace, in which the user ID stays the same.
func cellAttributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	return a
}

// kill ends the kernel and all of its processes.
func (m *machine) kill() {
	if m.celled {
		_ = m.cmd.Process.Kill()
	} else {
		_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL)
	}
	<-m.ended
	m.link.Close()
}

// tail keeps the end of the kernel's console output.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailLimit = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-tailLimit):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(bytes.ReplaceAll(t.b, []byte("\r\n"), []byte("\n"))))
}

// session is one command in one guest, seen from the runner.
type session struct {
	o        Options
	j        job
	machine  *machine
	window   *window
	w        *frameWriter
	consumed chan struct{}
	ready    chan struct{}
	started  time.Time
}

// run ends with the command's exit status, or with our own and a note.
func (s *session) run(signals <-chan os.Signal) (int, string) {
	exit := make(chan exitReport, 1)
	lost := make(chan error, 1)
	go func() {
		report, err := s.receive()
		if err != nil {
			lost <- err
			return
		}
		exit <- report
	}()
	window := make(chan os.Signal, 1)
	if s.j.TTY {
		signal.Notify(window, syscall.SIGWINCH)
	}
	timeout := time.NewTimer(s.o.Timeout)
	defer timeout.Stop()
	booted := time.NewTimer(s.o.BootLimit)
	defer booted.Stop()
	var force <-chan time.Time
	var last syscall.Signal
	ready := s.ready
	for {
		select {
		case r := <-exit:
			return r.Status, r.Note
		case err := <-lost:
			if errors.Is(err, errOutput) {
				return ExitFailed, err.Error()
			}
			if !errors.Is(err, io.EOF) {
				return ExitFailed, fmt.Sprintf("lost the guest: %v%s", err, s.lastWords())
			}
			<-s.machine.ended // its output is complete then
			return ExitFailed, fmt.Sprintf("the guest's kernel ended before the command did (%v)%s", s.machine.cmd.ProcessState, s.lastWords())
		case <-ready:
			ready = nil
			booted.Stop()
			if s.o.Verbose {
				Warnf("on %s, ready after %v", s.machine.What, time.Since(s.started).Round(time.Millisecond))
			}
			go s.sendInput()
		case <-booted.C:
			return ExitFailed, fmt.Sprintf("the guest did not start the command within %v%s", s.o.BootLimit, s.lastWords())
		case sig := <-signals:
			last = sig.(syscall.Signal)
			if ready != nil || force != nil {
				return 128 + int(last), "ended by " + unix.SignalName(last)
			}
			_ = s.w.send(frameSignal, []byte{byte(last)})
			force = time.After(SignalGrace)
		case <-force:
			return 128 + int(last), fmt.Sprintf("the command did not end within %v of %s: ended with its kernel", SignalGrace, unix.SignalName(last))
		case <-window:
			rows, columns := windowSize(0)
			_ = s.w.send(frameWindow, []byte{byte(rows >> 8), byte(rows), byte(columns >> 8), byte(columns)})
		case <-timeout.C:
			return ExitTimeout, fmt.Sprintf("not done after %v (--timeout): ended%s", s.o.Timeout, s.lastWords())
		}
	}
}

func (s *session) lastWords() string {
	if words := s.machine.console.String(); words != "" {
		return "; its console said:\n" + words
	}
	return ""
}

var errOutput = errors.New("failed to pass the command's output on")

// receive handles the guest's frames until the command's end.
func (s *session) receive() (exitReport, error) {
	r := bufio.NewReaderSize(s.machine.link, 64<<10)
	for {
		k, content, err := readFrame(r)
		if err != nil {
			return exitReport{}, err
		}
		switch k {
		case frameHello:
			b, err := json.Marshal(s.j)
			if err != nil {
				return exitReport{}, err
			}
			// In another goroutine: the credit that it waits for is received here. A failure ends
			// the link.
			go func() { _ = s.w.send(frameJob, b) }()
			// The kernel has booted and no longer needs its files, and this process may be killed.
			os.RemoveAll(s.machine.Dir)
		case frameCredit:
			s.window.grant(content)
		case frameReady:
			close(s.ready)
		case frameStdout:
			_, err = os.Stdout.Write(content)
		case frameStderr:
			_, err = os.Stderr.Write(content)
		case frameConsumed:
			s.consumed <- struct{}{}
		case frameExit:
			var report exitReport
			err := json.Unmarshal(content, &report)
			return report, err
		default:
			return exitReport{}, fmt.Errorf("an unknown frame %q on the link", k)
		}
		if err != nil {
			return exitReport{}, fmt.Errorf("%w: %w", errOutput, err)
		}
	}
}

// sendInput sends stdin in chunks: the next one when the command has read the last, so
// that signals never wait behind input.
func (s *session) sendInput() {
	buf := make([]byte, chunk)
	for {
		n, err := os.Stdin.Read(buf)
		if n > 0 {
			if s.w.send(frameInput, buf[:n]) != nil {
				return
			}
			<-s.consumed
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, fs.ErrClosed) {
				Warnf("failed to read stdin: %v", err)
			}
			_ = s.w.send(frameInputEnd, nil)
			return
		}
	}
}
