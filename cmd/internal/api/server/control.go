// The control socket. A place where none can be made, because the disk is full or
// not writable, ends nothing: until it is over no command reaches the daemon, and
// everything else goes on. A mistake is another thing, and refuses the start: a file
// that is no socket, another daemon, a group that does not exist.

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

// controlLook is how often it is looked whether the socket's file is there.
const controlLook = 2 * time.Second

// OpenControl opens the control socket. A socket file that nobody answers on
// is a killed daemon's and is replaced; one that answers is another daemon's. Where
// none can be made that is said, shown and tried again while the server runs: the
// error is of mistakes alone.
func (s *Server) OpenControl(path, group string) error {
	s.group = group
	gid, err := groupID(group)
	if err != nil {
		return fmt.Errorf("global.control_group: %w", err)
	}
	l, err := makeControl(path, gid)
	if errors.Is(err, errMistake) {
		return err
	}
	if err != nil {
		l = newListener(path)
		s.lacksControl(path, err)
	}
	s.control = l
	return nil
}

// lacksControl says why there is no control socket, the first time, and shows it.
func (s *Server) lacksControl(path string, err error) {
	text := fmt.Sprintf("no command reaches the daemon: its control socket cannot be made: %v", err)
	if s.uncontrolled.Swap(&text) == nil {
		s.Log.Error("the control socket cannot be made: no command reaches the daemon until it can", "path", path, "reason", err)
	}
}

// errMistake is wrapped by the error of what somebody must decide.
var errMistake = errors.New("a mistake")

// makeControl makes the socket.
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

// mistake is an error that wraps errMistake and does not name it.
type mistake string

func (m mistake) Error() string { return string(m) }
func (m mistake) Unwrap() error { return errMistake }

// removeLeftSocket removes a socket that nobody answers on. Anything else that
// stands there is not ours to remove.
func removeLeftSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return mistake(path + " is there already and is no socket: name another place, or remove it")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return mistake("another daemon answers on " + path + ": stop it first, or give this one a socket of its own")
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("failed to remove the one left behind: %w", err)
	}
	return nil
}

// noGroup stands for root alone.
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
		return noGroup, fmt.Errorf("%s has the id %q, which is no number", name, g.Gid)
	}
	return id, nil
}

// protect gives the socket to root alone, or to a group too.
func protect(path string, gid int) error {
	if gid == noGroup {
		return os.Chmod(path, 0o600)
	}
	err := os.Chown(path, -1, gid)
	if errors.Is(err, unix.EPERM) {
		return mistake(fmt.Sprintf("this daemon's user may not give %s to the group with the id %d: make it a member (SupplementaryGroups= in a drop-in of the unit)", path, gid))
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, 0o660)
}

// watchControl keeps the control socket open until the context ends, and looks
// after what answers on http_listen.
func (s *Server) watchControl(ctx context.Context) {
	tick := time.NewTicker(controlLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.keepControl()
			s.lookAtWeb()
		}
	}
}

// keepControl opens the socket again when its file is no longer ours, or was never
// made. What keeps it from that is said once.
func (s *Server) keepControl() {
	old := s.control
	if old.there() {
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
		s.lacksControl(old.address, err)
		return
	}
	s.uncontrolled.Store(nil)
	s.Log.Warn("the control socket was not there, and is made", "path", old.address)
	s.serve(s.control, s.changing())
	if ln, ok := old.Listener.(*net.UnixListener); ok {
		ln.SetUnlinkOnClose(false) // its name is the new one's
	}
	go old.close() // answers under way may end
}

// there says that a socket's file is still the one that was made.
func (l *listener) there() bool {
	now, err := os.Lstat(l.address)
	return l.made != nil && err == nil && os.SameFile(l.made, now)
}

// madeAt remembers a socket's file.
func madeAt(path string) fs.FileInfo {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // it is gone already, which the first look finds
	}
	return info
}
