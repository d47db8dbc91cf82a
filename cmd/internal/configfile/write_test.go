package configfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestWrite: the file keeps its mode and stays a link, and one that was changed meanwhile
// is left alone.
func TestWrite(t *testing.T) {
	folder := t.TempDir()
	file, link := filepath.Join(folder, "lvsd.toml"), filepath.Join(folder, "link.toml")
	if err := os.WriteFile(file, []byte("before"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	c := Change{link, "before", "after"}
	if err := c.Write(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if info, _ := os.Lstat(link); err != nil || string(text) != "after" || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%v: %s, %v", err, text, info)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if err := c.Write(); !errors.Is(err, ErrChanged) {
		t.Errorf("written again: %v", err)
	}
	if err := c.Undo(); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(file); string(text) != "before" {
		t.Errorf("undone: %s", text)
	}
	if all, _ := os.ReadDir(folder); len(all) != 2 {
		t.Errorf("left behind: %v", all)
	}
}
