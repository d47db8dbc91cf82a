package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/cmd/internal/cli/command"
)

// TestConvertExitCodes: a service that is lost is an error, unless the user allows it.
func TestConvertExitCodes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keepalived.conf")
	server := " {\n protocol TCP\n real_server 10.0.0.9 80 {\n }\n}\n"
	lossy := "virtual_server 10.0.0.88 80" + server + "virtual_server www.example.com 80" + server
	for _, c := range []struct {
		conf, flags string
		code        int
	}{
		{"virtual_server 10.0.0.88 80" + server, "--exit-code", command.Done},
		{"global_defs {\n enable_dbus\n}\nvirtual_server 10.0.0.88 80" + server, "", command.Done},
		{"global_defs {\n enable_dbus\n}\nvirtual_server 10.0.0.88 80" + server, "--exit-code", command.Differs},
		{lossy, "", command.Failed},
		{lossy, "--allow-losses", command.Done},
		{lossy, "--allow-losses --exit-code", command.Differs},
		{lossy, "--json", command.Failed},
		{lossy, "--diff", command.Failed},
	} {
		if err := os.WriteFile(file, []byte(c.conf), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errOut := ran(t, append([]string{"convert", "keepalived", "lb1=" + file}, strings.Fields(c.flags)...)...)
		if code != c.code || !strings.Contains(out, "10.0.0.88") {
			t.Errorf("%q: exit code %d, want %d\n%s\n%s", c.flags, code, c.code, out, errOut)
		}
		if c.conf == lossy && c.flags != "--json" && !strings.HasPrefix(errOut, "lost: ") {
			t.Errorf("%q: what is lost is not said first: %s", c.flags, errOut)
		}
	}
}

// TestConvertAsksTheOldParser: keepalived tests its files for each director, and its
// output is printed; it does not change the result.
func TestConvertAsksTheOldParser(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(conf, []byte("virtual_server 10.0.0.88 80 {\n protocol TCP\n real_server 10.0.0.9 80 {\n }\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	args := []string{"convert", "keepalived", "--check", "lb1=" + conf}
	if code, _, errOut := ran(t, args...); code != command.Done || !strings.Contains(errOut, "keepalived is not installed here") {
		t.Errorf("without keepalived: exit code %d: %s", code, errOut)
	}
	if err := os.WriteFile(filepath.Join(dir, "keepalived"), []byte("#!/bin/sh\necho \"objection: $*\"\nexit 4\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := ran(t, args...)
	if code != command.Done || !strings.Contains(out, "[[virtual_service]]") || !strings.Contains(errOut, "objects to (exit status 4)") ||
		!strings.Contains(errOut, "--config-test --use-file="+conf+" --config-id=lb1") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}
