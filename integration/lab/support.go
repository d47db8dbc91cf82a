// What this kernel and this user allow: tests that need more say so, loudly.

package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// RequireVariable set to anything but "" or "0" turns a skip for want of a
// kernel into a failure.
const RequireVariable = "LVSD_REQUIRE_KERNEL"

// Skipper is the part of a test that RequireKernel needs.
type Skipper interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// RequireKernel skips the test when this kernel has no IPVS or this user may
// not build hosts, and says so; with LVSD_REQUIRE_KERNEL=1 it fails instead.
func RequireKernel(tb Skipper) {
	tb.Helper()
	Require(tb, KernelProblem())
}

// RequireNamespaces is RequireKernel for tests that need hosts but no IPVS.
func RequireNamespaces(tb Skipper) {
	tb.Helper()
	Require(tb, namespaceProblem())
}

// RequireRoot is Require for tests that need root.
func RequireRoot(tb Skipper) {
	tb.Helper()
	if os.Geteuid() != 0 {
		Require(tb, errors.New("not root"))
	}
}

// Require skips the test for a problem that is this machine's, a program that is
// missing for instance, and says so; with LVSD_REQUIRE_KERNEL=1 it fails instead. Nil
// is no problem.
func Require(tb Skipper, problem error) {
	tb.Helper()
	if problem == nil {
		return
	}
	if v := os.Getenv(RequireVariable); v != "" && v != "0" {
		tb.Fatalf("%s is set and %v", RequireVariable, problem)
	}
	tb.Skipf("SKIPPED, NOTHING WAS TESTED: %v", problem)
}

// KernelProblem is nil where IPVS works and hosts can be built; otherwise it
// says what is missing and the remedy. The answer does not change: it is found once.
var KernelProblem = sync.OnceValue(func() error {
	if err := namespaceProblem(); err != nil {
		return err
	}
	if hasIPVS() {
		return nil
	}
	// Loading is the runner's business where there is one; this is for `go test` as root.
	if path, err := exec.LookPath("modprobe"); err == nil {
		_ = exec.Command(path, "-q", "ip_vs").Run()
	}
	if hasIPVS() {
		return nil
	}
	return fmt.Errorf("this kernel has no IPVS (no /proc/net/ip_vs, and modprobe ip_vs does not help); run the tests through the runner: bin/uml -- COMMAND")
})

func hasIPVS() bool {
	_, err := os.Stat("/proc/net/ip_vs")
	return err == nil
}

var namespaceProblem = sync.OnceValue(func() error {
	errc := make(chan error)
	go func() {
		// Never unlocked: the thread and its namespace end with the goroutine.
		runtime.LockOSThread()
		errc <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	if err := <-errc; err != nil {
		return fmt.Errorf("this user may not make network namespaces (%v); run as root, or through the runner: bin/uml -- COMMAND", err)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("hosts need root; run as root, or through the runner: bin/uml -- COMMAND")
	}
	return nil
})

// readLimited reads a body of at most 16 MiB.
func readLimited(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, 16<<20)) }
