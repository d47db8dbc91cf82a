package main

// How every command finds its configuration: the file, and who of the
// directors in it this host is.

import (
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/BurntSushi/toml"

	"lvsd/cmd/internal/api"
	"lvsd/config"
)

// sizeLimit keeps a file that is no configuration, /dev/zero say, from filling
// the memory; the parser has a limit of its own, below this one.
const sizeLimit = 64 << 20

// What [global] says of control_socket and state_dir by default.
const (
	defaultSocket   = "/run/lvsd/control.sock"
	defaultStateDir = "/var/lib/lvsd"
)

// readText reads the configuration file.
func (o *options) readText() ([]byte, error) {
	f, err := os.Open(o.file)
	if err != nil {
		return nil, fmt.Errorf("failed to read the configuration: %w (name another with -c)", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, sizeLimit))
	if err != nil {
		return nil, fmt.Errorf("failed to read the configuration: %w", err)
	}
	return text, nil
}

// readFile reads and parses the configuration file.
func (o *options) readFile() (*config.File, error) {
	text, err := o.readText()
	if err != nil {
		return nil, err
	}
	return config.Parse(o.file, text)
}

// load answers the configuration of this director, and the file's warnings.
func (o *options) load() (*config.Config, []string, error) { return o.loadText(new(string)) }

// loadText does, and answers the text, too.
func (o *options) loadText(text *string) (*config.Config, []string, error) {
	read, err := o.readText()
	if err != nil {
		return nil, nil, err
	}
	*text = string(read)
	file, err := config.ParseAfter(o.before, o.file, read)
	if err != nil {
		return nil, nil, err
	}
	o.before = file
	name, err := o.directorName()
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

// directorName is who this host is.
func (o *options) directorName() (string, error) {
	if o.director != "" {
		return o.director, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("failed to read the host name: %w (name the director with --director)", err)
	}
	return name, nil
}

// client answers a client of the daemon that runs with this configuration
// file.
func (o *options) client(socket string) *api.Client {
	if socket == "" {
		socket = o.socket()
	}
	return api.NewClient(socket)
}

// socket finds the control socket.
func (o *options) socket() string {
	return o.global("control_socket", defaultSocket, func(g config.Global) string { return g.ControlSocket })
}

// stateDir finds state_dir.
func (o *options) stateDir() string {
	return o.global("state_dir", defaultStateDir, func(g config.Global) string { return g.StateDir })
}

// global finds a key of [global], also in a file that has become wrong since
// the daemon was started: then above all people want to ask it.
func (o *options) global(key, fallback string, read func(config.Global) string) string {
	if c, _, err := o.load(); err == nil {
		return read(c.Global)
	}
	text, err := os.ReadFile(o.file)
	if err != nil {
		return fallback
	}
	name, _ := o.directorName()
	line := regexp.MustCompile(`(?m)^\s*` + key + `\s*=\s*(.*)$`).FindSubmatch(text)
	if line == nil {
		return fallback
	}
	// The value alone is TOML of its own: a path, or a table by director.
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
