// What the kernel under the tests supports. Tests ask, so that they do not depend on
// one kernel.

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
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

// iptables returns the program that translates packets on this kernel, which may have
// ip_tables, nf_tables for IPv4, both or neither. It tries in a network namespace of its own.
var iptables = sync.OnceValues(func() (program string, err error) {
	for _, program := range []string{"iptables-legacy", "iptables-nft"} {
		out, failed := exec.Command("unshare", "--net", program, "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE").CombinedOutput()
		if failed == nil {
			return program, nil
		}
		err = errors.Join(err, fmt.Errorf("%s: %w: %s", program, failed, bytes.TrimSpace(out)))
	}
	return "", err
})

// IPTables runs the iptables that this kernel works with. rule is its arguments.
func (h *Host) IPTables(rule string) {
	h.lab.tb.Helper()
	program, err := iptables()
	h.lab.must(err, "filter packets")
	h.MustRun(append([]string{program}, strings.Fields(rule)...)...)
}

// NeedPacketFilter ends a test where the kernel can neither filter nor translate packets
// of IP by iptables. Without OtherKernelVariable the test fails.
func (l *Lab) NeedPacketFilter() {
	l.tb.Helper()
	_, err := iptables()
	if err == nil {
		return
	}
	file := os.Getenv(OtherKernelVariable)
	if file == "" {
		l.tb.Fatalf("this kernel has no iptables: %v", err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	l.must(err, "ask for another kernel")
	defer f.Close()
	_, err = fmt.Fprintln(f, l.tb.Name())
	l.must(err, "ask for another kernel")
	l.tb.Skipf("ANOTHER KERNEL: this one has no iptables")
}
