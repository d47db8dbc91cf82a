// Fetching Debian's kernels. apt does it with sources, lists and a cache of its
// own, so that nothing of this machine's package management changes; root is not
// needed.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

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

// mirrorVariable names a Debian mirror for machines that have none configured.
const mirrorVariable = "LVSD_DEBIAN_MIRROR"

// keyring is Debian's, where it is not among apt's trusted keys.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

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
	if k, err := find(dir); err == nil {
		return k, nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return kernel{}, err
	}
	lock, err := os.OpenFile(filepath.Join(folder, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return kernel{}, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return kernel{}, err
	}
	if k, err := find(dir); err == nil {
		return k, nil // another runner fetched it meanwhile
	}
	runner.Warnf("fetching Debian's kernel %s", version)
	work, err := os.MkdirTemp(folder, ".fetch-")
	if err != nil {
		return kernel{}, err
	}
	defer os.RemoveAll(work)
	unpacked, err := download(work, version)
	if err != nil {
		return kernel{}, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return kernel{}, err
	}
	if err := os.Rename(unpacked, dir); err != nil {
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
	mirror, err := debianMirror()
	if err != nil {
		return "", err
	}
	var suite string
	for _, r := range releases {
		if r.kernel == version {
			suite = r.suite
		}
	}
	signed := ""
	if _, err := os.Stat(keyring); err == nil {
		signed = " signed-by=" + keyring
	}
	for file, text := range map[string]string{
		"sources.list": fmt.Sprintf("deb [arch=amd64%s] %s %s main\n", signed, mirror, suite),
		"status":       "",
		// What root starts as another user could not write into the checkout.
		"apt.conf": fmt.Sprintf(`
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "-";
Dir::State "%[1]s";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "";
Acquire::Languages "none";
`, work),
	} {
		if err := os.WriteFile(filepath.Join(work, file), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	apt := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(work, "apt.conf"), "LC_ALL=C")
		return output(cmd)
	}
	if _, err := apt("apt-get", "-q", "update"); err != nil {
		return "", err
	}
	depends, err := apt("apt-cache", "depends", "linux-image-amd64")
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
	if _, err := apt("apt-get", "-q", "download", name); err != nil {
		return "", err
	}
	packages, _ := filepath.Glob(filepath.Join(work, "*.deb"))
	if len(packages) != 1 {
		return "", fmt.Errorf("apt-get download %s left %d packages", name, len(packages))
	}
	unpacked = filepath.Join(work, "unpacked")
	if _, err := output(exec.Command("dpkg", "-x", packages[0], unpacked)); err != nil {
		return "", err
	}
	// From trixie on the modules are below /usr.
	if _, err := os.Stat(filepath.Join(unpacked, "usr/lib/modules")); err == nil {
		if err := os.Symlink("usr/lib", filepath.Join(unpacked, "lib")); err != nil {
			return "", err
		}
	}
	release := strings.TrimPrefix(name, "linux-image-")
	path, err := sbin("depmod")
	if err != nil {
		return "", err
	}
	_, err = output(exec.Command(path, "-b", unpacked, release))
	return unpacked, err
}

// debianMirror is the address from which this machine gets Debian itself.
func debianMirror() (string, error) {
	if m := os.Getenv(mirrorVariable); m != "" {
		return m, nil
	}
	text, err := output(exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"))
	if err != nil {
		return "", err
	}
	if mirrors := strings.Fields(text); len(mirrors) > 0 {
		return mirrors[0], nil
	}
	return "", errors.New("apt on this machine knows no Debian mirror (apt-get update, or set " + mirrorVariable + " to one)")
}

// sbin finds a program of root's for every user.
func sbin(name string) (string, error) {
	path, _, err := runner.LookPath(name, os.Environ())
	return path, err
}

// output runs a command and returns its stdout; an error has its stderr.
func output(cmd *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}
