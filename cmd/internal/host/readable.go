package host

// Whether the files that the configuration names can be read by the user of the package's
// unit: keys are often made by root.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"go.yaml.in/yaml/v2"

	"lvsd/cmd/internal/disk"
	"lvsd/config"
)

// unitUser is the user as which the package's unit runs the daemon.
const unitUser = "lvsd"

// unreadable returns a warning for each file that the user of the unit cannot read. Only
// root can check for another user; without that user the package is not installed.
func unreadable(c *config.Config) (warnings []string) {
	u, err := user.Lookup(unitUser)
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	who, err := identityOf(u)
	if err != nil {
		return nil
	}
	for _, file := range filesOf(c) {
		if err := who.reads(file); err != nil {
			warnings = append(warnings, fmt.Sprintf("user %s, which runs the daemon in the package's unit, cannot read %s: %v", unitUser, file, err))
		}
	}
	return warnings
}

// filesOf returns the files that a configuration names, and its own, each once.
func filesOf(c *config.Config) (all []string) {
	add := func(files ...string) {
		for _, file := range files {
			if file != "" && !slices.Contains(all, file) {
				all = append(all, file)
			}
		}
	}
	add(c.File, c.Global.WebConfigFile)
	add(webFiles(c.Global.WebConfigFile)...)
	if c.Email != nil {
		add(c.Email.PasswordFile)
	}
	for _, i := range c.Instances {
		add(i.File, i.Authentication.KeyFile)
		for _, tracked := range i.TrackFiles {
			add(tracked.Path)
		}
	}
	if c.Exchange != nil {
		add(c.Exchange.KeyFile)
	}
	for _, svc := range c.Services {
		add(svc.File)
		for _, rs := range svc.RealServers {
			for _, check := range rs.Checks {
				add(check.TLS.CAFile, check.TLS.CertFile, check.TLS.KeyFile, check.HeadersFile)
				if d := check.Dialogue; d != nil {
					add(d.PasswordFile, d.SecretFile)
				}
			}
		}
	}
	return all
}

// webFiles returns the files that a web_config_file names, whose paths may be relative to its
// folder. One that cannot be read or decoded is reported elsewhere.
func webFiles(path string) (all []string) {
	if path == "" {
		return nil
	}
	var web struct {
		TLS struct {
			Cert      string `yaml:"cert_file"`
			Key       string `yaml:"key_file"`
			ClientCAs string `yaml:"client_ca_file"`
		} `yaml:"tls_server_config"`
	}
	text, err := disk.Read(path, 1<<20)
	if err != nil || yaml.Unmarshal(text, &web) != nil {
		return nil
	}
	for _, file := range []string{web.TLS.Cert, web.TLS.Key, web.TLS.ClientCAs} {
		if file != "" && !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(path), file)
		}
		all = append(all, file)
	}
	return all
}

// identity is a user with its groups.
type identity struct {
	uid  uint32
	gids []uint32
}

func identityOf(u *user.User) (who identity, err error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return who, err
	}
	who.uid = uint32(uid)
	groups, err := u.GroupIds()
	for _, g := range append(groups, u.Gid) {
		if n, e := strconv.ParseUint(g, 10, 32); e == nil {
			who.gids = append(who.gids, uint32(n))
		}
	}
	return who, err
}

// reads returns why the user cannot read a file, by the modes of it and its folders. A
// file that is not there is reported elsewhere.
func (w identity) reads(file string) error {
	real, err := filepath.EvalSymlinks(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for folder := filepath.Dir(real); ; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		if err != nil {
			return err
		}
		if !w.may(info, 0o1) {
			return fmt.Errorf("no permission for the folder %s (mode %04o)", folder, info.Mode().Perm())
		}
		if folder == filepath.Dir(folder) {
			break
		}
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	if !w.may(info, 0o4) {
		return fmt.Errorf("mode %04o (chown %s %s)", info.Mode().Perm(), unitUser, file)
	}
	return nil
}

// may reports whether a mode allows the user what a bit of 0o7 stands for.
func (w identity) may(info fs.FileInfo, bit fs.FileMode) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || w.uid == 0:
		return true
	case owner.Uid == w.uid:
		bit <<= 6
	case slices.Contains(w.gids, owner.Gid):
		bit <<= 3
	}
	return info.Mode().Perm()&bit != 0
}
