// The reconciler's hold on the connection synchronisation: both halves run all
// the time, as wished. It never touches daemons that nobody wished for.

package ipvs

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Names of the operations on the synchronisation in Snapshot.Operations.
const (
	opStartSync = "start_sync"
	opStopSync  = "stop_sync"
)

var syncRoles = [...]SyncRole{SyncBackup, SyncMaster} // who receives is ready before who sends

// CheckSync says what keeps the synchronisation from working on this host, nil
// when nothing does. It is for a start and a reload, before anything is changed.
func CheckSync(k Kernel, c SyncConfig) error {
	_, mtu, err := k.Interface(c.Interface)
	if err == nil {
		err = c.Fits(mtu)
	}
	return errors.Join(err, checkBackupOnly(k))
}

// checkBackupOnly: with backup_only=1 a director whose receiver runs forwards
// nothing, and ours runs always.
func checkBackupOnly(k Kernel) error {
	v, err := k.Sysctl("backup_only")
	if err != nil || v == "0" { // kernels before 3.8 do not have it
		return nil
	}
	return fmt.Errorf("net.ipv4.vs.backup_only is %s: a director that receives connections then refuses its own; set it to 0", v)
}

// syncDue says whether the synchronisation must be looked at although the kernel
// was not read.
func (r *Reconciler) syncDue(wish Desired) bool {
	return !wish.Sync.Equal(r.syncWish) || wish.Sync == nil && r.owned.Sync()
}

// stopSync stops the halves that run otherwise than wished. It comes before the
// table is written: while one runs the kernel takes no destination of another
// family than its service.
func (r *Reconciler) stopSync(wish Desired) {
	r.syncSettled = r.syncSettled && wish.Sync.Equal(r.syncWish)
	r.syncWish = wish.Sync
	r.syncNow, r.syncErrs, r.syncHeld = nil, nil, false
	state, err := r.k.Daemons()
	if err != nil {
		r.syncErrs = append(r.syncErrs, err)
		return
	}
	if r.daemons != state {
		r.changed = true
	}
	r.daemons = state
	if wish.Sync == nil {
		r.stopOurSync()
		return
	}
	index, mtu, err := r.k.Interface(wish.Sync.Interface)
	if err != nil {
		r.syncErrs = append(r.syncErrs, err)
		return
	}
	for _, role := range syncRoles {
		cfg := wish.Sync.of(role, mtu)
		d := r.daemons.Daemon(role)
		why := r.daemonDiffers(cfg, role, d, index)
		if why == "" {
			continue
		}
		p := subject{setting: "sync " + role.String()}
		if r.syncSettled {
			r.foreignChange(p, Drift{Kind: DriftSync, From: cfg.String(), To: why}, "the connection synchronisation was changed by someone else", "half", role.String())
		}
		if r.contests.defers(p, cfg.String(), time.Now()) {
			r.syncHeld = true
			continue
		}
		if d.Running {
			if err := r.stopDaemon(role); err != nil {
				r.syncErrs = append(r.syncErrs, err)
				continue
			}
		}
		r.syncNow = append(r.syncNow, startSync{role, cfg, why, index})
	}
	r.syncErrs = append(r.syncErrs, wish.Sync.Fits(mtu))
}

// daemonDiffers names what of a half is not as wished; "" is nothing.
func (r *Reconciler) daemonDiffers(cfg SyncConfig, role SyncRole, d SyncDaemon, index int) string {
	why := cfg.differs(role, d)
	if at := r.syncIndex[role]; why == "" && at != 0 && at != index {
		why = "interface made anew"
	}
	return why
}

// startSync is a half that is to be started.
type startSync struct {
	role  SyncRole
	cfg   SyncConfig
	why   string
	index int
}

// startSync starts what stopSync found missing or stopped, after the table was
// written.
func (r *Reconciler) startSync(wish Desired) {
	if wish.Sync == nil {
		return
	}
	errs := append(r.syncErrs, r.syncSettings(*wish.Sync))
	if !r.owned.Sync() {
		r.owned = r.owned.Clone()
		r.owned.SetSync(true)
		r.ledgerOld = true
		r.saveLedger()
	}
	started := false
	for _, s := range r.syncNow {
		err := r.k.StartDaemon(s.role, s.cfg)
		if errors.Is(err, syscall.EEXIST) {
			err = errors.Join(r.k.StopDaemon(s.role), r.k.StartDaemon(s.role, s.cfg))
		}
		r.count(opStartSync, err)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		started = true
		r.syncIndex[s.role] = s.index
		r.contests.noteWrite(subject{setting: "sync " + s.role.String()}, s.cfg.String(), r.readAt, r.interval)
		r.log.Info("connection synchronisation started", "half", s.role.String(), "interface", s.cfg.Interface, "id", s.cfg.ID, "reason", s.why)
		r.note(Change{Kind: ChangeSync, What: s.role.String(), From: s.why, To: s.cfg.String()})
	}
	if r.syncNow = nil; started {
		if state, err := r.k.Daemons(); err == nil {
			r.daemons = state
		}
	}
	err := errors.Join(errs...)
	if r.syncSettled = err == nil && !r.syncHeld; err != nil {
		r.syncFailed(err)
		return
	}
	if r.syncErr != "" {
		r.syncErr = ""
		r.log.Info("connection synchronisation is as wanted again")
		r.changed = true
	}
}

// syncSettings sets the sysctls of the synchronisation and looks at the one that
// must not be set.
func (r *Reconciler) syncSettings(c SyncConfig) error {
	err := checkBackupOnly(r.k)
	before := r.syncSettled
	for _, s := range c.sysctls() {
		err = errors.Join(err, r.settleSysctl(s.name, s.value, before))
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
		r.daemons.SetDaemon(role, SyncDaemon{})
		delete(r.syncIndex, role)
	}
	return err
}

// stopOurSync stops what a wish of before started; daemons of somebody else go
// on.
func (r *Reconciler) stopOurSync() {
	r.syncSettled, r.syncErr = false, ""
	if !r.owned.Sync() {
		return
	}
	var errs []error
	for _, role := range syncRoles {
		d := r.daemons.Daemon(role)
		if !d.Running {
			continue
		}
		if err := r.stopDaemon(role); err != nil {
			errs = append(errs, err)
			continue
		}
		r.log.Info("connection synchronisation stopped", "half", role.String(), "interface", d.Interface, "id", d.ID)
		r.note(Change{Kind: ChangeSync, What: role.String(), From: fmt.Sprintf("%s id %d", d.Interface, d.ID), To: "stopped"})
	}
	if err := errors.Join(errs...); err != nil {
		r.syncFailed(err)
		return
	}
	r.owned = r.owned.Clone()
	r.owned.SetSync(false)
	r.ledgerOld = true
	r.saveLedger()
}

func (r *Reconciler) syncFailed(err error) {
	r.syncSettled = false
	if r.lastErr = err.Error(); r.syncErr == r.lastErr {
		return
	}
	r.syncErr = r.lastErr
	r.log.Error("connection synchronisation is not as wanted, will be tried again", "reason", err)
	r.note(Change{Kind: ChangeSyncFailed, Err: err})
}

// DesiredSync is the synchronisation of the present wish; nil for none.
func (r *Reconciler) DesiredSync() *SyncConfig {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.desired.Sync
}
