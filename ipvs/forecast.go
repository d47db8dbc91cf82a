// What a desired state would change in the kernel, found by the functions that the
// reconciler writes with. Nothing here writes.

package ipvs

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Forecast is what a desired state would change.
type Forecast struct {
	// Table and Stats are the kernel's at present.
	Table Table
	Stats map[ServiceKey]ServiceStats
	Ops   []Op // writes to the table, in order
	// Draining are the destinations that would stay at weight 0 until their
	// connections end: those that drain already, and those that would start to.
	Draining []Draining
	Foreign  []Entry // foreign destinations that would stay
	Settings []SettingChange
	Sync     []SyncChange
	// Problems are what could not be determined, or would not be written at once.
	Problems []string
}

// SettingChange is a change of a timeout or a sysctl.
type SettingChange struct{ Name, From, To string }

// SyncChange is a change of a sync daemon: a start if From is empty, a stop if To is
// empty, otherwise a restart.
type SyncChange struct {
	Role     SyncRole
	From, To string
	Why      string // for example "not running" or "id 5"; empty for a stop
}

type forecastRequest struct {
	desired Desired
	reply   chan forecastReply
}

type forecastReply struct {
	forecast Forecast
	err      error
}

// Forecast returns what SetDesired would change. It reads the kernel between two
// passes, and fails if ctx ends before Run, which must be running, gets to it.
func (r *Reconciler) Forecast(ctx context.Context, d Desired) (Forecast, error) {
	q := forecastRequest{d, make(chan forecastReply, 1)}
	select {
	case r.forecasts <- q:
	case <-ctx.Done():
		return Forecast{}, fmt.Errorf("the IPVS reconciler does not respond: %w", ctx.Err())
	}
	select {
	case a := <-q.reply:
		return a.forecast, a.err
	case <-ctx.Done():
		return Forecast{}, fmt.Errorf("the kernel does not reply: %w", ctx.Err())
	}
}

// ForecastStart returns what a reconciler that starts now would change for its first
// desired state, if owned is what an earlier run wrote.
func ForecastStart(k Kernel, owned Owned, d Desired) (Forecast, error) {
	r := NewReconciler(k, Options{})
	r.owned = owned.Clone()
	return r.forecast(d)
}

// forecast runs on Run's goroutine.
func (r *Reconciler) forecast(desired Desired) (Forecast, error) {
	reading, err := r.k.Read()
	if err != nil {
		return Forecast{}, fmt.Errorf("failed to read the IPVS table: %w", err)
	}
	now := time.Now()
	p := r.drains.plan(now, reading.Table, desired, r.owned)
	f := Forecast{Table: reading.Table, Stats: reading.Stats, Draining: sortedDrains(p.active)}
	var foreign []Entry
	f.Ops, foreign = Diff(reading.Table, p.table, r.owned, desired.Foreign)
	if desired.Foreign != Remove {
		f.Foreign = foreign
	}
	for _, op := range f.Ops {
		if r.conflicts.defers(subject{entry: op.entry()}, op.value(), now) {
			f.problem("%s is repeatedly modified by another process: it is repaired once per resync interval", op.entry())
		}
	}
	r.forecastSettings(&f, desired)
	r.forecastSync(&f, desired)
	return f, nil
}

func (f *Forecast) problem(format string, args ...any) {
	f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
}

func (r *Reconciler) forecastSettings(f *Forecast, desired Desired) {
	want := desired.settings()
	if want.timeouts != (Timeouts{}) {
		have, err := r.k.Timeouts()
		if err != nil {
			f.problem("the timeouts could not be read: %v", err)
		}
		_, after := have.set(want.timeouts)
		for _, t := range []struct {
			name     string
			from, to fmt.Stringer
		}{{"timeout_tcp", have.TCP, after.TCP}, {"timeout_tcp_fin", have.TCPFin, after.TCPFin}, {"timeout_udp", have.UDP, after.UDP}} {
			if t.from != t.to && err == nil {
				f.Settings = append(f.Settings, SettingChange{t.name, t.from.String(), t.to.String()})
			}
		}
	}
	var sysctls []sysctl
	if want.sysctls {
		sysctls = append(sysctls, want.managed()...)
	}
	if desired.Sync != nil {
		sysctls = append(sysctls, desired.Sync.sysctls()...)
	}
	for _, s := range sysctls {
		have, err := r.k.Sysctl(s.name)
		if err != nil {
			f.problem("net.ipv4.vs.%s could not be read: %v", s.name, err)
			continue
		}
		if have = strings.Join(strings.Fields(have), " "); have != s.value {
			f.Settings = append(f.Settings, SettingChange{"net.ipv4.vs." + s.name, have, s.value})
		}
	}
}

func (r *Reconciler) forecastSync(f *Forecast, desired Desired) {
	if desired.Sync == nil && !r.owned.Sync() {
		return
	}
	state, err := r.k.Daemons()
	if err != nil {
		f.problem("the connection synchronisation could not be read: %v", err)
		return
	}
	if desired.Sync == nil {
		for _, role := range syncRoles {
			if d := state.Daemon(role); d.Running {
				f.Sync = append(f.Sync, SyncChange{Role: role, From: d.String()})
			}
		}
		return
	}
	index, mtu, err := r.k.Interface(desired.Sync.Interface)
	if err != nil {
		f.problem("%v", err)
		return
	}
	for _, role := range syncRoles {
		cfg, d := desired.Sync.of(role, mtu), state.Daemon(role)
		why := r.sync.differs(cfg, role, d, index)
		if why == "" {
			continue
		}
		c := SyncChange{Role: role, To: cfg.String(), Why: why}
		if d.Running {
			c.From = d.String()
		}
		f.Sync = append(f.Sync, c)
	}
	if err := desired.Sync.Fits(mtu); err != nil {
		f.problem("%v", err)
	}
	if err := checkBackupOnly(r.k); err != nil {
		f.problem("%v", err)
	}
}
