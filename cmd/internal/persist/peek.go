package persist

// Looking into a state directory from beside: nothing is made, locked or moved.

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lvsd/ipvs"
)

// Peek answers what lvsd wrote into the kernel, as far as the directory says,
// and whether a daemon holds the directory now.
func Peek(path string) (owned ipvs.Owned, held bool, err error) {
	owned, err = ledger{filepath.Join(path, "owned")}.read()
	if err != nil {
		return nil, false, err
	}
	return owned, isLocked(filepath.Join(path, "lock")), nil
}

// isLocked looks into the kernel's list of locks: to try the lock would keep a
// daemon that starts at that moment away.
func isLocked(path string) bool {
	var s unix.Stat_t
	if unix.Stat(path, &s) != nil {
		return false
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return false
	}
	defer f.Close()
	// 1: FLOCK  ADVISORY  WRITE 4711 08:01:1234567 0 EOF
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(s.Dev)), unix.Minor(uint64(s.Dev)), s.Ino)
	for scan := bufio.NewScanner(f); scan.Scan(); {
		if fields := strings.Fields(scan.Text()); len(fields) > 5 && fields[1] == "FLOCK" && fields[5] == want {
			return true
		}
	}
	return false
}
