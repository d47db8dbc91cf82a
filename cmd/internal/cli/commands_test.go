package cli

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
)

// silent are the commands without JSON: they change something and report it, or print a
// format of their own.
var silent = []string{
	"lvsd run", "lvsd realserver up", "lvsd realserver down", "lvsd realserver install", "lvsd realserver print", "lvsd host prepare", "lvsd export ipvsadm", "lvsd schema", "lvsd watch",
}

// leaves are the commands that do something.
func leaves() []*cobra.Command {
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.HasSubCommands() && !c.Hidden {
			all = append(all, c)
		}
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	walk(rootCommand(&command.Options{}))
	return all
}

// ran runs a command line in this process, and returns what it printed.
func ran(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	files := [2]*os.File{}
	for i := range files {
		f, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = files[0], files[1]
	code = Run(args, "", "")
	os.Stdout, os.Stderr = stdout, stderr
	text := [2]string{}
	for i, f := range files {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		text[i] = string(b)
	}
	return code, text[0], text[1]
}

// TestEveryCommandKeepsThePromises: help for each, --json where it reads, and exit code
// 2 with a hint for a wrong command line.
func TestEveryCommandKeepsThePromises(t *testing.T) {
	all := leaves()
	if len(all) < 15 {
		t.Fatalf("only %d commands", len(all))
	}
	for _, c := range all {
		path := c.CommandPath()
		t.Run(path, func(t *testing.T) {
			if c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.Contains(c.Short, "\n") {
				t.Errorf("its short help is %q: one phrase without a full stop", c.Short)
			}
			if json := c.Flags().Lookup("json") != nil; json == slices.Contains(silent, path) {
				t.Errorf("--json: %v", json)
			}
			args := strings.Fields(path)[1:]
			for _, wrong := range [][]string{{"--no-such-flag"}, {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"}} {
				code, out, errOut := ran(t, append(slices.Clone(args), wrong...)...)
				if code != command.Usage || out != "" || !strings.Contains(errOut, "Try: "+path+" --help") {
					t.Errorf("%v: exit code %d, stdout %q, stderr %q", wrong, code, out, errOut)
				}
			}
			if code, out, _ := ran(t, append(slices.Clone(args), "--help")...); code != command.Done || !strings.Contains(out, "Usage:") {
				t.Errorf("--help: exit code %d: %q", code, out)
			}
		})
	}
}

// TestVersions: the flag and the command agree.
func TestVersions(t *testing.T) {
	code, flag, _ := ran(t, "--version")
	_, printed, _ := ran(t, "version")
	if first, _, _ := strings.Cut(printed, " (commit"); code != command.Done || first != strings.TrimSpace(flag) || !strings.HasPrefix(flag, "lvsd ") {
		t.Errorf("%d: %q and %q", code, flag, printed)
	}
}

// TestFailuresSayWhatToDo: no command succeeds without what it needs, and each
// says what that is and what to do.
func TestFailuresSayWhatToDo(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere.toml")
	for _, c := range []struct {
		args string
		says []string
	}{
		{"run", []string{nowhere, "-c"}},
		{"check", []string{nowhere, "-c"}},
		{"alerts", []string{nowhere, "-c"}},
		{"host check", []string{nowhere, "-c"}},
		{"host prepare", []string{nowhere, "-c"}},
		{"status --socket /nowhere/socket", []string{"/nowhere/socket", "is lvsd running"}},
		{"why web --socket /nowhere/socket", []string{"/nowhere/socket", "is lvsd running"}},
		{"reload --socket /nowhere/socket", []string{"/nowhere/socket", "is lvsd running"}},
		{"drain web 10.0.0.9:80", []string{nowhere, "-c"}},
		{"undrain web 10.0.0.9:80", []string{nowhere, "-c"}},
		{"weight web 10.0.0.9:80 1", []string{nowhere, "-c"}},
		{"zero --socket /nowhere/socket", []string{"/nowhere/socket", "is lvsd running"}},
		{"convert ipvsadm /nowhere/table", []string{"/nowhere/table"}},
		{"convert keepalived lb1=/nowhere/conf", []string{"/nowhere/conf"}},
		{"convert ldirectord /nowhere/conf", []string{"/nowhere/conf"}},
	} {
		code, out, errOut := ran(t, append(strings.Fields(c.args), "-c", nowhere)...)
		if code != command.Failed || out != "" {
			t.Errorf("%s: exit code %d, stdout %q", c.args, code, out)
		}
		for _, s := range c.says {
			if !strings.Contains(errOut, s) {
				t.Errorf("%s: says %q, and not %q", c.args, errOut, s)
			}
		}
	}
	if code, _, errOut := ran(t, "convert", "keepalived", "/nowhere/conf"); code != command.Usage || !strings.Contains(errOut, "NAME=FILE") {
		t.Errorf("a file without a name: exit code %d: %s", code, errOut)
	}
}

// TestCompletion: a shell gets the names in the file.
func TestCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"why ":             "web\ndns\n",
		"why web ":         "10.0.0.9:80\n10.0.0.20:80\n10.0.0.21:80\n",
		"why web x ":       "",
		"zero ":            "web\ndns\n",
		"handover ":        "web\n",
		"run --director ":  "lb1\nlb2\n",
		"why no-service ":  "",
		"version ":         "",
		"status web ":      "dns\n",
		"drain ":           "web\ndns\n",
		"drain web ":       "10.0.0.9:80\n10.0.0.20:80\n",
		"drained ":         "web\n",
		"drained web ":     "10.0.0.21:80\n",
		"undrain web ":     "",
		"weight web ":      "10.0.0.9:80\n10.0.0.20:80\n10.0.0.21:80\n",
		"status --socket ": "",
	} {
		line := append([]string{"__complete", "-c", "../../../docs/lvsd.toml"}, strings.Split(args, " ")...)
		code, out, _ := ran(t, line...)
		names, _, _ := strings.Cut(out, ":4\n")
		names, _, _ = strings.Cut(names, ":0\n")
		if code != command.Done || names != want {
			t.Errorf("%s: exit code %d: %q, want %q", args, code, names, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, _ := ran(t, "completion", shell); code != command.Done || len(out) < 1000 {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, len(out))
		}
	}
}

// TestNothingForTheTerminal: no command prints a character that a terminal obeys.
func TestNothingForTheTerminal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "\x1b]0;title\x07\u009b31m.toml")
	for _, args := range [][]string{{"check"}, {"check", "--json"}, {"plan"}, {"run"}, {"reload"}, {"status", "\x1b[2J"}, {"probe"}} {
		_, out, errOut := ran(t, append(args, "-c", file)...)
		if text := out + errOut; text == "" || strings.ContainsAny(text, "\x1b\x07\u009b") {
			t.Errorf("%q: %q", args, text)
		}
	}
}
