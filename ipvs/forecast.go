// What a wish would change in the kernel, found by the very functions with which
// the reconciler writes, on the kernel as it is now. Nothing here writes.

package ipvs

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Forecast is what stating a wish would change.
type Forecast struct {
	// Table and Stats are the kernel's now.
	Table Table
	Stats map[ServiceKey]ServiceStats
	Ops   []Op // the writes to the table, in their order
	// Draining are the destinations that would be kept at weight 0 until their
	// connections ended: those that drain already, and those that begin to.
	Draining []Draining
	Foreign  []Entry // destinations in our services that would be left there
	Settings []SettingChange
	Sync     []SyncChange
	// Problems is what could not be found out, or would not be written at once.
	Problems []string
}

// SettingChange is a setting beside the table: a timeout or a sysctl.
type SettingChange struct{ Name, From, To string }

// SyncChange is a half of the connection synchronisation. Without a From it would
// be started, without a To stopped, with both restarted.
type SyncChange struct {
	Role     SyncRole
	From, To string
	Why      string // "not running", "id 5"; empty for one that is stopped
}

type question struct {
	wish   Desired
	answer chan forecastAnswer
}

type forecastAnswer struct {
	forecast Forecast
	err      error
}

// Forecast says what Want would change. It reads the kernel, waits while a pass
// is under way, and needs Run to run.
func (r *Reconciler) Forecast(ctx context.Context, w Desired) (Forecast, error) {
	q := question{w, make(chan forecastAnswer, 1)}
	select {
	case r.questions <- q:
	case <-ctx.Done():
		return Forecast{}, fmt.Errorf("the control layer of IPVS does not answer: %w", ctx.Err())
	}
	select {
	case a := <-q.answer:
		return a.forecast, a.err
	case <-ctx.Done():
		return Forecast{}, fmt.Errorf("the kernel does not answer: %w", ctx.Err())
	}
}

// ForecastStart says what a reconciler that starts now would change for its first
// wish, given what a former one wrote.
func ForecastStart(k Kernel, owned Owned, w Desired) (Forecast, error) {
	r := NewReconciler(k, Options{})
	r.owned = owned.Clone()
	return r.forecast(w)
}

// forecast belongs to Run's goroutine.
func (r *Reconciler) forecast(wish Desired) (Forecast, error) {
	reading, err := r.k.Read()
	if err != nil {
		return Forecast{}, fmt.Errorf("failed to read the kernel's table: %w", err)
	}
	now := time.Now()
	table, draining, _ := drainTable(now, reading.Table, wish, r.drainTimes, r.owned, r.draining)
	f := Forecast{Table: reading.Table, Stats: reading.Stats, Draining: sortedDrains(draining)}
	var foreign []Entry
	f.Ops, foreign = Diff(reading.Table, table, r.owned, wish.Foreign)
	if wish.Foreign != Remove {
		f.Foreign = foreign
	}
	for _, op := range f.Ops {
		if r.contests.defers(subject{entry: op.entry()}, op.value(), now) {
			f.problem("another program keeps changing %s: it is set back once a resync interval only", op.entry())
		}
	}
	r.forecastSettings(&f, wish)
	r.forecastSync(&f, wish)
	return f, nil
}

func (f *Forecast) problem(format string, args ...any) {
	f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
}

func (r *Reconciler) forecastSettings(f *Forecast, wish Desired) {
	want := wish.settings()
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
	if wish.Sync != nil {
		sysctls = append(sysctls, wish.Sync.sysctls()...)
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

func (r *Reconciler) forecastSync(f *Forecast, wish Desired) {
	if wish.Sync == nil && !r.owned.Sync() {
		return
	}
	state, err := r.k.Daemons()
	if err != nil {
		f.problem("the connection synchronisation could not be read: %v", err)
		return
	}
	if wish.Sync == nil {
		for _, role := range syncRoles {
			if d := state.Daemon(role); d.Running {
				f.Sync = append(f.Sync, SyncChange{Role: role, From: d.String()})
			}
		}
		return
	}
	index, mtu, err := r.k.Interface(wish.Sync.Interface)
	if err != nil {
		f.problem("%v", err)
		return
	}
	for _, role := range syncRoles {
		cfg, d := wish.Sync.of(role, mtu), state.Daemon(role)
		why := r.daemonDiffers(cfg, role, d, index)
		if why == "" {
			continue
		}
		c := SyncChange{Role: role, To: cfg.String(), Why: why}
		if d.Running {
			c.From = d.String()
		}
		f.Sync = append(f.Sync, c)
	}
	if err := wish.Sync.Fits(mtu); err != nil {
		f.problem("%v", err)
	}
	if err := checkBackupOnly(r.k); err != nil {
		f.problem("%v", err)
	}
}
