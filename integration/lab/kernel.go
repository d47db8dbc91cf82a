// What the kernel under the tests has: they ask, instead of knowing one kernel.

package lab

import (
	"os"
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
