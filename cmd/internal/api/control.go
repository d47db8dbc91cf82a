package api

// The control socket while the daemon runs: a socket whose file somebody removed
// or replaced is opened again, for until then no command reaches the daemon.

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"
)

// controlLook is how often it is looked whether the socket's file is there.
const controlLook = 2 * time.Second

// watchControl keeps the control socket open until the context ends.
func (s *Server) watchControl(ctx context.Context) {
	tick := time.NewTicker(controlLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.keepControl()
		}
	}
}

// keepControl opens the socket again when its file is no longer ours. What keeps
// it from that is said once.
func (s *Server) keepControl() {
	old := s.control
	if old.there() {
		return
	}
	err := s.OpenControl(old.address, s.group)
	if err != nil {
		text := fmt.Sprintf("no command reaches the daemon: its control socket is gone, and cannot be made again: %v", err)
		if s.uncontrolled.Swap(&text) == nil {
			s.Log.Error("the control socket is gone, and cannot be made again", "path", old.address, "reason", err)
		}
		return
	}
	s.uncontrolled.Store(nil)
	s.Log.Warn("the control socket was gone, and is made again", "path", old.address)
	s.serve(s.control, s.changing())
	if ln, ok := old.Listener.(*net.UnixListener); ok {
		ln.SetUnlinkOnClose(false) // its name is the new one's
	}
	go old.close() // answers under way may end
}

// there says that a socket's file is still the one that was made.
func (l *listener) there() bool {
	now, err := os.Lstat(l.address)
	return err == nil && os.SameFile(l.made, now)
}

// madeAt remembers a socket's file.
func madeAt(path string) fs.FileInfo {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // it is gone already, which the first look finds
	}
	return info
}
