package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/configfile"
)

// TestCheckReadsKeys where they are here: one that is unusable is an error, once.
func TestCheckReadsKeys(t *testing.T) {
	folder := t.TempDir()
	key, path := filepath.Join(folder, "pair.key"), filepath.Join(folder, "lvsd.toml")
	text := fmt.Sprintf(`
[[director]]
name = "lb1"
address = "10.0.0.12"
[[director]]
name = "lb2"
address = "10.0.0.13"
[peers]
key_file = %q
[[vrrp]]
name = "web"
interface = "eth0"
virtual_router_id = 51
priority = { lb1 = 200, lb2 = 100 }
addresses = ["10.0.0.88/32"]
authentication = { type = "hmac", key_file = %[1]q }
`, key)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, mistake string }{
		{"", ""}, // there is none
		{"1 correct-horse-battery-staple\n", ""},
		{"1 abc\n", "pair.key"},
	} {
		if c.key != "" {
			if err := os.WriteFile(key, []byte(c.key), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		v := check(t.Context(), &command.Options{Source: configfile.Source{Path: path}}, false)
		if c.mistake == "" && !v.OK || c.mistake != "" && (len(v.Errors) != 1 || !strings.Contains(v.Errors[0], c.mistake)) {
			t.Errorf("%q: %q", c.key, v.Errors)
		}
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if v := check(t.Context(), &command.Options{Source: configfile.Source{Path: path}}, false); len(v.Errors) != 1 || !strings.Contains(v.Errors[0], "chmod 0600") {
		t.Errorf("a key that others can read: %q", v.Errors)
	}
}
