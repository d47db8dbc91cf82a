// Key files: what an instance authenticates with. The file must be readable by
// its owner only.

package auth

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"syscall"
)

// maxKeyFile bounds the size of a key file, in octets.
const maxKeyFile = 64 << 10

// Password is the simple text password of version 2, RFC 2338 §5.3.6.1, padded
// with zeros.
type Password [8]byte

// Secret is the content of a key file. At most one field is set.
type Secret struct {
	Password *Password // of type "pass"
	Keys     *Keyring  // of type "hmac"
}

// Read reads the key file of an authentication type: "", "pass" or "hmac". Without
// a type there is no file and no secret.
func Read(kind, path string, permissive bool) (Secret, error) {
	if kind == "" {
		return Secret{}, nil
	}
	text, err := ReadFile(path)
	if err != nil {
		return Secret{}, err
	}
	return Parse(kind, path, text, permissive)
}

// Parse is Read of a key file that [ReadFile] has read from path.
func Parse(kind, path string, text []byte, permissive bool) (Secret, error) {
	if kind == "hmac" {
		keys, err := ParseKeys(text, permissive)
		if err != nil {
			return Secret{}, fmt.Errorf("failed to read the key file %s: %w", path, err)
		}
		return Secret{Keys: keys}, nil
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	first = bytes.TrimRight(first, "\r")
	if len(first) == 0 {
		return Secret{}, fmt.Errorf("the first line of %s, the password, is empty", path)
	}
	var p Password
	copy(p[:], first)
	return Secret{Password: &p}, nil
}

// KeySet is the content of a key file for other users of the same keys, such as
// the exchange between directors.
type KeySet struct {
	First uint8 // the key to sign with; all are accepted
	Keys  map[uint8][]byte
}

// ReadKeys reads a key file of type "hmac".
func ReadKeys(path string) (KeySet, error) {
	s, err := Read("hmac", path, false)
	if err != nil {
		return KeySet{}, err
	}
	return KeySet{First: s.Keys.signWith, Keys: maps.Clone(s.Keys.keys)}, nil
}

// ReadFile returns the content of a key file, at most 64 KiB. It must be a regular file
// that only its owner can read.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, fmt.Errorf("failed to open the key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("failed to inspect the key file %s: %w", path, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("the key file %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("the key file %s has mode %04o, so others than its owner may read or write it: run chmod 0600 %s", path, info.Mode().Perm(), path)
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
