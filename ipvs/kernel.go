// The interface between the reconciler and the kernel. Package netlink has the real
// one, package ipvstest one in memory.

package ipvs

import (
	"errors"
	"io"
	"time"
)

// Kernel is the IPVS of one network namespace. Its methods may be called from
// several goroutines and end within a few seconds. Only the reconciler writes.
//
// Errors of writes are the kernel's errno, to be tested by errors.Is with
// syscall.EEXIST and so on, as in net/netfilter/ipvs/ip_vs_ctl.c:
//
//   - EEXIST: the service or destination exists
//   - ESRCH: there is no such service, also for a write to its destinations
//   - ENOENT: there is no such destination, scheduler or persistence engine
//   - ERANGE: a negative weight, or a lower threshold above the upper one
//   - EINVAL: the destination's address is neither local nor unicast
//   - EPERM: CAP_NET_ADMIN is missing
//
// They wrap ErrUnavailable if IPVS itself does not reply.
type Kernel interface {
	// Info returns the version of IPVS.
	Info() (Info, error)
	// Read reads the whole table with its counters.
	Read() (Reading, error)
	// Apply does exactly one write.
	Apply(Op) error
	// Timeouts reads the connection timeouts. SetTimeouts sets those that are not 0.
	Timeouts() (Timeouts, error)
	SetTimeouts(Timeouts) error
	// Sysctl reads and SetSysctl writes /proc/sys/net/ipv4/vs/NAME.
	Sysctl(name string) (string, error)
	SetSysctl(name, value string) error
	// Zero sets the counters of one service to 0, or with nil those of all, also of
	// services that are not ours.
	Zero(*ServiceKey) error
	// Daemons reads which sync daemons run. StartDaemon starts one: EEXIST if it
	// runs, ENODEV if there is no such interface, EINVAL if a destination is of
	// another address family than its service. StopDaemon stops one: ESRCH if it
	// does not run.
	Daemons() (SyncState, error)
	StartDaemon(SyncRole, SyncConfig) error
	StopDaemon(SyncRole) error
	// Interface returns the MTU of an interface and its index, which changes when
	// the interface is created again.
	Interface(name string) (index, mtu int, err error)
	// OpenConnections opens the list of connections in the format of
	// /proc/net/ip_vs_conn_sync. It can have millions of lines.
	OpenConnections() (io.ReadCloser, error)
	Close() error
}

// ErrUnavailable is wrapped by errors that mean that IPVS does not exist or does not
// reply: no module, no permission, a lost reply.
var ErrUnavailable = errors.New("IPVS is not available")

// Info describes the kernel's IPVS.
type Info struct {
	Version       string // for example "1.2.1"
	ConnTableSize uint32 // buckets of the connection table
}

// Reading is one dump of the kernel's table.
type Reading struct {
	Table Table
	Stats map[ServiceKey]ServiceStats
}

// Timeouts are the connection timeouts of the namespace, in whole seconds.
type Timeouts struct{ TCP, TCPFin, UDP time.Duration }
