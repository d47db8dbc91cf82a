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

// TestPasswordInWhatIsSent: {password} of a tcp or udp check, in all its steps.
func TestPasswordInWhatIsSent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("Xq7Zt0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("[[virtual_service]]\nname = \"cache\"\naddress = \"10.0.0.88:80\"\nreal_servers = [{ address = \"10.0.0.9:80\" }]\ncheck = [\n"+
		"{ type = \"tcp\", password_file = %[1]q, steps = [{ expect = \"^220 \" }, { send = \"PASS {password}\\r\\n\", expect = \"^230 \" }] },\n"+
		"{ type = \"udp\", password_file = %[1]q, send = \"{password}:{password}\" },\n{ type = \"tcp\", send = \"{password}\" }]\n", file)
	f, err := config.Parse("lvsd.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Probes(c, c.Services[0])
	if err != nil {
		t.Fatal(err)
	}
	steps, datagram, plain := all[0].Checks[0], all[0].Checks[1], all[0].Checks[2]
	if got := steps.Steps[1].Send; got != "PASS Xq7Zt0\r\n" || datagram.Send != "Xq7Zt0:Xq7Zt0" || plain.Send != "{password}" {
		t.Errorf("sent %q, %q, %q", got, datagram.Send, plain.Send)
	}
	if !slices.Contains(steps.Secrets, "Xq7Zt0") || !slices.Contains(datagram.Secrets, "Xq7Zt0") {
		t.Error("it is not hidden")
	}
}
