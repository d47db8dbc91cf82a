package director

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lvsd/config"
)

// TestEveryUnreadableFileIsReported: all of them at once, each with its place, and
// once though many servers share the check.
func TestEveryUnreadableFileIsReported(t *testing.T) {
	dir := t.TempDir()
	text := "[[virtual_service]]\nname = \"web\"\naddress = \"10.0.0.88:443\"\n" +
		"check = { type = \"https\", ca_file = \"" + filepath.Join(dir, "one.pem") + "\" }\n" +
		"real_servers = [{ address = \"10.0.0.9:443\" }, { address = \"10.0.0.20:443\" },\n" +
		"{ address = \"10.0.0.21:443\", check = { type = \"https\", cert_file = \"" + filepath.Join(dir, "two.pem") + "\", key_file = \"/k\" } }]\n"
	file, err := config.Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = new(targets).read(c)(nil, c)
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "f:4:9: ") || !strings.Contains(lines[0], "one.pem") || !strings.HasPrefix(lines[1], "f:6:") || !strings.Contains(lines[1], "two.pem") {
		t.Errorf("%q", lines)
	}
}

// TestNoFileIsWaitedFor: what is no regular file is refused at once, wherever it is named.
func TestNoFileIsWaitedFor(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero"} {
		for name, check := range map[string]config.Check{
			"ca_file":      {CheckSettings: &config.CheckSettings{TLS: config.TLS{CAFile: path}}},
			"cert_file":    {CheckSettings: &config.CheckSettings{TLS: config.TLS{CertFile: path, KeyFile: path}}},
			"headers_file": {CheckSettings: &config.CheckSettings{HeadersFile: path}},
		} {
			c := &config.Config{Services: []config.Service{{RealServers: []config.RealServer{{Checks: []config.Check{check}}}}}}
			if _, err := new(targets).read(c)(nil, c); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "not a regular file") {
				t.Errorf("%s = %s: %v", name, path, err)
			}
		}
	}
}
