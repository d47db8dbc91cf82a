// Booting User-Mode Linux.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab/internal/runner"
)

// inside is an error in a guest: User-Mode Linux does not run in itself.
func inside() error {
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil && bytes.Contains(b, []byte("User Mode Linux")) {
		return errors.New("this is one already, and it does not run in itself")
	}
	return nil
}

func runUML(o options, k kernel, signals <-chan os.Signal) (int, error) {
	memory, err := memoryFolder(uint64(o.Mem))
	if err != nil {
		return runner.ExitFailed, err
	}
	self, err := os.Executable()
	if err != nil {
		return runner.ExitFailed, err
	}
	dir, err := os.MkdirTemp("", "lvsd-uml-")
	if err != nil {
		return runner.ExitFailed, err
	}
	return o.Run(runner.Kernel{
		What: "User-Mode Linux",
		Path: k.image,
		Args: []string{
			fmt.Sprintf("mem=%dM", o.Mem>>20),
			"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw",
			"init=" + self, runner.RoleVariable + "=" + runner.RoleGuest, modulesVariable + "=" + k.modules,
			"seccomp=auto", "con=null", "con0=null,fd:1", "ssl=null", fmt.Sprintf("ssl0=fd:%d", runner.LinkFD),
			"uml_dir=" + dir, "umid=lab", "quiet",
		},
		Env: []string{"TMPDIR=" + memory, "HOME=" + dir, "PATH=/usr/bin:/bin"},
		Dir: dir,
	}, signals)
}

// memoryFolder is where the kernel's memory can be: a file that it removes at once,
// which takes as much space as the memory that is used. It must be executable.
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
