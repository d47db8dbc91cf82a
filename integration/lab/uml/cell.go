// Process 1 of a process namespace: it starts one program, reaps everything,
// and ends with it. When it is killed, the kernel kills all that is in the
// namespace, which is how nothing is left behind, whoever dies first.

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// cellMain runs args: a User-Mode Linux kernel, or (direct) the command itself.
func cellMain(direct bool, args []string) int {
	env, path := os.Environ(), args[0]
	if direct {
		if err := furnish(); err != nil {
			complain("failed to prepare the namespaces: %v", err)
			return exitFailed
		}
		var err error
		if path, env, err = lookPath(args[0], env); err != nil {
			complain("%v", err)
			return startStatus(err)
		}
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	files := []uintptr{0, 1, 2}
	if !direct {
		files = append(files, linkFD)
	}
	sys := &syscall.SysProcAttr{Setpgid: true}
	if direct && isTerminal(0) {
		sys.Foreground, sys.Ctty = true, 0
	}
	pid, err := syscall.ForkExec(path, args, &syscall.ProcAttr{Env: env, Files: files, Sys: sys})
	if err != nil {
		complain("failed to start %s: %v", path, err)
		return startStatus(err)
	}
	go func() {
		for s := range signals {
			_ = syscall.Kill(-pid, s.(syscall.Signal))
		}
	}()
	report := reap(pid)
	if direct && report.Note != "" {
		complain("%s", report.Note)
	}
	return report.Status
}

// reap waits for every child, its own and those it inherited, until pid ends.
func reap(pid int) exitReport {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return exitReport{exitFailed, fmt.Sprintf("lost the command: %v", err)}
		case got == pid && ws.Signaled():
			return exitReport{128 + int(ws.Signal()), "the command was killed by " + unix.SignalName(ws.Signal())}
		case got == pid:
			return exitReport{Status: ws.ExitStatus()}
		}
	}
}
