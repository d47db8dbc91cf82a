package announce

import (
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// late returns the error of an attempt that had no time.
func late(t *testing.T) error {
	t.Helper()
	_, err := net.DialTimeout("unix", "/run/missing.ctl", time.Nanosecond)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	return err
}

// TestDaemonWatch: a daemon counts as gone when two attempts in a row find none; at a usual
// place only after it was seen there.
func TestDaemonWatch(t *testing.T) {
	const own = "/run/own.ctl"
	listening, changes := map[string]error{}, 0
	w := newDaemonWatch(func() { changes++ })
	w.dial = func(socket string) error {
		if err, there := listening[socket]; there {
			return err
		}
		return syscall.ENOENT
	}
	listens, known := false, true
	w.listens = func(string) (bool, bool) { return listens, known }
	w.set([]Announce{{Daemon: ""}, {Daemon: own}})
	step := func(what string, changed int, want map[string]bool) {
		t.Helper()
		changes = 0
		w.probe()
		if got := w.state(); !maps.Equal(got, want) || changes != changed {
			t.Errorf("%s: %v after %d changes, want %v after %d", what, got, changes, want, changed)
		}
	}
	listening[BIRDSockets[0]] = late(t)
	listening[own] = listening[BIRDSockets[0]]
	step("this process stands still, which says nothing", 0, map[string]bool{})
	clear(listening)
	step("none, once", 0, map[string]bool{})
	step("none, twice", 1, map[string]bool{own: false})
	listening[own], listening[FRRSockets[0]] = nil, nil
	step("both", 2, map[string]bool{own: true, "": true})
	listening[own], listening[FRRSockets[0]], listens = syscall.EACCES, syscall.ECONNREFUSED, true
	step("no right to one, the other away once", 0, map[string]bool{own: true, "": true})
	listening[FRRSockets[0]], listens = nil, false
	step("no right to one that crashed, once", 0, map[string]bool{own: true, "": true})
	known = false
	step("which is not known", 0, map[string]bool{own: true, "": true})
	step("which is not known", 0, map[string]bool{own: true, "": true})
	known = true
	step("no right to one that crashed, twice", 1, map[string]bool{own: false, "": true})
	listens = true
	step("no right to one that runs again", 1, map[string]bool{own: true, "": true})
	listening[FRRSockets[0]] = syscall.EAGAIN
	step("busy", 0, map[string]bool{own: true, "": true})
	delete(listening, FRRSockets[0])
	listening[BIRDSockets[0]] = context.DeadlineExceeded
	step("stands still again", 0, map[string]bool{own: true, "": true})
	clear(listening)
	listening[own] = nil
	step("away once", 0, map[string]bool{own: true, "": true})
	step("away twice", 1, map[string]bool{own: true, "": false})
	w.set([]Announce{{Daemon: own}})
	step("one watched", 0, map[string]bool{own: true})
}

// TestDaemonWatchFRR: bgpd counts as running with its zebra only.
func TestDaemonWatchFRR(t *testing.T) {
	const bgpd = "/run/frr/bgpd.vty"
	gone, w := map[string]bool{}, newDaemonWatch(func() {})
	w.dial = func(socket string) error {
		if gone[socket] {
			return syscall.ECONNREFUSED
		}
		return nil
	}
	w.set([]Announce{{Daemon: bgpd}})
	for _, ended := range []string{"", "/run/frr/zebra.vty", "", bgpd} {
		clear(gone)
		gone[ended] = true
		for range daemonMisses {
			w.probe()
		}
		if runs := w.state()[bgpd]; runs != (ended == "") {
			t.Errorf("%q is gone: runs %v", ended, runs)
		}
	}
}

// TestListens: a process that listens is found by the path, also through a link to the folder,
// and without rights on the socket; a file that a crash left is none.
func TestListens(t *testing.T) {
	folder := t.TempDir()
	socket, link := filepath.Join(folder, "run", "bird.ctl"), filepath.Join(folder, "var")
	if err := errors.Join(os.Mkdir(filepath.Dir(socket), 0o755), os.Symlink(filepath.Dir(socket), link)); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(socket, 0); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", socket)
	if err == nil { // as root
		defer c.Close()
	}
	want := func(path string, want bool) {
		t.Helper()
		if listens, known := Listens(path); listens != want || !known {
			t.Errorf("%s: listens %v, known %v", path, listens, known)
		}
	}
	want(socket, true)
	want(filepath.Join(link, "bird.ctl"), true)
	want(filepath.Join(folder, "bird.ctl"), false)
	l.Close()
	if _, err := os.Stat(socket); err != nil {
		t.Fatal(err)
	}
	want(socket, false) // though a connection to it is still there
}
