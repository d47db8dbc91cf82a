// The state that the reconciler publishes after each pass, and its changes.

package ipvs

import (
	"maps"
	"slices"
	"time"
)

// Snapshot is the state of the reconciler after a pass. Its maps and slices must not
// be written to.
type Snapshot struct {
	// Valid: the kernel's table was read at least once.
	Valid bool
	// Up: the last attempt to read the kernel succeeded.
	Up bool
	// Generation is that of the last desired state that the kernel has in full;
	// Attempted that of the last one that was tried, with Errors or not.
	Generation, Attempted uint64
	// At is when the last reading ended, Began when it began: Table contains what
	// was in the kernel before Began.
	At, Began time.Time
	// Table is the kernel's, foreign services included, as read and changed by our
	// own writes since.
	Table Table
	Stats map[ServiceKey]ServiceStats // as read at At
	// Errors are the writes that failed and will be retried.
	Errors []OpError
	// LastError is the last error of any kind, also one that no longer applies.
	// LedgerError and SettingsError (timeouts, sysctls) are present errors, or empty.
	LastError, LedgerError, SettingsError string
	// Drift counts repaired changes of other processes by kind, all kinds present.
	Drift map[string]uint64
	// Operations counts the writes by result, all operations present.
	Operations map[Operation]uint64
	// Foreign counts ForeignEntries: destinations in our services that another
	// process added.
	Foreign        int
	ForeignEntries []Entry
	Info           Info
	// Sync is the state of the kernel's sync daemons, SyncError why they are not as
	// desired.
	Sync      SyncState
	SyncError string
	// SyncOwned: the sync daemons are ours. Otherwise another process started those
	// that run.
	SyncOwned bool
	// Draining are the destinations that left the desired table and wait for their
	// connections to end, in order.
	Draining []Draining
	// Conflicts are the entries and settings that another process keeps changing.
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

// Change is an event of the reconciler, reported once.
type Change struct {
	At    time.Time
	Kind  string // one of the Change… constants
	Entry Entry  // zero when no entry is concerned
	// What is a kind of drift, an operation or the name of a sysctl. From and To are
	// texts for people.
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

	// A sync daemon was started, stopped or restarted (What is "master" or
	// "backup"), or that failed.
	ChangeSync       = "sync"
	ChangeSyncFailed = "sync_failed"
	// A drain started (To is "draining") or ended (To is one of the Drain…
	// constants).
	ChangeDrain = "drain"
	// A conflict started or ended.
	ChangeConflict    = "fight"
	ChangeConflictEnd = "fight_end"
)

// snapshot returns the present state.
func (r *Reconciler) snapshot() *Snapshot {
	s := &Snapshot{
		Valid:          !r.readAt.IsZero(),
		Up:             r.up,
		Generation:     r.applied,
		Attempted:      r.attempted,
		At:             r.readAt,
		Began:          r.readBegan,
		Table:          r.known.share(),
		Stats:          r.stats,
		LastError:      r.lastErr,
		LedgerError:    r.ledgerErr,
		SettingsError:  r.settingsErr,
		Drift:          maps.Clone(r.drift),
		Operations:     maps.Clone(r.writes),
		Foreign:        len(r.foreign),
		ForeignEntries: r.foreign,
		Info:           r.info,
		Sync:           r.sync.state,
		SyncError:      r.sync.err,
		SyncOwned:      r.owned.Sync(),
		Draining:       sortedDrains(r.drains.active),
		Conflicts:      r.conflicts.active(),
		reads:          r.reads,
	}
	for _, e := range r.failing {
		s.Errors = append(s.Errors, e)
	}
	slices.SortFunc(s.Errors, func(a, b OpError) int {
		if c := a.Op.entry().Compare(b.Op.entry()); c != 0 {
			return c
		}
		return int(a.Op.Kind) - int(b.Op.Kind)
	})
	return s
}

// publish stores a snapshot, wakes the callers that wait for one, and reports the
// changes.
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
