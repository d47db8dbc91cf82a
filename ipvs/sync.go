// The connection synchronisation: its configuration, and the kernel's two sync daemons,
// which the reconciler keeps running as configured. Daemons that another process
// started are stopped only if a synchronisation is configured.

package ipvs

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// SyncConfig configures the connection synchronisation of the namespace.
type SyncConfig struct {
	Interface string
	ID        uint8      // 1 to 255, the same on both directors
	Group     netip.Addr // multicast; the zero value means 224.0.0.81
	Port      uint16     // UDP; 0 means 8848
	TTL       uint8      // 0 means 1
	MaxLen    int        // bytes of a message; 0 means what fits into 1500 and the interface's MTU
	// Threshold are the two numbers of net.ipv4.vs.sync_threshold: the packets after
	// which a connection is sent, and those after which it is sent again. Both 0
	// leaves the kernel's.
	Threshold [2]int
	// RefreshPeriod is net.ipv4.vs.sync_refresh_period, rounded up to seconds.
	RefreshPeriod time.Duration
}

// SyncRole is one of the two sync daemons (IP_VS_STATE_* in
// include/uapi/linux/ip_vs.h).
type SyncRole uint32

// The master sends, the backup receives.
const (
	SyncMaster SyncRole = 1
	SyncBackup SyncRole = 2
)

// String returns "master" or "backup".
func (r SyncRole) String() string {
	switch r {
	case SyncMaster:
		return "master"
	case SyncBackup:
		return "backup"
	}
	return fmt.Sprintf("sync-role-%d", uint32(r))
}

// SyncState is the state of the two sync daemons.
type SyncState struct {
	Master, Backup SyncDaemon
}

// SyncDaemon is the state of one sync daemon. The other fields are set only when it
// runs.
type SyncDaemon struct {
	Running   bool
	Interface string
	ID        uint32
	Group     netip.Addr
	Port      uint16
	TTL       uint8
	MaxLen    uint16
}

// HeaderLen returns the length of the IP and UDP headers of a message in bytes.
func (c SyncConfig) HeaderLen() int {
	if c.Group.Is6() {
		return 40 + 8
	}
	return 20 + 8
}

// Fits returns an error if messages of MaxLen do not fit into the MTU.
func (c SyncConfig) Fits(mtu int) error {
	if most := mtu - c.HeaderLen(); c.MaxLen > most {
		return fmt.Errorf("messages of %d bytes do not fit through %s, whose MTU is %d: at most %d", c.MaxLen, c.Interface, mtu, most)
	}
	return nil
}

// of returns the configuration that one daemon is started with on an interface of that
// MTU. The sender keeps to the MTU. The receiver's length is the size of its buffer,
// which is at least the kernel's default, so that no message of the peer is cut.
func (c SyncConfig) of(role SyncRole, mtu int) SyncConfig {
	c.Threshold, c.RefreshPeriod = [2]int{}, 0
	most := min(mtu, ethernetMTU) - c.HeaderLen()
	switch {
	case role == SyncMaster && c.MaxLen == 0 && mtu < ethernetMTU:
		c.MaxLen = most
	case role == SyncBackup && c.MaxLen <= ethernetMTU-c.HeaderLen():
		c.MaxLen = 0
	}
	return c
}

// sysctls returns the sysctls of the synchronisation.
func (c SyncConfig) sysctls() []sysctl {
	var all []sysctl
	if c.Threshold != [2]int{} {
		all = append(all, sysctl{"sync_threshold", fmt.Sprintf("%d %d", c.Threshold[0], c.Threshold[1])})
	}
	period := (c.RefreshPeriod + time.Second - 1) / time.Second
	return append(all, sysctl{"sync_refresh_period", strconv.FormatInt(int64(period), 10)})
}

// The kernel's defaults (IP_VS_SYNC_GROUP and IP_VS_SYNC_PORT in
// net/netfilter/ipvs/ip_vs_sync.c), and the MTU of Ethernet, to which the
// kernel's sender keeps whatever the interface has.
const (
	defaultSyncPort = 8848
	defaultSyncTTL  = 1
	ethernetMTU     = 1500
)

var defaultSyncGroup = netip.AddrFrom4([4]byte{224, 0, 0, 81})

// WithDefaults returns c with the kernel's defaults for a zero Group, Port and
// TTL.
func (c SyncConfig) WithDefaults() SyncConfig {
	if !c.Group.IsValid() {
		c.Group = defaultSyncGroup
	}
	c.Port, c.TTL = cmp.Or(c.Port, defaultSyncPort), cmp.Or(c.TTL, defaultSyncTTL)
	return c
}

// Destination returns the group and the port that the messages are sent to.
func (c SyncConfig) Destination() netip.AddrPort {
	c = c.WithDefaults()
	return netip.AddrPortFrom(c.Group, c.Port)
}

// Equal reports whether two configurations are the same; nil is equal to nil
// alone.
func (c *SyncConfig) Equal(o *SyncConfig) bool {
	if c == nil || o == nil {
		return c == o
	}
	return *c == *o
}

// differs returns what of a running daemon is not as configured; "" means nothing.
func (c SyncConfig) differs(role SyncRole, d SyncDaemon) string {
	c = c.WithDefaults()
	want := SyncDaemon{Interface: c.Interface, ID: uint32(c.ID), Group: c.Group, Port: c.Port, TTL: c.TTL,
		MaxLen: uint16(cmp.Or(c.MaxLen, ethernetMTU-c.HeaderLen()))}
	switch {
	case !d.Running:
		return "not running"
	case d.Interface != want.Interface:
		return "interface " + d.Interface
	case d.ID != want.ID:
		return fmt.Sprintf("id %d", d.ID)
	case d.Group.IsValid() && d.Group != want.Group: // not reported by kernels before 4.3
		return "group " + d.Group.String()
	case d.Port != 0 && d.Port != want.Port:
		return fmt.Sprintf("port %d", d.Port)
	case d.TTL != 0 && d.TTL != want.TTL:
		return fmt.Sprintf("ttl %d", d.TTL)
	case role == SyncMaster && d.MaxLen != 0 && d.MaxLen != want.MaxLen,
		role == SyncBackup && d.MaxLen != 0 && d.MaxLen < want.MaxLen:
		return fmt.Sprintf("maxlen %d", d.MaxLen)
	}
	return ""
}

// String returns for example "eth1 id 5".
func (c SyncConfig) String() string { return fmt.Sprintf("%s id %d", c.Interface, c.ID) }

// String returns for example "eth1 id 5".
func (d SyncDaemon) String() string { return fmt.Sprintf("%s id %d", d.Interface, d.ID) }

// Daemon returns the state of the daemon of that role.
func (s SyncState) Daemon(role SyncRole) SyncDaemon {
	if role == SyncMaster {
		return s.Master
	}
	return s.Backup
}

// SetDaemon sets the state of the daemon of that role.
func (s *SyncState) SetDaemon(role SyncRole, d SyncDaemon) {
	if role == SyncMaster {
		s.Master = d
		return
	}
	s.Backup = d
}

// Names of the operations on the daemons in Snapshot.Operations.
const (
	opStartSync = "start_sync"
	opStopSync  = "stop_sync"
)

// syncRoles has the receiver first: it must be ready before the sender.
var syncRoles = [...]SyncRole{SyncBackup, SyncMaster}

// syncDaemons is what the reconciler knows of the sync daemons.
type syncDaemons struct {
	state   SyncState // as the kernel reported
	desired *SyncConfig
	inSync  bool // the kernel was as desired at the last comparison
	err     string
	index   map[SyncRole]int // interface index at our start, which is another when the interface was created again

	// Between stop and start of one pass:
	pending  []syncStart
	errs     []error
	deferred bool // a daemon is left as it is because of a conflict
}

// syncStart is a daemon that is to be started.
type syncStart struct {
	role  SyncRole
	cfg   SyncConfig
	why   string
	index int
}

// due reports whether the daemons must be compared although the kernel was not
// read.
func (s *syncDaemons) due(desired *SyncConfig, owned Owned) bool {
	return !desired.Equal(s.desired) || desired == nil && owned.Sync()
}

// differs returns what of a daemon is not as configured; "" means nothing.
func (s *syncDaemons) differs(cfg SyncConfig, role SyncRole, d SyncDaemon, index int) string {
	why := cfg.differs(role, d)
	if at := s.index[role]; why == "" && at != 0 && at != index {
		why = "interface recreated"
	}
	return why
}

// CheckSync returns why the synchronisation cannot work on this host: no such
// interface, messages longer than its MTU, or net.ipv4.vs.backup_only. It changes
// nothing.
func CheckSync(k Kernel, c SyncConfig) error {
	_, mtu, err := k.Interface(c.Interface)
	if err == nil {
		err = c.Fits(mtu)
	}
	return errors.Join(err, checkBackupOnly(k))
}

// checkBackupOnly refuses backup_only=1: a director whose receiver runs, and ours
// always does, then forwards nothing.
func checkBackupOnly(k Kernel) error {
	v, err := k.Sysctl("backup_only")
	if err != nil || v == "0" { // kernels before 3.8 do not have it
		return nil
	}
	return fmt.Errorf("net.ipv4.vs.backup_only = %s: a director that receives connections then refuses new ones; set it to 0", v)
}

// DesiredSync returns the synchronisation of the desired state; nil means none.
func (r *Reconciler) DesiredSync() *SyncConfig {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.desired.Sync
}

// stopSync stops the daemons that differ from the desired ones. It runs before the
// table is written: the kernel refuses destinations of another address family than
// their service's while a daemon runs.
func (r *Reconciler) stopSync(desired Desired) {
	s := &r.sync
	s.inSync = s.inSync && desired.Sync.Equal(s.desired)
	s.desired = desired.Sync
	s.pending, s.errs, s.deferred = nil, nil, false
	state, err := r.k.Daemons()
	if err != nil {
		s.errs = append(s.errs, err)
		return
	}
	if s.state != state {
		r.changed = true
	}
	s.state = state
	if desired.Sync == nil {
		r.stopOurSync()
		return
	}
	index, mtu, err := r.k.Interface(desired.Sync.Interface)
	if err != nil {
		s.errs = append(s.errs, err)
		return
	}
	for _, role := range syncRoles {
		cfg, d := desired.Sync.of(role, mtu), s.state.Daemon(role)
		if why := s.differs(cfg, role, d, index); why != "" {
			r.replaceDaemon(syncStart{role, cfg, why, index}, d)
		}
	}
	s.errs = append(s.errs, desired.Sync.Fits(mtu))
}

// replaceDaemon stops a daemon that differs and queues its start, unless another
// process keeps changing it.
func (r *Reconciler) replaceDaemon(start syncStart, d SyncDaemon) {
	s := &r.sync
	p := subject{setting: "sync " + start.role.String()}
	if s.inSync {
		r.foreignChange(p, Drift{Kind: DriftSync, From: start.cfg.String(), To: start.why}, "the connection synchronisation was modified by another process", "role", start.role.String())
	}
	if r.conflicts.defers(p, start.cfg.String(), time.Now()) {
		s.deferred = true
		return
	}
	if d.Running {
		if err := r.stopDaemon(start.role); err != nil {
			s.errs = append(s.errs, err)
			return
		}
	}
	s.pending = append(s.pending, start)
}

// startSync starts the daemons that stopSync queued, after the table was written.
func (r *Reconciler) startSync(desired Desired) {
	if desired.Sync == nil {
		return
	}
	s := &r.sync
	errs := append(s.errs, r.syncSettings(*desired.Sync))
	if !r.owned.Sync() {
		r.recordSyncOwner(true)
	}
	started := false
	for _, start := range s.pending {
		if err := r.startDaemon(start); err != nil {
			errs = append(errs, err)
			continue
		}
		started = true
	}
	if s.pending = nil; started {
		if state, err := r.k.Daemons(); err == nil {
			s.state = state
		}
	}
	err := errors.Join(errs...)
	if s.inSync = err == nil && !s.deferred; err != nil {
		r.syncFailed(err)
		return
	}
	if s.err != "" {
		s.err = ""
		r.log.Info("connection synchronisation recovered")
		r.changed = true
	}
}

func (r *Reconciler) startDaemon(start syncStart) error {
	err := r.k.StartDaemon(start.role, start.cfg)
	if errors.Is(err, syscall.EEXIST) {
		err = errors.Join(r.k.StopDaemon(start.role), r.k.StartDaemon(start.role, start.cfg))
	}
	r.count(opStartSync, err)
	if err != nil {
		return err
	}
	r.sync.index[start.role] = start.index
	r.conflicts.noteWrite(subject{setting: "sync " + start.role.String()}, start.cfg.String(), r.readAt, r.interval)
	r.log.Info("connection synchronisation started", "role", start.role.String(), "interface", start.cfg.Interface, "id", start.cfg.ID, "reason", start.why)
	r.note(Change{Kind: ChangeSync, What: start.role.String(), From: start.why, To: start.cfg.String()})
	return nil
}

// syncSettings sets the sysctls of the synchronisation and checks the one that it
// does not work with.
func (r *Reconciler) syncSettings(c SyncConfig) error {
	err := checkBackupOnly(r.k)
	before := r.sync.inSync
	for _, s := range c.sysctls() {
		err = errors.Join(err, r.applySysctl(s.name, s.value, before))
	}
	return err
}

func (r *Reconciler) stopDaemon(role SyncRole) error {
	err := r.k.StopDaemon(role)
	if errors.Is(err, syscall.ESRCH) {
		err = nil
	}
	r.count(opStopSync, err)
	if err == nil {
		r.sync.state.SetDaemon(role, SyncDaemon{})
		delete(r.sync.index, role)
	}
	return err
}

// stopOurSync stops the daemons if the ledger has them as ours. Daemons of another
// process keep running.
func (r *Reconciler) stopOurSync() {
	r.sync.inSync, r.sync.err = false, ""
	if !r.owned.Sync() {
		return
	}
	var errs []error
	for _, role := range syncRoles {
		d := r.sync.state.Daemon(role)
		if !d.Running {
			continue
		}
		if err := r.stopDaemon(role); err != nil {
			errs = append(errs, err)
			continue
		}
		r.log.Info("connection synchronisation stopped", "role", role.String(), "interface", d.Interface, "id", d.ID)
		r.note(Change{Kind: ChangeSync, What: role.String(), From: d.String(), To: "stopped"})
	}
	if err := errors.Join(errs...); err != nil {
		r.syncFailed(err)
		return
	}
	r.recordSyncOwner(false)
}

// recordSyncOwner saves in the ledger whether the daemons are ours.
func (r *Reconciler) recordSyncOwner(ours bool) {
	r.owned = r.owned.Clone()
	r.owned.SetSync(ours)
	r.ledgerStale = true
	r.saveLedger()
}

func (r *Reconciler) syncFailed(err error) {
	r.sync.inSync = false
	if r.lastErr = err.Error(); r.sync.err == r.lastErr {
		return
	}
	r.sync.err = r.lastErr
	r.log.Error("connection synchronisation failed, will be retried", "reason", err)
	r.note(Change{Kind: ChangeSyncFailed, Err: err})
}
