// Fetching Debian's kernels.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"lvsd/integration/lab/internal/debian"
	"lvsd/integration/lab/internal/runner"
)

// releases are the Debian releases and their kernels, the newest last.
var releases = []struct{ kernel, suite string }{
	{"5.10", "bullseye"},
	{"6.1", "bookworm"},
	{"6.12", "trixie"},
}

func versions() []string {
	var all []string
	for _, r := range releases {
		all = append(all, r.kernel)
	}
	return all
}

// kernel is an unpacked kernel.
type kernel struct {
	version string // as uname -r prints it
	image   string
	modules string // the folder with modules.dep
}

// fetch returns a kernel of that version, after downloading it when it is not in
// the folder yet.
func fetch(folder, version string) (kernel, error) {
	dir := filepath.Join(folder, version)
	err := debian.Fetch(dir, func(dir string) bool { _, err := find(dir); return err == nil }, func(work string) (string, error) {
		runner.Warnf("fetching Debian's kernel %s", version)
		return download(work, version)
	})
	if err != nil {
		return kernel{}, err
	}
	return find(dir)
}

// find looks for a complete kernel in a folder: the files of its package, and
// modules.dep, which is made last.
func find(dir string) (kernel, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return kernel{}, err
	}
	images, _ := filepath.Glob(filepath.Join(dir, "boot/vmlinuz-*"))
	for _, image := range images {
		_, version, _ := strings.Cut(filepath.Base(image), "-")
		modules := filepath.Join(dir, "lib/modules", version)
		if _, err := os.Stat(filepath.Join(modules, "modules.dep")); err == nil {
			return kernel{version: version, image: image, modules: modules}, nil
		}
	}
	return kernel{}, fmt.Errorf("no kernel in %s", dir)
}

func download(work, version string) (unpacked string, err error) {
	var suite string
	for _, r := range releases {
		if r.kernel == version {
			suite = r.suite
		}
	}
	release, err := debian.Open(work, suite)
	if err != nil {
		return "", err
	}
	depends, err := release.Depends("linux-image-amd64")
	if err != nil {
		return "", err
	}
	name := ""
	for _, word := range strings.Fields(depends) {
		if strings.HasPrefix(word, "linux-image-"+version+".") {
			name = word
		}
	}
	if name == "" {
		return "", fmt.Errorf("%s has no kernel %s: linux-image-amd64 there says:\n%s", suite, version, depends)
	}
	unpacked = filepath.Join(work, "unpacked")
	if err := release.Unpack(unpacked, name); err != nil {
		return "", err
	}
	// From trixie on the modules are below /usr.
	if _, err := os.Stat(filepath.Join(unpacked, "usr/lib/modules")); err == nil {
		if err := os.Symlink("usr/lib", filepath.Join(unpacked, "lib")); err != nil {
			return "", err
		}
	}
	path, err := sbin("depmod")
	if err != nil {
		return "", err
	}
	_, err = debian.Output(exec.Command(path, "-b", unpacked, strings.TrimPrefix(name, "linux-image-")))
	return unpacked, err
}

// sbin finds a program of root's for every user.
func sbin(name string) (string, error) {
	path, _, err := runner.LookPath(name, os.Environ())
	return path, err
}
