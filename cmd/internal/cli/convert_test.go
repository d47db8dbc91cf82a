package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
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
		{"virtual_server 10.0.0.88 80" + server, "--exit-code", exitDone},
		{"global_defs {\n smtp_alert on\n}\nvirtual_server 10.0.0.88 80" + server, "", exitDone},
		{"global_defs {\n smtp_alert on\n}\nvirtual_server 10.0.0.88 80" + server, "--exit-code", exitPartly},
		{lossy, "", exitFailed},
		{lossy, "--allow-losses", exitDone},
		{lossy, "--allow-losses --exit-code", exitPartly},
		{lossy, "--json", exitFailed},
		{lossy, "--diff", exitFailed},
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

// TestConvertAsksTheOldParser: keepalived tests its files for each director, and what it
// says is printed; it decides nothing.
func TestConvertAsksTheOldParser(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(conf, []byte("virtual_server 10.0.0.88 80 {\n protocol TCP\n real_server 10.0.0.9 80 {\n }\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	args := []string{"convert", "keepalived", "--check", "lb1=" + conf}
	if code, _, errOut := ran(t, args...); code != exitDone || !strings.Contains(errOut, "keepalived is not installed here") {
		t.Errorf("without keepalived: exit code %d: %s", code, errOut)
	}
	if err := os.WriteFile(filepath.Join(dir, "keepalived"), []byte("#!/bin/sh\necho \"objection: $*\"\nexit 4\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := ran(t, args...)
	if code != exitDone || !strings.Contains(out, "[[virtual_service]]") || !strings.Contains(errOut, "objects to (exit status 4)") ||
		!strings.Contains(errOut, "--config-test --use-file="+conf+" --config-id=lb1") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

// TestReadingEndsWithTheContext: a FIFO without a writer blocks for ever.
func TestReadingEndsWithTheContext(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := readSource(ctx, fifo); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
	// The reader ends with a writer.
	if w, err := os.OpenFile(fifo, os.O_WRONLY, 0); err == nil {
		_ = w.Close()
	}
}
