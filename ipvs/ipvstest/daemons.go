// The sync daemons, zeroing of counters, and connections.

package ipvstest

import (
	"io"
	"net/netip"
	"strings"
	"syscall"

	"lvsd/ipvs"
)

// fakeSync is the state of daemons, interfaces and connections.
type fakeSync struct {
	state       ipvs.SyncState
	mtu         map[string]int // by interface
	index       map[string]int
	starts      int
	connections string
}

// Zero sets counters to 0.
func (f *Kernel) Zero(k *ipvs.ServiceKey) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return f.down
	}
	if k != nil {
		if _, there := f.table[*k]; !there {
			return syscall.ESRCH
		}
	}
	for key, s := range f.stats {
		if k != nil && key != *k {
			continue
		}
		s.Counters = ipvs.Counters{}
		zeroed := ipvs.ServiceStats{Destinations: map[netip.AddrPort]ipvs.DestinationStats{}}
		for a, d := range s.Destinations {
			d.Counters = ipvs.Counters{}
			zeroed.Destinations[a] = d
		}
		f.stats[key] = zeroed
	}
	return nil
}

// SetInterface creates an interface with an MTU, again if it exists, or removes it with
// 0.
func (f *Kernel) SetInterface(name string, mtu int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sync.index[name]++
	if f.sync.mtu[name] = mtu; mtu == 0 {
		delete(f.sync.mtu, name)
	}
}

// Interface returns an interface's index and MTU.
func (f *Kernel) Interface(name string) (index, mtu int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	mtu, there := f.sync.mtu[name]
	if !there {
		return 0, 0, syscall.ENODEV
	}
	return f.sync.index[name], mtu, nil
}

// SetDaemons sets which daemons run, as another process would.
func (f *Kernel) SetDaemons(s ipvs.SyncState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sync.state = s
}

// Daemons returns which daemons run.
func (f *Kernel) Daemons() (ipvs.SyncState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sync.state, f.down
}

// StartDaemon starts a daemon, with the kernel's defaults for what is zero.
func (f *Kernel) StartDaemon(role ipvs.SyncRole, c ipvs.SyncConfig) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return f.down
	}
	if c.Group.IsValid() && !c.Group.IsMulticast() || f.mixed() {
		return syscall.EINVAL
	}
	mtu, there := f.sync.mtu[c.Interface]
	if !there {
		return syscall.ENODEV
	}
	const ethernetMTU = 1500
	c = c.WithDefaults()
	d := ipvs.SyncDaemon{Running: true, Interface: c.Interface, ID: uint32(c.ID), Group: c.Group, Port: c.Port, TTL: c.TTL}
	n := c.MaxLen
	switch {
	case role == ipvs.SyncMaster && n == 0:
		n = ethernetMTU - c.HeaderLen()
	case role == ipvs.SyncBackup && n == 0:
		n = min(max(mtu, ethernetMTU), 65535) - c.HeaderLen()
	case role == ipvs.SyncBackup:
		n = max(n, 1024)
	}
	d.MaxLen = uint16(min(n, 65535-c.HeaderLen()))
	if f.sync.state.Daemon(role).Running {
		return syscall.EEXIST
	}
	f.sync.state.SetDaemon(role, d)
	f.sync.starts++
	return nil
}

// StopDaemon stops a daemon.
func (f *Kernel) StopDaemon(role ipvs.SyncRole) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return f.down
	}
	if !f.sync.state.Daemon(role).Running {
		return syscall.ESRCH
	}
	f.sync.state.SetDaemon(role, ipvs.SyncDaemon{})
	return nil
}

// DaemonStarts returns the number of starts of daemons.
func (f *Kernel) DaemonStarts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sync.starts
}

// mixed reports whether a destination is of another address family than its service.
func (f *Kernel) mixed() bool {
	for k, s := range f.table {
		for a := range s.Destinations {
			if a.Addr().Is4() != k.Is4() {
				return true
			}
		}
	}
	return false
}

// SetConnections sets the contents of OpenConnections.
func (f *Kernel) SetConnections(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sync.connections = text
}

// OpenConnections returns what SetConnections set.
func (f *Kernel) OpenConnections() (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return io.NopCloser(strings.NewReader(f.sync.connections)), f.down
}
