package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/integration/lab/internal/runner"
)

// Each test boots a kernel of its own.

// umlRunner is a built runner, and a folder for its temporary files, whose name
// shows in the command line of everything that belongs to it.
type umlRunner struct {
	t    *testing.T
	path string
	tmp  string
	ctx  context.Context
}

// kernels is the folder in which the Makefile's runner has them, so that they are fetched
// once.
const kernels = "../../../bin/kernels"

func newUML(t *testing.T) *umlRunner {
	t.Helper()
	err := inside()
	if err == nil {
		_, err = chooseKernel(options{folder: kernels})
	}
	if err != nil {
		lab.Require(t, fmt.Errorf("User-Mode Linux cannot run: %w", err))
	}
	// Built without the race detector, whatever the test is: such a binary does not run in the
	// guest.
	dir := t.TempDir()
	r := &umlRunner{t: t, path: filepath.Join(dir, "uml"), tmp: filepath.Join(dir, "tmp")}
	build := exec.Command("go", "build", "-o", r.path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Mkdir(r.tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	r.ctx = ctx
	return r
}

func (r *umlRunner) command(args ...string) *exec.Cmd {
	args = append([]string{"--mode", "uml", "--kernels", kernels, "--mem", "256M"}, args...)
	cmd := exec.CommandContext(r.ctx, r.path, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+r.tmp, "LAB_TEST=a b\nc")
	return cmd
}

// run returns stdout, stderr and the exit status.
func (r *umlRunner) run(stdin []byte, args ...string) (string, string, int) {
	r.t.Helper()
	cmd := r.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatalf("%v\n%s", err, errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// nothingLeft waits until no process and no file of the runner is left.
func (r *umlRunner) nothingLeft() {
	r.t.Helper()
	var left []string
	_, ok := lab.Poll(10*time.Second, func() bool {
		left = nil
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range lines {
			if b, _ := os.ReadFile(f); bytes.Contains(b, []byte(r.tmp)) {
				left = append(left, f+": "+string(bytes.ReplaceAll(b, []byte{0}, []byte(" "))))
			}
		}
		files, _ := filepath.Glob(r.tmp + "/*")
		left = append(left, files...)
		return len(left) == 0
	})
	if !ok {
		r.t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"--mem", "512M", "--timeout=3s", "--mode", "uml", "--", "cmd", "-v", "--mem", "x"})
	if err != nil || o.Mem != 512<<20 || strings.Join(o.Command, " ") != "cmd -v --mem x" || o.mode != "uml" {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse([]string{"cmd", "-x"}); err != nil || len(o.Command) != 2 {
		t.Errorf("without --: %+v, %v", o, err)
	}
	for _, bad := range [][]string{{"--mem", "2", "x"}, {"--mem", "1M", "x"}, {"--mem", "-1G", "x"}, {"--mem", "", "x"}, {"--mode", "kvm", "x"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestStreamsEnvironmentFolderAndStatus(t *testing.T) {
	r := newUML(t)
	var in []byte
	for i := range 40_000 { // every byte, and more than any buffer on the path holds
		in = append(in, byte(i), byte(i>>8))
	}
	out, errs, status := r.run(in, "--", "sh", "-c", `cat; printf '%s' "$LAB_TEST" >&2; pwd >&2; cat /proc/net/ip_vs >&2; exit 7`)
	if out != string(in) {
		t.Errorf("%d bytes went in, %d others came out", len(in), len(out))
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(errs, "a b\nc"+here+"\nIP Virtual Server") {
		t.Errorf("stderr: %q", errs)
	}
	if status != 7 {
		t.Errorf("status %d", status)
	}
	r.nothingLeft()
}

func TestLongOutputIsComplete(t *testing.T) {
	r := newUML(t)
	out, _, status := r.run(nil, "--", "seq", "1", "1000000")
	if want := 6_888_896; len(out) != want || !strings.HasSuffix(out, "\n999999\n1000000\n") || status != 0 {
		t.Errorf("%d bytes instead of %d, status %d, ending in %q", len(out), want, status, out[max(0, len(out)-20):])
	}
}

func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"killed by a signal", []string{"--", "sh", "-c", "kill -SEGV $$"}, 139, "killed by SIGSEGV"},
		{"missing", []string{"--", "no-such-program"}, runner.ExitNotFound, "no-such-program"},
		{"no program", []string{"--", "/etc/passwd"}, runner.ExitNotExecutable, "/etc/passwd"},
		{"kernel dies", []string{"--", "sh", "-c", "echo c >/proc/sysrq-trigger; sleep 100"}, runner.ExitFailed, "Kernel panic"},
		{"time is up", []string{"--timeout", "4s", "--", "sh", "-c", "sleep 1000 & sleep 1000"}, runner.ExitTimeout, "--timeout"},
		{"a child keeps the stream", []string{"--", "sh", "-c", "sleep 1000 & exit 3"}, 3, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUML(t)
			_, errs, status := r.run(nil, c.args...)
			if status != c.status || !strings.Contains(errs, c.says) {
				t.Errorf("status %d, want %d; stderr, want %q:\n%s", status, c.status, c.says, errs)
			}
			r.nothingLeft()
		})
	}
}

// start runs a command that says "ready" and waits for that.
func (r *umlRunner) start(script string) (*exec.Cmd, *bytes.Buffer) {
	r.t.Helper()
	cmd := r.command("--", "sh", "-c", script)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		r.t.Fatalf("%v\n%s", err, errs.String())
	}
	return cmd, &errs
}

func TestSignals(t *testing.T) {
	for _, c := range []struct {
		name, script string
		signal       syscall.Signal
		status       int
	}{
		{"passed on", `trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done`, syscall.SIGTERM, 5},
		{"of its death", `echo ready; sleep 1000`, syscall.SIGINT, 130},
		{"ignored", `trap '' TERM; echo ready; sleep 1000`, syscall.SIGTERM, 143},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUML(t)
			cmd, errs := r.start(c.script)
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != c.status {
				t.Errorf("status %d, want %d\n%s", got, c.status, errs)
			}
			r.nothingLeft()
		})
	}
}

func TestAKilledRunnerEndsItsGuest(t *testing.T) {
	r := newUML(t)
	cmd, _ := r.start(`echo ready; sleep 1000 & sleep 1000`)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	r.nothingLeft()
}

// The guest has IPVS, so the runner in it uses the guest's kernel.
func TestDirect(t *testing.T) {
	r := newUML(t)
	script := `printf 'in:'; cat; hostname; ls -A /run; ps -o pid= -C sh | wc -l; ipvsadm -A -t 192.0.2.1:80 -s wlc && ipvsadm -Sn; exit 9`
	outer := fmt.Sprintf(`touch /run/outside; %s --mode direct -v -- sh -c "$0"; echo status $?; ipvsadm -Sn; ls /run/outside`, r.path)
	out, errs, status := r.run([]byte("x\n"), "--", "sh", "-c", outer, script)
	want := "in:x\nlab\n1\n-A -t 192.0.2.1:80 -s wlc\nstatus 9\n/run/outside\n"
	if out != want || status != 0 || !strings.Contains(errs, "this machine's kernel") {
		t.Errorf("status %d, %q, want %q\n%s", status, out, want, errs)
	}
}

func TestDirectWithoutIPVSSaysSo(t *testing.T) {
	if directProblem() == nil {
		return // this kernel has it
	}
	cmd := exec.CommandContext(t.Context(), newUML(t).path, "--mode", "direct", "--", "true")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != runner.ExitFailed || !strings.Contains(string(out), "cannot be used") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTerminal(t *testing.T) {
	r := newUML(t)
	ptm, pts, err := runner.OpenPTY(33, 99)
	if err != nil {
		t.Fatal(err)
	}
	defer ptm.Close()
	cmd := r.command("--", "bash", "--norc", "--noprofile")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pts, pts, pts
	cmd.Env = append(cmd.Env, "PS1=now> ", "TERM=dumb")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	before, err := unix.IoctlGetTermios(int(pts.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A blocking read of a terminal ends only with the last of its other ends.
	stuck := time.AfterFunc(2*time.Minute, func() {
		_ = cmd.Process.Kill()
		pts.Close()
	})
	defer stuck.Stop()
	var seen strings.Builder
	expect := func(text string) {
		t.Helper()
		from := seen.Len()
		buf := make([]byte, 4096)
		for !strings.Contains(seen.String()[from:], text) {
			n, err := ptm.Read(buf)
			if seen.Write(buf[:n]); err != nil {
				t.Fatalf("%v, wanted %q of:\n%s", err, text, seen.String()[from:])
			}
		}
	}
	type_ := func(text string) {
		if _, err := io.WriteString(ptm, text); err != nil {
			t.Fatal(err)
		}
	}
	expect("now> ")
	type_("stty size; tty\r")
	expect("33 99\r\n/dev/pts/0\r\nnow> ")
	// The program itself reports its start: between a shell's echo and the start of a
	// program a ctrl-C would reach neither of them.
	type_("sh -c 'echo sleep''ing; exec sleep 1000'\r")
	expect("sleeping\r\n")
	type_("\x03")
	expect("^C\r\nnow> ")
	type_("echo status $?; exit 6\r")
	expect("status 130\r\n")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 6 {
		t.Errorf("status %d", got)
	}
	after, err := unix.IoctlGetTermios(int(pts.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal was left as %+v, %v; it was %+v", after, err, before)
	}
	pts.Close()
	r.nothingLeft()
}
