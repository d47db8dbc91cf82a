// Which User-Mode Linux is booted. From Linux 6.16 on it runs processes under seccomp
// instead of tracing them, which makes their system calls several times as fast. Only a
// release of Debian that is newer than that of most machines has such a kernel: it is
// fetched beside this program, with the C library that it needs. If that fails, the
// installed one is used.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"lvsd/integration/lab/internal/debian"
	"lvsd/integration/lab/internal/runner"
)

// suite is the release that the kernel is fetched from.
const suite = "forky"

// kernel is a User-Mode Linux.
type kernel struct {
	image   string
	modules string // the folder with those of its version
	library string // the folder of its C library; empty: the machine's
}

// installed is the kernel of the installed package user-mode-linux.
var installed = kernel{image: "/usr/bin/linux.uml", modules: "/usr/lib/uml/modules"}

// unpacked is the kernel in a folder into which the package was unpacked.
func unpacked(dir string) kernel {
	return kernel{
		image:   filepath.Join(dir, "usr/bin/linux.uml"),
		modules: filepath.Join(dir, "usr/lib/uml/modules"),
		library: filepath.Join(dir, "usr/lib/x86_64-linux-gnu"),
	}
}

// problem is why the kernel can't be booted here.
func (k kernel) problem() error {
	if _, err := os.Stat(k.modules); err != nil {
		return fmt.Errorf("its modules are missing: %w", err)
	}
	_, err := debian.Output(exec.Command(k.image, "--version"))
	return err
}

// chooseKernel returns the kernel to boot: the fetched one, after fetching it when it
// is not there yet, or else the installed one.
func chooseKernel(o options) (kernel, error) {
	if o.kernel == "installed" {
		return installed, installed.problem()
	}
	dir, err := filepath.Abs(filepath.Join(o.folder, "uml"))
	if err != nil {
		return kernel{}, err
	}
	err = debian.Fetch(dir, func(dir string) bool { return unpacked(dir).problem() == nil }, func(work string) (string, error) {
		runner.Warnf("fetching Debian's User-Mode Linux of %s", suite)
		return download(work, dir)
	})
	if err == nil {
		return unpacked(dir), nil
	}
	if problem := installed.problem(); problem != nil {
		return kernel{}, fmt.Errorf("it can't be fetched: %w; and that of the package user-mode-linux: %w", err, problem)
	}
	runner.Warnf("the installed kernel is booted, which is much slower: %v", err)
	return installed, nil
}

// download unpacks the kernel into a folder that will be dir. Its program finds the C
// library by dir: it does not run with an older one.
func download(work, dir string) (string, error) {
	release, err := debian.Open(work, suite)
	if err != nil {
		return "", err
	}
	made := filepath.Join(work, "unpacked")
	if err := release.Unpack(made, "user-mode-linux", "libc6"); err != nil {
		return "", err
	}
	library := unpacked(dir).library
	_, err = debian.Output(exec.Command("patchelf",
		"--set-interpreter", filepath.Join(library, "ld-linux-x86-64.so.2"), "--set-rpath", library, unpacked(made).image))
	return made, err
}
