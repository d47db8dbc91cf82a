// Waiting for packets without waking for each packet of a flood.

package wire

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watch is a duplicate of the socket that Go's runtime polls, and which exists only while
// Receive may wait. What the runtime polls wakes one of its threads for each packet, whether
// anything waits for it or not.
type watch struct {
	mu     sync.Mutex
	file   *os.File
	raw    syscall.RawConn
	closed bool
}

// get returns the duplicate if wait is set, and otherwise closes it.
func (w *watch) get(of rawConn, wait bool) (syscall.RawConn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, os.ErrClosed
	case wait == (w.file != nil):
		return w.raw, nil
	case !wait:
		_ = w.file.Close()
		w.file, w.raw = nil, nil
		return nil, nil
	}
	var fd int
	var failed error
	err := of.Control(func(of uintptr) { fd, failed = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("failed to duplicate the socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "vrrp")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("failed to poll the socket: %w", err)
	}
	w.file, w.raw = file, raw
	return raw, nil
}

// close wakes who waits.
func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed = true; w.file != nil {
		_ = w.file.Close()
	}
}
