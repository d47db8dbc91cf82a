// Process 1 of a booted kernel: makes it a small machine, runs one command and
// reports.

package runner

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// drainGrace is how long output is read after the command has ended while a child of it
// holds the stream.
const drainGrace = 2 * time.Second

// Guest has what is specific to one kind of kernel.
type Guest struct {
	Root     func() error // makes / the root file system of the machine below; nil: it is
	Line     string       // device of the link, a pattern
	Terminal bool         // the line is a terminal: it is set raw
	Modules  func()       // loads modules, /proc, /dev and /run being there
	Env      []string     // NAME=value, instead of the caller's
}

// Main never returns: the runner ends the kernel.
func (g Guest) Main() {
	if err := g.run(); err != nil {
		// To the console, whose last lines the runner shows.
		fmt.Fprintf(os.Stderr, "guest: %v\n", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func (g Guest) run() error {
	if g.Root != nil {
		if err := g.Root(); err != nil {
			return err
		}
	}
	if err := guestMounts(); err != nil {
		return err
	}
	line, err := openLine(g.Line)
	if err != nil {
		return err
	}
	if g.Terminal {
		if err := rawLine(line); err != nil {
			return fmt.Errorf("%s: %w", g.Line, err)
		}
	}
	w := &frameWriter{w: line}
	if err := w.send(frameHello, nil); err != nil {
		return err
	}
	r := bufio.NewReader(&creditReader{line, w})
	k, content, err := readFrame(r)
	if err != nil || k != frameJob {
		return fmt.Errorf("no job came over the link: %c, %w", k, err)
	}
	var j job
	if err := json.Unmarshal(content, &j); err != nil {
		return err
	}
	for _, kv := range append(g.Env, BootedVariable+"=1") {
		name, _, _ := strings.Cut(kv, "=")
		j.Env = slices.DeleteFunc(j.Env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		j.Env = append(j.Env, kv)
	}
	if err := Network(); err != nil {
		return err
	}
	g.Modules()
	report := runJob(j, r, w)
	// Everything the command wrote must be on the real disk before the kernel is killed.
	unix.Sync()
	b, err := json.Marshal(report)
	if err != nil {
		return err
	}
	if err := w.send(frameExit, b); err != nil {
		return err
	}
	// The runner ends this process; if it does not, the kernel is switched off.
	time.Sleep(10 * time.Second)
	return nil
}

// openLine opens the first device that matches, which a driver may make a moment later.
func openLine(pattern string) (*os.File, error) {
	for begun := time.Now(); time.Since(begun) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		if devices, _ := filepath.Glob(pattern); len(devices) > 0 {
			// O_NONBLOCK so that the runtime polls the line instead of spending a thread on it.
			return os.OpenFile(devices[0], os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
		}
	}
	return nil, fmt.Errorf("there is no %s", pattern)
}

func rawLine(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var rerr error
	if err := raw.Control(func(fd uintptr) { _, rerr = makeRaw(int(fd)) }); err != nil {
		return err
	}
	return rerr
}

// guestMounts covers what of the host's file system must be the guest's own.
// /tmp, /home and the rest stay the host's: the command's files are there.
func guestMounts() error {
	for _, m := range []struct{ source, target, kind, data string }{
		{"proc", "/proc", "proc", ""},
		{"sysfs", "/sys", "sysfs", ""},
		{"devtmpfs", "/dev", "devtmpfs", ""},
		{"tmpfs", "/run", "tmpfs", "mode=755"},
		{"tmpfs", "/dev/shm", "tmpfs", "mode=1777"},
		{"devpts", "/dev/pts", "devpts", "mode=620,ptmxmode=666"},
	} {
		if strings.HasPrefix(m.target, "/dev/") {
			if err := os.MkdirAll(m.target, 0o755); err != nil {
				return err
			}
		}
		err := unix.Mount(m.source, m.target, m.kind, 0, m.data)
		if err == unix.EBUSY {
			continue // the kernel did it (CONFIG_DEVTMPFS_MOUNT)
		}
		if err != nil {
			return fmt.Errorf("failed to mount %s: %w", m.target, err)
		}
	}
	for link, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		_ = os.Symlink(target, link)
	}
	for _, d := range []string{"/run/lock", "/run/netns"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	// Daemons and tests open many files; the kernel's default is 1024.
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	return nil
}

// Network sets the host name and brings lo up.
func Network() error {
	if err := unix.Sethostname([]byte("lab")); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// runJob runs the command and streams until it ends.
func runJob(j job, r io.Reader, w *frameWriter) exitReport {
	if err := os.Chdir(j.Dir); err != nil {
		return exitReport{ExitFailed, fmt.Sprintf("the guest cannot enter the working folder: %v", err)}
	}
	path, env, err := LookPath(j.Args[0], j.Env)
	if err != nil {
		return exitReport{StartStatus(err), err.Error()}
	}
	s, err := openStreams(j)
	if err != nil {
		return exitReport{ExitFailed, err.Error()}
	}
	pid, err := syscall.ForkExec(path, j.Args, &syscall.ProcAttr{Env: env, Files: s.child, Sys: s.sys})
	for _, f := range s.childFiles {
		f.Close()
	}
	if err != nil {
		return exitReport{StartStatus(err), fmt.Sprintf("failed to start %s: %v", path, err)}
	}
	if err := w.send(frameReady, nil); err != nil {
		return exitReport{ExitFailed, err.Error()}
	}
	var out sync.WaitGroup
	out.Add(1)
	go func() {
		defer out.Done()
		w.pump(frameStdout, s.out)
	}()
	if s.err != nil {
		out.Add(1)
		go func() {
			defer out.Done()
			w.pump(frameStderr, s.err)
		}()
	}
	go listen(r, w, s, pid)
	report := reap(pid)
	drained := make(chan struct{})
	go func() {
		out.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(drainGrace):
	}
	return report
}

// listen carries out what the runner sends.
func listen(r io.Reader, w *frameWriter, s *streams, pid int) {
	input := make(chan []byte, 1) // one at a time: the runner waits for frameConsumed
	go func() {
		for b := range input {
			// A command that stops reading is not a failure; the rest is discarded.
			_, _ = s.in.Write(b)
			_ = w.send(frameConsumed, nil)
		}
		if s.terminal == nil {
			s.in.Close()
		}
	}()
	for {
		k, content, err := readFrame(r)
		if err != nil {
			return
		}
		switch k {
		case frameInput:
			input <- content
		case frameInputEnd:
			close(input)
		case frameSignal:
			_ = syscall.Kill(-pid, syscall.Signal(content[0]))
		case frameWindow:
			if s.terminal != nil {
				setWindowSize(s.terminal, uint16(content[0])<<8|uint16(content[1]), uint16(content[2])<<8|uint16(content[3]))
			}
		}
	}
}

// streams are the two ends of the command's stdin, stdout and stderr.
type streams struct {
	child      []uintptr
	childFiles []*os.File
	sys        *syscall.SysProcAttr
	in         io.WriteCloser
	out, err   io.Reader // err is nil on a terminal
	terminal   *os.File
}

func openStreams(j job) (*streams, error) {
	if j.TTY {
		return openTerminal(j)
	}
	s := &streams{sys: &syscall.SysProcAttr{Setpgid: true}}
	var ours [3]*os.File
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		child := w
		if ours[i] = r; i == 0 {
			ours[i], child = w, r
		}
		s.childFiles = append(s.childFiles, child)
		s.child = append(s.child, child.Fd())
	}
	s.in, s.out, s.err = ours[0], ours[1], ours[2]
	return s, nil
}

func openTerminal(j job) (*streams, error) {
	ptm, pts, err := OpenPTY(j.Rows, j.Columns)
	if err != nil {
		return nil, err
	}
	return &streams{
		child: []uintptr{pts.Fd(), pts.Fd(), pts.Fd()}, childFiles: []*os.File{pts},
		sys: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
		in:  ptm, out: ptm, terminal: ptm,
	}, nil
}

// OpenPTY opens the two ends of a new terminal.
func OpenPTY(rows, columns uint16) (ptm, pts *os.File, err error) {
	ptm, err = os.OpenFile("/dev/pts/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(ptm.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ptm.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		pts, err = os.OpenFile(filepath.Join("/dev/pts", fmt.Sprint(n)), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		ptm.Close()
		return nil, nil, err
	}
	setWindowSize(ptm, rows, columns)
	return ptm, pts, nil
}
