package units

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed *.service
var files embed.FS

// The units. RealServer is a template: its instance is an address.
const (
	Host       = "lvsd-host.service"
	RealServer = "lvsd-realserver@.service"
)

// packaged is where the packages have units and program.
const (
	packagedUnits   = "/usr/lib/systemd/system"
	packagedProgram = "/usr/sbin/lvsd"
	ownUnits        = "/etc/systemd/system"
)

// Installer installs units on this host.
type Installer struct {
	Root    string                     // the root of the file system; "" = /
	Program string                     // that units run, an absolute path
	Run     func(args ...string) error // runs systemctl
	Log     func(line string)          // called with each change
}

// New returns an installer for this host and this program. Without systemd the error says
// so.
func New(say func(string)) (Installer, error) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return Installer{}, errors.New("this host does not run systemd: run the command at each boot by other means")
	}
	program, err := os.Executable()
	return Installer{Program: program, Run: systemctl, Log: say}, err
}

func systemctl(args ...string) error {
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Install enables a unit and starts it; again, to restart one that runs already. An
// instance, of a template, is its name between @ and the dot.
func (i Installer) Install(file, instance string, again bool) error {
	text, err := files.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(i.Root, packagedUnits, file)); errors.Is(err, fs.ErrNotExist) {
		own := strings.ReplaceAll(string(text), packagedProgram, i.Program)
		if _, err := i.Write(filepath.Join(ownUnits, file), own); err != nil {
			return err
		}
		if err := i.Run("daemon-reload"); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	unit := strings.Replace(file, "@", "@"+instance, 1)
	if err := i.Run("enable", unit); err != nil {
		return err
	}
	verb := "start"
	if again {
		verb = "restart"
	}
	if err := i.Run(verb, unit); err != nil {
		return err
	}
	i.Log(unit + " enabled")
	return nil
}

// Write writes a file below the root, and reports whether its text changed.
func (i Installer) Write(path, text string) (changed bool, err error) {
	at := filepath.Join(i.Root, path)
	if have, err := os.ReadFile(at); err == nil && string(have) == text {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return false, err
	}
	if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
		return false, err
	}
	i.Log(path + " written")
	return true, nil
}
