package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// file is the file of a setting; as in sysctl(8), a slash in the name stands for a dot
// in a device's.
func file(name string) string {
	return "/proc/sys/" + strings.NewReplacer(".", "/", "/", ".").Replace(name)
}

// Read returns a setting, such as "1" for "net.ipv4.ip_forward". It is empty where the
// kernel has none of that name, or not yet: the device may be missing.
func Read(name string) (string, error) {
	text, err := os.ReadFile(file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// Write sets it.
func Write(name, value string) error { return os.WriteFile(file(name), []byte(value), 0) }

// BootID returns what is different after each boot, "" where it can't be read
// (random(4)).
func BootID() string {
	id, _ := Read("kernel.random.boot_id")
	return id
}
