package lvsdtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// Replace replaces the first occurrence of old, which must be in the text.
func Replace(t testing.TB, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("no %q in:\n%s", old, text)
	}
	return strings.Replace(text, old, new, 1)
}

// ContainsAll reports whether a text has all of these parts.
func ContainsAll(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// ExitCode returns the exit code of a command that failed, -1 if err is another error.
func ExitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// WaitExit waits until a command has ended and checks its exit code and output.
func WaitExit(t testing.TB, c *lab.Process, code int, texts ...string) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(60 * time.Second):
		t.Fatalf("still running:\n%s", c.Output())
	}
	if c.ExitCode() != code || !ContainsAll(c.Output(), texts...) {
		t.Errorf("exit code %d, want %d with %q:\n%s", c.ExitCode(), code, texts, c.Output())
	}
}

// Refused runs a command of lvsd that must end with exit code 1 and print all of want.
func Refused(t *testing.T, d *Director, args, want []string) {
	t.Helper()
	out, err := d.LVSD(args...)
	if err == nil {
		t.Fatalf("not refused:\n%s", out)
	}
	if code := ExitCode(err); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if !ContainsAll(out, want...) {
		t.Errorf("want %q in:\n%s", want, out)
	}
	t.Log(out)
}

// LVSDOn runs a command of lvsd on a host and returns its output and exit code.
func LVSDOn(t *testing.T, h *lab.Host, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := h.Start(append([]string{Binary(t)}, args...)...)
	_ = p.Wait(ctx)
	return p.Output(), p.ExitCode()
}

// AnyContains reports whether one of the problems contains a text.
func AnyContains(problems []string, text string) bool {
	return strings.Contains(strings.Join(problems, "\n"), text)
}

// Binary returns the path of the lvsd under test: LVSD_BIN, or bin/lvsd of the
// repository.
func Binary(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv("LVSD_BIN")
	if path == "" {
		path = RepositoryFile(tb, "bin", "lvsd")
	}
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("no lvsd to test (build it with make build): %v", err)
	}
	return path
}
