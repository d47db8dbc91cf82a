// What the kernel under the tests supports. Tests ask, so that they do not depend on
// one kernel.

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab/internal/runner"
)

// KernelInfo describes the running kernel.
type KernelInfo struct {
	Release string // as uname -r prints it
	// Disposable reports that a runner booted it for this run alone, so that a test
	// may unload its modules.
	Disposable bool
}

// Kernel returns what is known of the running kernel.
var Kernel = sync.OnceValue(func() KernelInfo {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return KernelInfo{Release: unix.ByteSliceToString(u.Release[:]), Disposable: os.Getenv(runner.BootedVariable) != ""}
})

// OtherKernelVariable names the file to which a test adds its name when this kernel lacks
// what it needs and another may have it. integration/run.sh runs those again there.
const OtherKernelVariable = "LVSD_OTHER_KERNEL"

// NeedPacketFilter ends a test where the kernel can neither filter nor translate packets
// of IP by iptables. Without OtherKernelVariable the test fails.
func (l *Lab) NeedPacketFilter() {
	l.tb.Helper()
	out, err := exec.Command("iptables-legacy", "-t", "nat", "-L", "-n").CombinedOutput()
	if err == nil {
		return
	}
	file := os.Getenv(OtherKernelVariable)
	if file == "" {
		l.tb.Fatalf("this kernel has no iptables: %v: %s", err, out)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	l.must(err, "ask for another kernel")
	defer f.Close()
	_, err = fmt.Fprintln(f, l.tb.Name())
	l.must(err, "ask for another kernel")
	l.tb.Skipf("ANOTHER KERNEL: this one has no iptables")
}
