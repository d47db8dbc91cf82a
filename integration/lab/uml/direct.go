// Running the command on this machine's own kernel, in namespaces of its own.

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab/internal/runner"
)

// directProblem is nil if this kernel has IPVS, which is loaded now if necessary, and
// this user may make namespaces.
func directProblem() error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed (sudo)")
	}
	const proc = "/proc/net/ip_vs"
	if _, err := os.Stat(proc); err != nil {
		_ = exec.Command("modprobe", "-q", "ip_vs").Run()
		if _, err := os.Stat(proc); err != nil {
			return errors.New("its kernel has no IPVS (modprobe ip_vs does not help)")
		}
	}
	probe := exec.Command("/proc/self/exe", "-h")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: directFlags}
	if err := probe.Run(); err != nil {
		return fmt.Errorf("namespaces cannot be made: %w", err)
	}
	return nil
}

const directFlags = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS

func runDirect(o options, signals <-chan os.Signal) (int, error) {
	if o.Verbose {
		runner.Warnf("on this machine's kernel")
	}
	cmd := exec.Command("/proc/self/exe", o.Command...)
	cmd.Env = append(os.Environ(), runner.RoleVariable+"="+roleDirect)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: directFlags, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if runner.IsTerminal(0) {
		// The command's process group gets the terminal. At the end this process takes it back,
		// for which the kernel would stop it.
		signal.Ignore(syscall.SIGTTOU, syscall.SIGTTIN)
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, 0
		defer func() { _ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, syscall.Getpgrp()) }()
	}
	if err := cmd.Start(); err != nil {
		return runner.ExitFailed, fmt.Errorf("failed to start in namespaces: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()

	timeout := time.NewTimer(o.Timeout)
	defer timeout.Stop()
	var force <-chan time.Time
	for {
		select {
		case err := <-done:
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() < 0 {
				return runner.ExitFailed, fmt.Errorf("the command's cell ended: %w", err)
			}
			return cmd.ProcessState.ExitCode(), nil
		case s := <-signals:
			if force != nil {
				force = time.After(0)
				continue
			}
			_ = cmd.Process.Signal(s)
			force = time.After(runner.SignalGrace)
		case <-force:
			_ = cmd.Process.Kill()
			<-done
			return runner.ExitFailed, errors.New("the command ignored the signal and was killed")
		case <-timeout.C:
			_ = cmd.Process.Kill()
			<-done
			return runner.ExitTimeout, fmt.Errorf("not done after %v (--timeout): ended", o.Timeout)
		}
	}
}

// directCell is the whole program in the role of process 1 around the command.
func directCell(args []string) int {
	if err := furnish(); err != nil {
		runner.Warnf("failed to prepare the namespaces: %v", err)
		return runner.ExitFailed
	}
	path, env, err := runner.LookPath(args[0], os.Environ())
	if err != nil {
		runner.Warnf("%v", err)
		return runner.StartStatus(err)
	}
	status, note := runner.Cell(path, args, env, true)
	if note != "" {
		runner.Warnf("%s", note)
	}
	return status
}

// furnish sets up the new namespaces: a proc and sys of their own, an empty /run, lo
// up. Nothing of it is visible outside.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("/run: %w", err)
	}
	// Some containers forbid a new sysfs; only tools that look up devices there miss it.
	_ = unix.Mount("sysfs", "/sys", "sysfs", 0, "")
	return runner.Network()
}
