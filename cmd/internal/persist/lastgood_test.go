package persist

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRunningIsWholeOrRefused(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := ReadLastGood(d.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	for _, text := range []string{"a = 1\n", "no newline at the end", "", "\r\n\ufeffödd", "x\n# kept by lvsd: {}\n"} {
		want := LastGood{Director: "lb1", File: "/etc/lvsd/lvsd.toml", Hash: "0123", At: time.Unix(1e9, 0).UTC(), Text: text}
		if err := d.SaveLastGood(want); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadLastGood(d.Path()); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	path := filepath.Join(d.Path(), "running.toml")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	whole := LastGood{Director: "lb1", Text: strings.Repeat("weight = 5\n", 10)}
	if err := d.SaveLastGood(whole); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]string{
		"nothing":       "",
		"cut short":     string(all[:len(all)/2]),
		"last byte cut": string(all[:len(all)-3]),
		"edited":        strings.Replace(string(all), "weight = 5", "weight = 6", 1),
		"a line more":   "x = 1\n" + string(all),
		"a version":     strings.Replace(string(all), `"version":1`, `"version":2`, 1),
		"rubbish":       "\x00\xff",
	} {
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := ReadLastGood(d.Path()); err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
}
