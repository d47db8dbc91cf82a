// The initrd: this program as /init, and the modules that it loads. It is a
// cpio archive (the "newc" format of Documentation/driver-api/early-userspace/
// buffer-format.rst in the kernel's source).

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"lvsd/integration/lab/internal/runner"
)

func writeInitrd(file string, k kernel) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	init, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	deps, err := runner.ReadDependencies(k.modules)
	if err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	a := &archive{w: bufio.NewWriter(f)}
	a.add("init", modeFile|0o755, init)
	a.add("dev", modeFolder|0o755, nil)
	a.add("modules", modeFolder|0o755, nil)
	n := 0
	done := map[string]bool{}
	for _, m := range bootModules {
		for _, path := range deps.Files(m) {
			if done[path] {
				continue
			}
			done[path] = true
			content, err := readModule(filepath.Join(k.modules, path))
			if err != nil {
				return err
			}
			a.add(fmt.Sprintf("modules/%03d-%s", n, filepath.Base(path)), modeFile|0o644, content)
			n++
		}
	}
	a.add("TRAILER!!!", 0, nil)
	if err := a.w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// readModule reads a module and unpacks it: not every kernel does that itself.
func readModule(file string) ([]byte, error) {
	if filepath.Ext(file) != ".xz" {
		return os.ReadFile(file)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command("xz", "-dc", file)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("xz -dc %s: %w: %s", file, err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.Bytes(), nil
}

const (
	modeFolder = 0o040000
	modeFile   = 0o100000
)

// archive writes cpio. Errors are kept by the buffer until it is flushed.
type archive struct {
	w     *bufio.Writer
	inode int
}

func (a *archive) add(name string, mode int, content []byte) {
	a.inode++
	// Magic, inode, mode, uid, gid, links, mtime, size, four device numbers, the
	// name's length with its NUL, no checksum.
	fmt.Fprintf(a.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
	_, _ = io.WriteString(a.w, name+"\x00")
	a.pad(110 + len(name) + 1)
	_, _ = a.w.Write(content)
	a.pad(len(content))
}

// pad fills up to a multiple of four.
func (a *archive) pad(n int) { _, _ = a.w.Write(make([]byte, (4-n%4)%4)) }
