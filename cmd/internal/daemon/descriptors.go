// This file divides the file descriptors between the probes and the rest of the daemon.

package daemon

import "golang.org/x/sys/unix"

// ownDescriptors are for everything but probes: the connections of http_listen (64), of
// the control socket and the peers, the pipes of programs, and what is always open.
const ownDescriptors = 192

// maxProbes is how many probes may be in progress: as many as the limit of open files
// leaves, so that servers that hang never keep the daemon from replying. The Go runtime
// has raised the soft limit to the hard one.
func maxProbes() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return probesOf(limit.Cur)
}

func probesOf(descriptors uint64) int {
	descriptors = min(descriptors, 1<<30) // also of RLIM_INFINITY
	return int(max(descriptors-min(ownDescriptors, descriptors), descriptors/4, 1))
}
