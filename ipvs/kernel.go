// The edge between the control layer and the kernel: the little that the
// reconciler needs of IPVS, so that a fake can stand beside the real one. It
// holds no state.

package ipvs

import (
	"errors"
	"io"
	"time"
)

// Kernel is the IPVS of one network namespace. Implementations serialise their
// callers, so it may be used from several goroutines; only the reconciler
// writes. Every call ends within a few seconds.
//
// Errors of a write are the kernel's errno (errors.Is with syscall.EEXIST …)
// as in net/netfilter/ipvs/ip_vs_ctl.c: a service that exists EEXIST, one that
// is missing ESRCH (for its destinations too), a destination that exists
// EEXIST, one that is missing ENOENT, an unknown scheduler or engine ENOENT,
// thresholds upside down or a negative weight ERANGE, a destination that is
// neither local nor unicast EINVAL, no CAP_NET_ADMIN EPERM. Where IPVS itself
// does not answer they wrap ErrUnavailable.
type Kernel interface {
	// Info says what IPVS this is.
	Info() (Info, error)
	// Read reads the whole table with its counters.
	Read() (Reading, error)
	// Apply does one operation: exactly one write.
	Apply(Op) error
	// Timeouts reads the connection timeouts, SetTimeouts sets those that
	// are not 0.
	Timeouts() (Timeouts, error)
	SetTimeouts(Timeouts) error
	// Sysctl reads and SetSysctl writes /proc/sys/net/ipv4/vs/NAME.
	Sysctl(name string) (string, error)
	SetSysctl(name, value string) error
	// Zero sets the counters of one service to 0, with nil those of all: also
	// of services that are not ours.
	Zero(*ServiceKey) error
	// Daemons reads which halves of the connection synchronisation run;
	// StartDaemon starts one (EEXIST when it runs, ENODEV without its
	// interface, EINVAL while a destination is of another family than its
	// service), StopDaemon stops one (ESRCH when it does not run).
	Daemons() (SyncState, error)
	StartDaemon(SyncRole, SyncConfig) error
	StopDaemon(SyncRole) error
	// Interface looks one up: its index, which is another when it is made
	// anew, and its MTU.
	Interface(name string) (index, mtu int, err error)
	// OpenConnections opens the list of connections, in the form of
	// /proc/net/ip_vs_conn_sync. It may be long.
	OpenConnections() (io.ReadCloser, error)
	Close() error
}

// ErrUnavailable is wrapped by errors that mean that IPVS is not there or does
// not answer: no module, no permission, a lost reply.
var ErrUnavailable = errors.New("IPVS is not available")

// Info is the kernel's own description.
type Info struct {
	Version       string // "1.2.1"
	ConnTableSize uint32 // buckets of the connection table
}

// Reading is one dump of the kernel's table.
type Reading struct {
	Table Table
	Stats map[ServiceKey]ServiceStats
}

// Timeouts are the connection timeouts of the namespace, in whole seconds.
type Timeouts struct{ TCP, TCPFin, UDP time.Duration }
