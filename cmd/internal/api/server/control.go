// This file has the control socket. Where it cannot be created, because the disk is full
// or read-only, the daemon runs without it and retries. A misconfiguration rejects the
// start: a file that is not a socket, another daemon, an unknown group.

package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// controlCheckInterval is how often the presence of the socket's file is checked.
const controlCheckInterval = 2 * time.Second

// OpenControl opens the control socket. A socket file without a listener is left from
// a killed daemon and is replaced; one with a listener belongs to another daemon. Other
// failures are logged, shown and retried while the server runs: the error is for
// misconfigurations only.
func (s *Server) OpenControl(path, group string) error {
	s.group = group
	gid, err := groupID(group)
	if err != nil {
		return fmt.Errorf("global.control_group: %w", err)
	}
	l, err := makeControl(path, gid)
	if errors.Is(err, errInvalid) {
		return err
	}
	if err != nil {
		l = newListener(path)
		s.reportNoControl(path, err)
	}
	s.control = l
	return nil
}

// reportNoControl shows why there is no control socket, and logs it the first time.
func (s *Server) reportNoControl(path string, err error) {
	text := fmt.Sprintf("the control socket cannot be created, so no command reaches the daemon: %v", err)
	if s.uncontrolled.Swap(&text) == nil {
		s.Log.Error("the control socket cannot be created: no command reaches the daemon", "path", path, "reason", err)
	}
}

// errInvalid is wrapped by misconfigurations.
var errInvalid = errors.New("a mistake")

// makeControl creates the socket.
func makeControl(path string, gid int) (*listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("global.control_socket: %w", err)
	}
	if err := removeLeftSocket(path); err != nil {
		return nil, fmt.Errorf("global.control_socket: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("global.control_socket: failed to listen: %w", err)
	}
	l := newListener(path)
	l.Listener = ln
	if err := protect(path, gid); err != nil {
		l.close()
		return nil, fmt.Errorf("global.control_socket: %w", err)
	}
	l.made = madeAt(path)
	return l, nil
}

// invalidError is an error that wraps errInvalid without naming it.
type invalidError string

func (m invalidError) Error() string { return string(m) }
func (m invalidError) Unwrap() error { return errInvalid }

// removeLeftSocket removes a socket without a listener, and nothing else.
func removeLeftSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return invalidError(path + " already exists and is not a socket: choose another path, or remove it")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return invalidError("another daemon uses " + path + ": stop it first, or configure another control_socket")
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("failed to remove the stale socket: %w", err)
	}
	return nil
}

// noGroup: the socket is for root only.
const noGroup = -1

func groupID(name string) (int, error) {
	if name == "" {
		return noGroup, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return noGroup, err
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return noGroup, fmt.Errorf("%s has the id %q, which is not a number", name, g.Gid)
	}
	return id, nil
}

// protect restricts the socket to root, or to root and a group.
func protect(path string, gid int) error {
	if gid == noGroup {
		return os.Chmod(path, 0o600)
	}
	err := os.Chown(path, -1, gid)
	if errors.Is(err, unix.EPERM) {
		return invalidError(fmt.Sprintf("the daemon's user cannot set the group of %s to %d: make it a member of that group (SupplementaryGroups= in a drop-in of the unit)", path, gid))
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, 0o660)
}

// watchControl keeps the control socket open until the context ends, and checks
// web_config_file.
func (s *Server) watchControl(ctx context.Context) {
	tick := time.NewTicker(controlCheckInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.reopenControl()
			s.checkWebConfig()
		}
	}
}

// reopenControl opens the socket again when its file is gone or replaced. A failure is
// logged once.
func (s *Server) reopenControl() {
	old := s.control
	if old.exists() {
		return
	}
	gid, err := groupID(s.group)
	if err == nil {
		var l *listener
		if l, err = makeControl(old.address, gid); err == nil {
			s.control = l
		}
	}
	if err != nil {
		s.reportNoControl(old.address, err)
		return
	}
	s.uncontrolled.Store(nil)
	s.Log.Warn("the control socket was missing and was created again", "path", old.address)
	s.serve(s.control, s.changing())
	if ln, ok := old.Listener.(*net.UnixListener); ok {
		ln.SetUnlinkOnClose(false) // the name belongs to the new one
	}
	go old.close() // requests in progress may end
}

// exists reports whether a socket's file is still the one that was created.
func (l *listener) exists() bool {
	now, err := os.Lstat(l.address)
	return l.made != nil && err == nil && os.SameFile(l.made, now)
}

// madeAt returns the identity of a socket's file.
func madeAt(path string) fs.FileInfo {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // already gone, which the first check finds
	}
	return info
}
