// This file finds the configuration: the file, the director that this host is in
// it, and the keys of [global] that a command needs before it can ask the daemon.

package configfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"

	"github.com/BurntSushi/toml"

	"lvsd/cmd/internal/disk"
	"lvsd/config"
)

// sizeLimit keeps a file that is not a configuration from filling the memory. The
// parser has a lower limit of its own.
const sizeLimit = 64 << 20

// DefaultPath is the configuration file where none is named.
const DefaultPath = "/etc/lvsd/lvsd.toml"

// Source is a configuration file and the director that this host is in it.
type Source struct {
	Path     string
	Director string // empty: the host name

	last *config.File // parsed last; see config.ParseAfter
}

// Text reads the configuration file, joined with those that it includes.
func (s *Source) Text() ([]byte, error) {
	text, err := Read(s.Path)
	if err == nil {
		text, err = s.join(text)
	}
	if errors.As(err, new(config.Errors)) {
		return nil, err
	}
	if err != nil {
		return nil, readError(err)
	}
	return text, nil
}

func readError(err error) error {
	remedy := ""
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		remedy = " (name another with -c)"
	}
	return fmt.Errorf("failed to read the configuration: %w%s", err, remedy)
}

// Read reads a file of at most 64 MiB; see [disk.Read].
func Read(path string) ([]byte, error) { return disk.Read(path, sizeLimit) }

// Parse reads and parses the configuration file.
func (s *Source) Parse() (*config.File, error) {
	text, err := s.Text()
	if err != nil {
		return nil, err
	}
	return config.Parse(s.Path, text)
}

// Load returns the configuration of this director and the warnings of the file.
func (s *Source) Load() (*config.Config, []string, error) { return s.LoadText(new(string)) }

// LoadText is Load that also stores the text that it read.
func (s *Source) LoadText(text *string) (*config.Config, []string, error) {
	read, err := s.Text()
	if err != nil {
		return nil, nil, err
	}
	*text = string(read)
	file, err := config.ParseAfter(s.last, s.Path, read)
	if err != nil {
		return nil, nil, err
	}
	s.last = file
	name, err := s.DirectorName()
	if err != nil {
		return nil, nil, err
	}
	var warnings []string
	for _, w := range file.Warnings {
		warnings = append(warnings, w.Error())
	}
	c, err := file.For(name)
	return c, warnings, err
}

// DirectorName is the name of this host in the file.
func (s *Source) DirectorName() (string, error) {
	if s.Director != "" {
		return s.Director, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("failed to read the host name: %w (name the director with --director)", err)
	}
	return name, nil
}

// ControlSocket is the path of the control socket.
func (s *Source) ControlSocket() string {
	return s.global("control_socket", config.DefaultControlSocket, func(g config.Global) string { return g.ControlSocket })
}

// StateDir is [global] state_dir.
func (s *Source) StateDir() string {
	return s.global("state_dir", config.DefaultStateDir, func(g config.Global) string { return g.StateDir })
}

// global returns a key of [global], also from a file that has become invalid since
// the daemon was started: that is when the daemon is asked most.
func (s *Source) global(key, fallback string, read func(config.Global) string) string {
	if c, _, err := s.Load(); err == nil {
		return read(c.Global)
	}
	text, err := Read(s.Path)
	if err != nil {
		return fallback
	}
	name, _ := s.DirectorName()
	line := regexp.MustCompile(`(?m)^\s*` + key + `\s*=\s*(.*)$`).FindSubmatch(text)
	if line == nil {
		return fallback
	}
	// The value alone is valid TOML: a path, or a table with a path a director.
	var value struct{ V any }
	if _, err := toml.Decode("V = "+string(line[1]), &value); err != nil {
		return fallback
	}
	switch v := value.V.(type) {
	case string:
		return v
	case map[string]any:
		if path, ok := v[name].(string); ok {
			return path
		}
	}
	return fallback
}
