package persist

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lvsd/ipvs"
)

// Peek returns what lvsd wrote into the kernel by the record in a directory, and whether a
// daemon has locked it. It creates, locks and renames nothing.
func Peek(path string) (owned ipvs.Owned, held bool, err error) {
	var file ownedFile
	if _, err := read(filepath.Join(path, "owned"), ownedVersion, &file); err != nil {
		return nil, false, fmt.Errorf("failed to read the record of lvsd's kernel entries: %w", err)
	}
	return file.owned(), isLocked(filepath.Join(path, lockName)), nil
}

// isLocked reads the kernel's list of locks: an attempt to lock would make a daemon fail
// that starts at that moment.
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
