package director

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lvsd/checker/probe/dialogue"
	"lvsd/config"
)

// TestPasswordsFromFiles: a password is the only line of its file, it is hidden in every
// form in which it is sent, and another one is another check.
func TestPasswordsFromFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	text := fmt.Sprintf("[[virtual_service]]\nname = \"mail\"\naddress = \"10.0.0.88:143\"\nreal_servers = [{ address = \"10.0.0.9:143\" }]\n"+
		"check = { type = \"imap\", user = \"lvsd\", password_file = %q }\n", file)
	f, err := config.Parse("lvsd.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	ts := targets{}
	if _, err := ts.read(c)(nil, c); err == nil || !strings.Contains(err.Error(), "lvsd.toml:5:") || !strings.Contains(err.Error(), "password_file") {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, tt := range []struct{ content, password, refused string }{
		{"", "", "must contain exactly one line"},
		{"\n", "", "must contain exactly one line"},
		{"one\ntwo\n", "", "must contain exactly one line"},
		{strings.Repeat("x", passwordLimit+1), "", "larger than"},
		{"secret", "secret", ""},
		{"se\"cret\r\n", `se"cret`, ""},
		{" spaces stay \n", " spaces stay ", ""},
	} {
		if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		change, err := ts.read(c)(nil, c)
		if tt.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tt.refused) || !strings.Contains(err.Error(), "lvsd.toml:5:") {
				t.Errorf("%.20q: %v", tt.content, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		change.Commit()
		if ts.unchanged(c) {
			t.Errorf("%q: the same check as before", tt.content)
		}
		all, _ := ts.service(c.Services[0], nil)
		got := all[0].Checks[0]
		if want := (dialogue.Settings{User: "lvsd", Password: tt.password}); *got.Dialogue != want || !slices.Contains(got.Secrets, tt.password) {
			t.Errorf("%q: %+v, secrets %q", tt.content, *got.Dialogue, got.Secrets)
		}
		if tt.password == `se"cret` && !slices.Contains(got.Secrets, `"se\"cret"`) {
			t.Errorf("the quoted form is not hidden: %q", got.Secrets)
		}
	}
}
