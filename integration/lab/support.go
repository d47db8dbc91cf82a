// What this kernel and this user allow. Tests that need more report it.

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

// RequireVariable set to anything but "" or "0" turns a skip because of the kernel into
// a failure.
const RequireVariable = "LVSD_REQUIRE_KERNEL"

// Skipper is the part of a test that RequireKernel needs.
type Skipper interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// RequireKernel skips the test, with the reason, if this kernel has no IPVS or this
// user may not build hosts; with LVSD_REQUIRE_KERNEL=1 it fails instead.
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

// Require skips the test because of a problem of this machine, such as a missing
// program; with LVSD_REQUIRE_KERNEL=1 it fails instead. With nil it does nothing.
func Require(tb Skipper, problem error) {
	tb.Helper()
	if problem == nil {
		return
	}
	if v := os.Getenv(RequireVariable); v != "" && v != "0" {
		tb.Fatalf("%s is set and %v", RequireVariable, problem)
	}
	Skip(tb, problem)
}

// Skip skips the test because of a problem that is no failure with LVSD_REQUIRE_KERNEL=1
// either: a kernel that runs all else may have it. With nil it does nothing.
func Skip(tb Skipper, problem error) {
	tb.Helper()
	if problem != nil {
		tb.Skipf("SKIPPED, NOTHING WAS TESTED: %v", problem)
	}
}

// KernelProblem is nil if IPVS works and hosts can be built; otherwise it names what is
// missing and the remedy. It is computed once.
var KernelProblem = sync.OnceValue(func() error {
	if err := namespaceProblem(); err != nil {
		return err
	}
	if hasIPVS() {
		return nil
	}
	// A runner loads the module; this is for `go test` as root.
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
