package main

// How every command finds its configuration: the file, and who of the
// directors in it this host is.

import (
	"fmt"
	"io"
	"os"

	"lvsd/cmd/internal/api"
	"lvsd/config"
)

// sizeLimit keeps a file that is no configuration, /dev/zero say, from filling
// the memory; the parser has a limit of its own, below this one.
const sizeLimit = 64 << 20

// defaultSocket is [global] control_socket's default.
const defaultSocket = "/run/lvsd/control.sock"

// readFile reads and parses the configuration file.
func (o *options) readFile() (*config.File, error) {
	f, err := os.Open(o.file)
	if err != nil {
		return nil, fmt.Errorf("failed to read the configuration: %w (name another with -c)", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, sizeLimit))
	if err != nil {
		return nil, fmt.Errorf("failed to read the configuration: %w", err)
	}
	return config.Parse(o.file, text)
}

// load answers the configuration of this director.
func (o *options) load() (*config.Config, error) {
	file, err := o.readFile()
	if err != nil {
		return nil, err
	}
	name := o.director
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("failed to read the host name: %w (name the director with --director)", err)
		}
	}
	return file.For(name)
}

// client answers a client of the daemon that runs with this configuration
// file. A file that has become wrong since the start is no obstacle: then the
// daemon is looked for at the default place.
func (o *options) client(socket string) *api.Client {
	if socket == "" {
		socket = defaultSocket
		if c, err := o.load(); err == nil {
			socket = c.Global.ControlSocket
		}
	}
	return api.NewClient(socket)
}
