// Booting User-Mode Linux and carrying a command's streams to it.

package main

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
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	umlKernel = "/usr/bin/linux.uml"
	// linkFD is the link's descriptor in the kernel's process.
	linkFD = 3
	// bootLimit is far above the 1 to 5 s that a boot takes.
	bootLimit = 90 * time.Second
	// signalGrace is what a command gets to end after a signal to the runner.
	signalGrace = 5 * time.Second
)

func umlProblem() error {
	if _, err := os.Stat(umlKernel); err != nil {
		return fmt.Errorf("%s is missing (make deps installs Debian's user-mode-linux)", umlKernel)
	}
	if _, err := os.Stat(umlModules); err != nil {
		return fmt.Errorf("its modules are missing: %w", err)
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil && bytes.Contains(b, []byte("User Mode Linux")) {
		return errors.New("this is one already, and it does not run in itself")
	}
	return nil
}

// kernel is a running User-Mode Linux.
type kernel struct {
	cmd     *exec.Cmd
	celled  bool // in a process namespace: killing cmd kills all
	link    *os.File
	console *tail
	dir     string
	ended   chan struct{}
}

func runUML(o options, signals <-chan os.Signal) (int, error) {
	started := time.Now()
	j, err := newJob(o)
	if err != nil {
		return exitFailed, err
	}
	defer holdModulesFolder()()
	k, err := boot(o)
	if err != nil {
		return exitFailed, err
	}
	defer k.kill()

	if j.TTY {
		restore, err := makeRaw(0)
		if err != nil {
			return exitFailed, fmt.Errorf("failed to set the terminal: %w", err)
		}
		defer restore()
	}
	win := newWindow(k.link)
	s := &session{
		o: o, j: j, kernel: k, window: win, w: &frameWriter{w: win},
		consumed: make(chan struct{}, 1), ready: make(chan struct{}), started: started,
	}
	status, note := s.run(signals)
	if note == "" {
		return status, nil
	}
	return status, errors.New(note)
}

func newJob(o options) (job, error) {
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
	j := job{Args: o.command, Env: os.Environ(), Dir: dir, TTY: o.tty}
	if j.TTY {
		if !isTerminal(0) {
			return job{}, errors.New("--tty: stdin is no terminal")
		}
		j.Rows, j.Columns = windowSize(0)
	}
	return j, nil
}

// memoryFolder is where the kernel's memory can be: a file that it removes at
// once, as large as the memory that is really used. It must be executable.
func memoryFolder(size uint64) (string, error) {
	var why []string
	for _, dir := range []string{"/dev/shm", os.TempDir(), "/var/tmp"} {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			why = append(why, fmt.Sprintf("%s: %v", dir, err))
			continue
		}
		free := st.Bavail * uint64(st.Bsize)
		switch {
		case st.Flags&unix.ST_NOEXEC != 0:
			why = append(why, dir+" is mounted noexec")
		case free < size:
			why = append(why, fmt.Sprintf("%s has %d MiB left", dir, free>>20))
		default:
			return dir, nil
		}
	}
	return "", fmt.Errorf("no room for %d MiB of memory (--mem): %s", size>>20, strings.Join(why, ", "))
}

func boot(o options) (*kernel, error) {
	memory, err := memoryFolder(o.mem)
	if err != nil {
		return nil, err
	}
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
	k := &kernel{link: os.NewFile(uintptr(pair[0]), "link"), console: &tail{}, ended: make(chan struct{})}
	if k.dir, err = os.MkdirTemp("", "lvsd-uml-"); err != nil {
		k.link.Close()
		return nil, err
	}
	args := []string{
		umlKernel,
		fmt.Sprintf("mem=%dM", o.mem>>20),
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw",
		"init=" + self, roleVariable + "=" + roleGuest,
		"con=null", "con0=null,fd:1", "ssl=null", fmt.Sprintf("ssl0=fd:%d", linkFD),
		"uml_dir=" + k.dir, "umid=lab", "quiet",
	}
	for _, isolate := range []bool{true, false} {
		k.cmd = exec.Command(self, args...)
		k.cmd.Env = []string{"TMPDIR=" + memory, "HOME=" + k.dir, "PATH=/usr/bin:/bin", roleVariable + "=" + roleCell}
		k.cmd.Stdout, k.cmd.Stderr = k.console, k.console
		k.cmd.ExtraFiles = []*os.File{theirs}
		k.cmd.SysProcAttr = cellAttributes()
		if !isolate {
			// Last resort where no process namespace may be made: the kernel itself, its group killed by us.
			k.cmd.Path, k.cmd.Args = umlKernel, args
			k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		}
		if err = k.cmd.Start(); err == nil {
			k.celled = isolate
			break
		}
	}
	if err != nil {
		k.link.Close()
		os.RemoveAll(k.dir)
		return nil, fmt.Errorf("failed to start %s: %w", umlKernel, err)
	}
	go func() {
		_ = k.cmd.Wait()
		close(k.ended)
	}()
	return k, nil
}

// cellAttributes puts the kernel and its helpers into a process namespace; who
// is not root needs a user namespace for that, in which he stays himself.
func cellAttributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	return a
}

// kill ends the kernel and all of its processes, and removes its files.
func (k *kernel) kill() {
	if k.celled {
		_ = k.cmd.Process.Kill()
	} else {
		_ = syscall.Kill(-k.cmd.Process.Pid, syscall.SIGKILL)
	}
	<-k.ended
	k.link.Close()
	os.RemoveAll(k.dir)
}

// tail keeps the end of what the kernel's console said.
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
	o        options
	j        job
	kernel   *kernel
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
	timeout := time.NewTimer(s.o.timeout)
	defer timeout.Stop()
	booted := time.NewTimer(bootLimit)
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
				return exitFailed, err.Error()
			}
			if !errors.Is(err, io.EOF) {
				return exitFailed, fmt.Sprintf("lost the guest: %v%s", err, s.lastWords())
			}
			<-s.kernel.ended // its last words are complete then
			return exitFailed, fmt.Sprintf("the guest's kernel ended before the command did (%v)%s", s.kernel.cmd.ProcessState, s.lastWords())
		case <-ready:
			ready = nil
			booted.Stop()
			if s.o.verbose {
				complain("on User-Mode Linux, ready after %v", time.Since(s.started).Round(time.Millisecond))
			}
			go s.sendInput()
		case <-booted.C:
			return exitFailed, fmt.Sprintf("the guest did not start the command within %v%s", bootLimit, s.lastWords())
		case sig := <-signals:
			last = sig.(syscall.Signal)
			if ready != nil || force != nil {
				return 128 + int(last), "ended by " + unix.SignalName(last)
			}
			_ = s.w.send(frameSignal, []byte{byte(last)})
			force = time.After(signalGrace)
		case <-force:
			return 128 + int(last), fmt.Sprintf("the command did not end within %v of %s: ended with its kernel", signalGrace, unix.SignalName(last))
		case <-window:
			rows, columns := windowSize(0)
			_ = s.w.send(frameWindow, []byte{byte(rows >> 8), byte(rows), byte(columns >> 8), byte(columns)})
		case <-timeout.C:
			return exitTimeout, fmt.Sprintf("not done after %v (--timeout): ended%s", s.o.timeout, s.lastWords())
		}
	}
}

func (s *session) lastWords() string {
	if words := s.kernel.console.String(); words != "" {
		return "; its console said:\n" + words
	}
	return ""
}

var errOutput = errors.New("failed to pass the command's output on")

// receive obeys the guest until the command's end.
func (s *session) receive() (exitReport, error) {
	r := bufio.NewReaderSize(s.kernel.link, 64<<10)
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
			// Not from here: the credit that it waits for comes in here. A failure
			// shows as the end of the link.
			go func() { _ = s.w.send(frameJob, b) }()
			// The kernel has made and needs its files no more, and we may be killed.
			os.RemoveAll(s.kernel.dir)
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

// sendInput carries stdin over, a chunk at a time: the next one when the
// command took the last, so that signals never wait behind input.
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
				complain("failed to read stdin: %v", err)
			}
			_ = s.w.send(frameInputEnd, nil)
			return
		}
	}
}
