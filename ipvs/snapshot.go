// What the reconciler shows of itself: an immutable snapshot of the kernel's
// table, its counters, and of what was written, failed and repaired. It decides
// nothing.

package ipvs

import (
	"maps"
	"slices"
	"time"
)

// Snapshot is one state of the reconciler. It is never changed after it was
// published: do not write to its maps.
type Snapshot struct {
	// Valid: the kernel's table was read at least once.
	Valid bool
	// Up: the last attempt to read the kernel succeeded.
	Up bool
	// Generation is the last Want of which everything is in the kernel;
	// Attempted the last one that was tried, with Errors or not.
	Generation, Attempted uint64
	// At is when the table was last read in full, and how fresh Stats are.
	At time.Time
	// Began is when that reading began: what stood in the kernel before it is
	// in Table.
	Began time.Time
	// Table is the kernel's, foreign services included, as read and changed
	// by our own writes since.
	Table Table
	Stats map[ServiceKey]ServiceStats
	// Errors are the writes that failed and are still to be done.
	Errors []OpError
	// LastError is the last error of any kind, solved or not. LedgerError and
	// SettingsError (timeouts, sysctls) are what keeps those from being
	// written now; empty when nothing does.
	LastError, LedgerError, SettingsError string
	// Drift counts repaired changes of others by kind, all kinds present.
	Drift map[string]uint64
	// Operations counts the writes, those with result 0 present.
	Operations map[Operation]uint64
	// Foreign are destinations in our services that somebody else put there.
	Foreign        int
	ForeignEntries []Entry
	Info           Info
	// Sync is the connection synchronisation as the kernel has it, SyncError
	// what keeps it from being as wanted.
	Sync      SyncState
	SyncError string
	// Draining are the destinations that left the wanted table and wait for
	// their connections to end, in order.
	Draining []Draining
	// Conflicts are the places that another writer changes again and again.
	Conflicts []Conflict

	reads uint64 // attempts to read the kernel, for Refresh
}

// Operation is a label pair of the counter of kernel writes.
type Operation struct {
	Op     string // an OpKind's name, "set_timeouts", "set_sysctl", "start_sync" or "stop_sync"
	Result string // "ok" or "error"
}

// OpError is a write that fails.
type OpError struct {
	Op       Op
	Err      error
	Since    time.Time
	Attempts int
}

// Change is something that happened and that people want to know once.
type Change struct {
	At    time.Time
	Kind  string // one of the Change… constants
	Entry Entry  // zero where no entry is concerned
	// What is a drift kind, an operation or a sysctl's name; From and To are
	// for people.
	What, From, To string
	Err            error
}

// Kinds of Change.
const (
	ChangeDrift        = "drift"
	ChangeWriteFailed  = "write_failed"
	ChangeWriteOK      = "write_ok"
	ChangeKernelLost   = "kernel_lost"
	ChangeKernelBack   = "kernel_back"
	ChangeLedgerFailed = "ledger_failed"
	ChangeLedgerOK     = "ledger_ok"
	ChangeSysctl       = "sysctl"
	ChangeTimeouts     = "timeouts"

	ChangeForeign        = "foreign"
	ChangeSettingsFailed = "settings_failed"

	// Sync: a half was started, stopped or restarted (What is "master" or
	// "backup"), or failed to be.
	ChangeSync       = "sync"
	ChangeSyncFailed = "sync_failed"
	// Drain: From is empty and To "draining" at its start; at its end To is
	// "empty", "deadline" or "kept" (it was wished for again).
	ChangeDrain = "drain"
	// Fight: another writer fights back (once, at its start), or stopped.
	ChangeConflict    = "fight"
	ChangeConflictEnd = "fight_end"
)

// snapshot takes a picture of the owner's state.
func (r *Reconciler) snapshot() *Snapshot {
	s := &Snapshot{
		Valid:          !r.readAt.IsZero(),
		Up:             r.up,
		Generation:     r.applied,
		Attempted:      r.attempted,
		At:             r.readAt,
		Began:          r.readBegan,
		Table:          r.image,
		Stats:          r.stats,
		LastError:      r.lastErr,
		LedgerError:    r.ledgerErr,
		SettingsError:  r.settleErr,
		Drift:          maps.Clone(r.drift),
		Operations:     maps.Clone(r.counts),
		Foreign:        len(r.foreign),
		ForeignEntries: r.foreign,
		Info:           r.info,
		Sync:           r.daemons,
		SyncError:      r.syncErr,
		Draining:       sortedDrains(r.draining),
		Conflicts:      r.contests.active(),
		reads:          r.reads,
	}
	for _, e := range r.failing {
		s.Errors = append(s.Errors, e)
	}
	slices.SortFunc(s.Errors, func(a, b OpError) int {
		x, y := a.Op.entry(), b.Op.entry()
		if c := x.Service.Compare(y.Service); c != 0 {
			return c
		}
		if c := x.RealServer.Compare(y.RealServer); c != 0 {
			return c
		}
		return int(a.Op.Kind) - int(b.Op.Kind)
	})
	r.shared = true
	return s
}

// publish stores the snapshot, wakes those who wait, and tells what happened.
func (r *Reconciler) publish() {
	r.snap.Store(r.snapshot())
	r.mu.Lock()
	close(r.published)
	r.published = make(chan struct{})
	r.mu.Unlock()
	changed, changes := r.changed, r.changes
	r.changed, r.changes = false, nil
	if r.o.OnChange != nil {
		for _, c := range changes {
			r.o.OnChange(c)
		}
	}
	if changed && r.o.Wake != nil {
		r.o.Wake()
	}
}
