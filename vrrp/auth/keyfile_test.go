package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		{"a folder", dir, "no regular file"},
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
