// Process 1 of a process namespace: it starts one program, reaps everything, and ends
// with it. When it is killed, the kernel kills all processes of the namespace, so that
// nothing is left behind.

package runner

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Cell runs a program with the descriptors 0 to 2 and those of extra, passes signals on
// to it and returns its exit status and a note about its end. With foreground it gets
// the terminal, where stdin is one.
func Cell(path string, args, env []string, foreground bool, extra ...uintptr) (int, string) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	sys := &syscall.SysProcAttr{Setpgid: true}
	if foreground && IsTerminal(0) {
		sys.Foreground, sys.Ctty = true, 0
	}
	files := append([]uintptr{0, 1, 2}, extra...)
	pid, err := syscall.ForkExec(path, args, &syscall.ProcAttr{Env: env, Files: files, Sys: sys})
	if err != nil {
		return StartStatus(err), fmt.Sprintf("failed to start %s: %v", path, err)
	}
	go func() {
		for s := range signals {
			_ = syscall.Kill(-pid, s.(syscall.Signal))
		}
	}()
	report := reap(pid)
	return report.Status, report.Note
}

// KernelCell is the whole program in the role of a kernel's cell.
func KernelCell(args []string) int {
	status, note := Cell(args[0], args, os.Environ(), false, LinkFD)
	if status == ExitNotFound || status == ExitNotExecutable {
		Warnf("%s", note)
	}
	return status
}

// reap waits for every child, its own and those it inherited, until pid ends.
func reap(pid int) exitReport {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return exitReport{ExitFailed, fmt.Sprintf("lost the command: %v", err)}
		case got == pid && ws.Signaled():
			return exitReport{128 + int(ws.Signal()), "the command was killed by " + unix.SignalName(ws.Signal())}
		case got == pid:
			return exitReport{Status: ws.ExitStatus()}
		}
	}
}
