package ipvstest

import (
	"fmt"
	"maps"
	"sync"
	"syscall"
	"time"

	"lvsd/ipvs"
)

// Kernel is an ipvs.Kernel in memory. Use New.
type Kernel struct {
	mu         sync.Mutex
	table      ipvs.Table
	stats      map[ipvs.ServiceKey]ipvs.ServiceStats
	schedulers map[string]bool
	sysctls    map[string]string
	timeouts   ipvs.Timeouts
	faults     map[int]fault // by the number of the write
	refuse     func(ipvs.Op) error
	down       error
	writes     int
	reads      int
	ops        []ipvs.Op
	sync       fakeSync
}

type fault struct {
	err     error
	applied bool // the write takes effect anyway
}

// New returns an empty kernel with all schedulers and the kernel's default settings.
func New() *Kernel {
	f := &Kernel{
		table:      ipvs.Table{},
		stats:      map[ipvs.ServiceKey]ipvs.ServiceStats{},
		schedulers: map[string]bool{},
		sysctls: map[string]string{"expire_nodest_conn": "0", "expire_quiescent_template": "0",
			"backup_only": "0", "sync_threshold": "3\t50", "sync_refresh_period": "0"},
		timeouts: ipvs.Timeouts{TCP: 900 * time.Second, TCPFin: 120 * time.Second, UDP: 300 * time.Second},
		faults:   map[int]fault{},
		sync:     fakeSync{mtu: map[string]int{"lo": 65536, "eth0": 1500}, index: map[string]int{"lo": 1, "eth0": 2}},
	}
	for _, s := range []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"} {
		f.schedulers[s] = true
	}
	return f
}

// FailNth makes the n-th write from now fail without effect; 1 is the next.
func (f *Kernel) FailNth(n int, err error) { f.fault(n, fault{err: err}) }

// LoseReply makes the n-th write from now take effect but return ipvs.ErrUnavailable.
func (f *Kernel) LoseReply(n int) { f.fault(n, fault{ipvs.ErrUnavailable, true}) }

func (f *Kernel) fault(n int, x fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[f.writes+n] = x
}

// Refuse makes every write fail for which refuse returns an error; nil ends that.
func (f *Kernel) Refuse(refuse func(ipvs.Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

// SetDown makes every call fail as without the module, until down is false again. The
// table stays; clear it with Change to simulate a reloaded module.
func (f *Kernel) SetDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = nil
	if down {
		f.down = fmt.Errorf("%w: its module is not loaded", ipvs.ErrUnavailable)
	}
}

// Change changes the table as another process would. It is not counted as a write.
func (f *Kernel) Change(change func(ipvs.Table)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.table)
}

// SetStats sets the counters that reads return for a service.
func (f *Kernel) SetStats(k ipvs.ServiceKey, s ipvs.ServiceStats) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats[k] = s
}

// Table returns a copy of the table.
func (f *Kernel) Table() ipvs.Table {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.table.Clone()
}

// Ops returns the writes to the table so far, including failed ones.
func (f *Kernel) Ops() []ipvs.Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]ipvs.Op(nil), f.ops...)
}

// Reads returns the number of readings of the table.
func (f *Kernel) Reads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads
}

// Info returns a fixed version.
func (f *Kernel) Info() (ipvs.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return ipvs.Info{Version: "1.2.1", ConnTableSize: 4096}, f.down
}

// Read returns a copy of the table, with zero counters where none were set.
func (f *Kernel) Read() (ipvs.Reading, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.down != nil {
		return ipvs.Reading{}, f.down
	}
	return ipvs.Reading{Table: f.table.Clone(), Stats: maps.Clone(f.stats)}, nil
}

// Apply does the write, or returns the error of the kernel.
func (f *Kernel) Apply(op ipvs.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	f.ops = append(f.ops, op)
	if f.down != nil {
		return f.down
	}
	x, faulty := f.faults[f.writes]
	if faulty && !x.applied {
		return x.err
	}
	if f.refuse != nil {
		if err := f.refuse(op); err != nil {
			return err
		}
	}
	if err := f.check(op); err != nil {
		return err
	}
	op.ApplyTo(f.table)
	if faulty {
		return x.err
	}
	return nil
}

// check checks in the order of the kernel (net/netfilter/ipvs/ip_vs_ctl.c).
func (f *Kernel) check(op ipvs.Op) error {
	k := op.Service.Key
	s, there := f.table[k]
	switch op.Kind {
	case ipvs.AddService:
		if there {
			return syscall.EEXIST
		}
		return f.checkService(op.Service)
	case ipvs.EditService:
		if !there {
			return syscall.ESRCH
		}
		return f.checkService(op.Service)
	case ipvs.DeleteService:
		if !there {
			return syscall.ESRCH
		}
		return nil
	}
	if !there {
		return syscall.ESRCH
	}
	_, known := s.Destinations[op.Destination.Address]
	switch op.Kind {
	case ipvs.AddDestination:
		if err := f.checkDestination(k, op.Destination); err != nil {
			return err
		}
		if known {
			return syscall.EEXIST
		}
		return checkAddress(op.Destination)
	case ipvs.EditDestination:
		if err := f.checkDestination(k, op.Destination); err != nil {
			return err
		}
		if !known {
			return syscall.ENOENT
		}
		return nil
	case ipvs.DeleteDestination:
		if !known {
			return syscall.ENOENT
		}
		return nil
	}
	return syscall.EINVAL
}

func (f *Kernel) checkService(s ipvs.Service) error {
	if !f.schedulers[s.Scheduler] || s.Engine != "" && s.Engine != "sip" {
		return syscall.ENOENT
	}
	if bits := s.PersistencePrefix(); !s.Key.Is4() && (bits < 1 || bits > 128) {
		return syscall.EINVAL
	}
	return nil
}

func (f *Kernel) checkDestination(k ipvs.ServiceKey, d ipvs.Destination) error {
	if d.Address.Addr().Is4() != k.Is4() && (d.Forward != ipvs.Tunnel || f.sync.state != ipvs.SyncState{}) {
		return syscall.EINVAL
	}
	if d.Weight < 0 || d.LowerThreshold > d.UpperThreshold {
		return syscall.ERANGE
	}
	if d.Encap.Type == ipvs.GUE && d.Encap.Port == 0 {
		return syscall.EINVAL
	}
	return nil
}

func checkAddress(d ipvs.Destination) error {
	a := d.Address.Addr()
	if a.IsMulticast() || a.IsUnspecified() || a.Is4() && a.As4() == [4]byte{255, 255, 255, 255} {
		return syscall.EINVAL
	}
	return nil
}

// Timeouts returns the timeouts.
func (f *Kernel) Timeouts() (ipvs.Timeouts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.timeouts, f.down
}

// SetTimeouts sets those that are not 0, in whole seconds.
func (f *Kernel) SetTimeouts(t ipvs.Timeouts) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return f.down
	}
	set := func(to *time.Duration, d time.Duration) {
		if d := d.Truncate(time.Second); d != 0 {
			*to = d
		}
	}
	set(&f.timeouts.TCP, t.TCP)
	set(&f.timeouts.TCPFin, t.TCPFin)
	set(&f.timeouts.UDP, t.UDP)
	return nil
}

// Sysctl returns a sysctl, ENOENT if it is not simulated.
func (f *Kernel) Sysctl(name string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.sysctls[name]
	if !ok {
		return "", syscall.ENOENT
	}
	return v, nil
}

// SetSysctl sets a sysctl, EROFS after NoSysctls.
func (f *Kernel) SetSysctl(name, value string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sysctls == nil {
		return syscall.EROFS
	}
	f.sysctls[name] = value
	return nil
}

// NoSysctls removes the sysctls, as in a container without /proc/sys.
func (f *Kernel) NoSysctls() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sysctls = nil
}

// Close does nothing.
func (f *Kernel) Close() error { return nil }
