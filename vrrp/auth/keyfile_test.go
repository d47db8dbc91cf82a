package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name string
		file string
		want string // the password, or a part of the error
	}{
		{"short", file("a", "open\n", 0o600), "open\x00\x00\x00\x00"},
		{"long", file("b", "open sesame", 0o400), "open ses"},
		{"CRLF", file("c", "open\r\nmore\r\n", 0o600), "open\x00\x00\x00\x00"},
		{"empty", file("d", "\n", 0o600), "is empty"},
		{"readable by others", file("e", "open\n", 0o644), "chmod 0600"},
		{"missing", filepath.Join(dir, "f"), "no such file"},
		{"a folder", dir, "not a regular file"},
		{"huge", file("g", strings.Repeat("x", maxKeyFile+1), 0o600), "longer than"},
	} {
		s, err := Read("pass", tt.file, false)
		if err == nil && string(s.Password[:]) != tt.want || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v", tt.name, s.Password, err)
		}
	}
	if s, err := Read("", "", false); err != nil || s.Password != nil {
		t.Errorf("none: %v, %v", s, err)
	}
}

// FuzzKeyFile: never a panic, no key in an error, and every key that is accepted has its
// least length and verifies what it signs.
func FuzzKeyFile(f *testing.F) {
	for _, text := range []string{"1 0123456789abcdef\n", "# old\n0 0123456789abcdef\r\n255 fedcba9876543210\n", "1 short", "256 0123456789abcdef", "1\t0123456789abcdef\n1 0123456789abcdef", "\x00", ""} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys(text, false)
		if err != nil {
			for _, word := range strings.Fields(string(text)) {
				if len(word) >= minSecret && strings.Contains(err.Error(), word) {
					t.Errorf("%q is in the error %v", word, err)
				}
			}
			return
		}
		for number, key := range keys.keys {
			if len(key) < minSecret {
				t.Errorf("key %d has %d octets", number, len(key))
			}
		}
		c, now := Context{Instance: "web"}, time.Unix(1e9, 0)
		signed := keys.Sign(make([]byte, headerLen), c, Stamp{Run: 1, Counter: 1, Time: uint64(now.UnixMicro())})
		if err := keys.Verify(c, signed, new(Peer), now, time.Second); err != nil {
			t.Errorf("it refuses what it signs: %v", err)
		}
	})
}
