// The kernel's IPVS over generic netlink.

package ipvs

// OpenKernel opens the IPVS of the process's network namespace.
func OpenKernel() (Kernel, error) { return nil, ErrUnavailable }

// CheckScheduler says whether this kernel has the scheduler.
func CheckScheduler(name string) error { return nil }
