package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(script string) Program {
	return Program{Command: []string{"/bin/sh", "-c", script}, Environment: []string{"A=b"}, Input: []byte("in\n"), Output: 10}
}

func TestEndings(t *testing.T) {
	t.Setenv("SECRET", "no")
	for _, c := range []struct{ script, want, output string }{
		{"exit 0", "", ""},
		{"cat; echo $A$SECRET; pwd", "", "in\nb\n/\n"},
		{"echo oops >&2; exit 3", "exit code 3", "oops\n"},
		{"kill -SEGV $$", "killed by SIGSEGV", ""},
		{"head -c 100000000 /dev/zero | tr '\\0' x", "", "xxxxxxxxxx"},
	} {
		gone := make(chan struct{})
		got := shell(c.script).Run(t.Context(), func() { close(gone) })
		<-gone
		if got.String() != c.want || got.Output != c.output || got.OK() != (c.want == "") {
			t.Errorf("%s: %q, %q, want %q, %q", c.script, got, got.Output, c.want, c.output)
		}
	}
	if got := (Program{Command: []string{"/nowhere"}}).Run(t.Context(), nil); got.OK() || !strings.Contains(got.String(), "no such file") {
		t.Errorf("no such program: %q", got)
	}
}

// TestTheGroupGoesWithItsProgram: what was started by the program is gone when
// the program ends, and at the deadline.
func TestTheGroupGoesWithItsProgram(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		killed bool
	}{
		"end":      {"sleep 1000 & echo $! > %s", false},
		"deadline": {"sleep 1000 & echo $! > %s.new; mv %[1]s.new %[1]s; wait", true},
	} {
		file := filepath.Join(t.TempDir(), "pid")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if c.killed {
			go func() {
				for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
					if _, err := os.Stat(file); err == nil {
						cancel() // the deadline, when there is something to kill
					}
				}
			}()
		}
		got := shell(fmt.Sprintf(c.script, file)).Run(ctx, nil)
		if got.Killed != c.killed {
			t.Errorf("%s: %q", name, got)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var pid int
		fmt.Sscan(string(text), &pid)
		for begin := time.Now(); unix.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(time.Millisecond) {
			if time.Since(begin) > time.Minute {
				t.Fatalf("%s: the sleeper %d is still there", name, pid)
			}
		}
	}
}

func zombie(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z")
}

// Programs do not get the ambient capabilities of a service without root. The threads
// of this test have one, where they may.
func TestNoAmbientCapability(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // which ends with it
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var sets [2]unix.CapUserData
		if unix.Capget(&head, &sets[0]) != nil || sets[0].Permitted&(1<<unix.CAP_NET_RAW) == 0 {
			t.Log("CAP_NET_RAW is not ours to pass on: only that nothing is passed on can be seen here")
		} else {
			sets[0].Inheritable |= 1 << unix.CAP_NET_RAW
			if err := errors.Join(unix.Capset(&head, &sets[0]), unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_RAW, 0, 0)); err != nil {
				t.Error(err)
			}
		}
		cmd := exec.Command("/bin/grep", "CapAmb", "/proc/self/status")
		out := output{limit: 1 << 10}
		cmd.Stdout = &out
		// A thread is made by the thread that needs it, with its capabilities.
		if err := startHere(cmd); err != nil {
			t.Error(err)
		}
		cmd.Wait()
		if got := out.String(); got != "CapAmb:\t0000000000000000\n" {
			t.Errorf("the program has %q", got)
		}
	}()
	<-done
}

// The VRRP process is under a real-time policy; its programs are not.
func TestNoRealTimePolicy(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // which ends with it
		policy := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
		if err := unix.SchedSetAttr(0, &policy, 0); err != nil {
			t.Log("a real-time policy is not ours to have: only that nothing is passed on can be seen here")
		}
		cmd := exec.Command("/bin/cat", "/proc/self/stat")
		out := output{limit: 1 << 10}
		cmd.Stdout = &out
		if err := startHere(cmd); err != nil {
			t.Error(err)
		}
		cmd.Wait()
		_, rest, _ := strings.Cut(out.String(), ") ")
		const policyField = 41 - 3 // proc_pid_stat(5), counted from the state
		if f := strings.Fields(rest); len(f) <= policyField || f[policyField] != "0" {
			t.Errorf("its policy is not the ordinary one: %q", out.String())
		}
	}()
	<-done
}

// TestNoKillOnceTheNumberIsFree: after a program is reaped its number may be that of
// another process group.
func TestNoKillOnceTheNumberIsFree(t *testing.T) {
	cmd := exec.Command("/bin/sleep", "1000")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := group{pid: cmd.Process.Pid}
	g.release()
	g.kill() // as at a deadline that is late
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("ended by %v", err)
	}
}
