// Fetching packages once, into a folder that several programs share.

package debian

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// MirrorVariable names a Debian mirror for machines that have none configured.
const MirrorVariable = "LVSD_DEBIAN_MIRROR"

// keyring is Debian's, where it is not among apt's trusted keys.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Fetch fills dir once: complete reports whether it is there already, and make returns
// the folder inside of work that becomes it. work is removed afterwards. Programs that
// fetch into one parent folder at once wait for each other.
func Fetch(dir string, complete func(dir string) bool, make func(work string) (string, error)) error {
	if complete(dir) {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(parent, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if complete(dir) {
		return nil // another program fetched it meanwhile
	}
	work, err := os.MkdirTemp(parent, ".fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	made, err := make(work)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(made, dir); err != nil {
		return err
	}
	if !complete(dir) {
		return fmt.Errorf("what was fetched into %s is not complete", dir)
	}
	return nil
}

// Release is a Debian release as apt sees it from a folder of ours.
type Release struct {
	suite, work string
}

// Open reads the lists of a release, its main part for amd64. The folder work must
// exist and belong to the caller.
func Open(work, suite string) (Release, error) {
	mirror, err := mirror()
	if err != nil {
		return Release{}, err
	}
	signed := ""
	if _, err := os.Stat(keyring); err == nil {
		signed = " signed-by=" + keyring
	}
	for file, text := range map[string]string{
		"sources.list": fmt.Sprintf("deb [arch=amd64%s] %s %s main\n", signed, mirror, suite),
		"status":       "",
		// apt drops root's rights, and could then not write into the checkout.
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
			return Release{}, err
		}
	}
	r := Release{suite: suite, work: work}
	_, err = r.apt("apt-get", "-q", "update")
	return r, err
}

// String is the name of the release.
func (r Release) String() string { return r.suite }

// Depends is what apt-cache prints about the dependencies of a package.
func (r Release) Depends(name string) (string, error) { return r.apt("apt-cache", "depends", name) }

// Unpack downloads packages and unpacks them into a folder, in which no script of
// theirs runs.
func (r Release) Unpack(dir string, names ...string) error {
	if _, err := r.apt("apt-get", append([]string{"-q", "download"}, names...)...); err != nil {
		return err
	}
	packages, _ := filepath.Glob(filepath.Join(r.work, "*.deb"))
	if len(packages) != len(names) {
		return fmt.Errorf("apt-get download of %s left %d packages", strings.Join(names, ", "), len(packages))
	}
	for _, p := range packages {
		if _, err := Output(exec.Command("dpkg", "-x", p, dir)); err != nil {
			return err
		}
	}
	return nil
}

func (r Release) apt(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = r.work
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(r.work, "apt.conf"), "LC_ALL=C")
	return Output(cmd)
}

// mirror is the address from which this machine gets Debian itself.
func mirror() (string, error) {
	if m := os.Getenv(MirrorVariable); m != "" {
		return m, nil
	}
	text, err := Output(exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"))
	if err != nil {
		return "", err
	}
	if mirrors := strings.Fields(text); len(mirrors) > 0 {
		return mirrors[0], nil
	}
	return "", errors.New("apt on this machine knows no Debian mirror (apt-get update, or set " + MirrorVariable + " to one)")
}

// Output runs a command and returns its stdout; an error has its stderr.
func Output(cmd *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}
