// This file reads the file with the key of an election. It never logs a key, and
// no error holds one.

package vrrp

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxKeyFile is more than any key file needs, in octets.
const maxKeyFile = 64 << 10

// secret is what a key file holds.
type secret struct {
	password *Password // of type "pass"
	keys     *Keyring  // of type "hmac"
}

// readSecret reads the file that authentication names, which must be readable by
// its owner alone.
func readSecret(a Authentication) (secret, error) {
	if a.Type == "" {
		return secret{}, nil
	}
	text, err := readPrivate(a.KeyFile)
	if err != nil {
		return secret{}, err
	}
	if a.Type == "hmac" {
		keys, err := parseKeys(text, a.Permissive)
		if err != nil {
			return secret{}, fmt.Errorf("failed to read the key file %s: %w", a.KeyFile, err)
		}
		return secret{keys: keys}, nil
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	first = bytes.TrimRight(first, "\r")
	if len(first) == 0 {
		return secret{}, fmt.Errorf("the first line of %s, the password, is empty", a.KeyFile)
	}
	var p Password
	copy(p[:], first)
	return secret{password: &p}, nil
}

func readPrivate(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, fmt.Errorf("failed to open the key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("failed to look at the key file %s: %w", path, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("the key file %s is no regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("the key file %s has mode %04o, so others than its owner may read or write it: chmod 0600 %s", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("failed to read the key file %s: %w", path, err)
	case len(text) > maxKeyFile:
		return nil, fmt.Errorf("the key file %s is longer than %d octets", path, maxKeyFile)
	}
	return text, nil
}
