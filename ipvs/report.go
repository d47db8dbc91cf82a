// What the reconciler logs and counts: drift, foreign entries, conflicts and drains.

package ipvs

import (
	"maps"
	"slices"
	"time"
)

// maxDriftLines bounds the log lines of one reading, for example after another
// process flushed the table. The counters have all of it.
const maxDriftLines = 100

// note queues a change for the next snapshot.
func (r *Reconciler) note(c Change) {
	c.At = time.Now()
	r.changed = true
	r.changes = append(r.changes, c)
}

// count counts a write by its result.
func (r *Reconciler) count(operation string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	r.writes[Operation{operation, result}]++
}

// attrs returns the log attributes of an entry.
func (r *Reconciler) attrs(e Entry, desired Desired) []any {
	name := desired.Names[e.Service]
	if name == "" {
		name = e.Service.String()
	}
	attrs := []any{"service", name}
	if e.RealServer.IsValid() {
		attrs = append(attrs, "real_server", e.RealServer.String())
	}
	return attrs
}

// reportDrift counts and logs what other processes changed in what is ours. A
// service whose last write lost its reply is left out: that write may be the cause.
func (r *Reconciler) reportDrift(actual Table, desired Desired) {
	lines, more := 0, 0
	for _, d := range findDrift(r.known.table, actual, func(k ServiceKey) bool {
		_, uncertain := r.known.uncertain[k]
		return r.owned.hasService(k) && !uncertain
	}) {
		if d.Entry.RealServer.IsValid() && !r.isOurDrift(d, desired) {
			continue
		}
		if lines >= maxDriftLines {
			more++
			r.drift[d.Kind]++
			r.note(Change{Kind: ChangeDrift, Entry: d.Entry, What: d.Kind, From: d.From, To: d.To})
			continue
		}
		if r.foreignChange(subject{entry: d.Entry}, d, "IPVS was modified by another process", r.attrs(d.Entry, desired)...) {
			lines++
		}
	}
	if more > 0 {
		r.log.Warn("IPVS was modified by another process in more places", "count", more)
	}
}

// isOurDrift reports whether the drift of a destination counts: of an owned one, or
// a foreign one unless the policy ignores those.
func (r *Reconciler) isOurDrift(d Drift, desired Desired) bool {
	if d.Kind != DriftForeignDestination {
		return r.owned.has(d.Entry.Service, d.Entry.RealServer)
	}
	_, wanted := desired.Table[d.Entry.Service].Destinations[d.Entry.RealServer]
	if wanted || desired.Foreign == Ignore {
		return false
	}
	r.reported[d.Entry] = struct{}{} // logged as drift, not again as a foreign entry
	return true
}

// foreignChange counts and logs a change of another process, and detects when such
// changes become a conflict. It reports whether it logged a line.
func (r *Reconciler) foreignChange(p subject, d Drift, message string, attrs ...any) bool {
	r.drift[d.Kind]++
	r.changed = true
	what := d.Kind
	if p.setting != "" {
		what = p.setting
	}
	starts, active := r.conflicts.noteChange(p, what, time.Now(), r.interval)
	attrs = append(attrs, "kind", d.Kind, "from", d.From, "to", d.To)
	switch {
	case starts:
		r.log.Error("conflicting changes by another process, repairing once per resync interval", attrs...)
		r.note(Change{Kind: ChangeConflict, Entry: d.Entry, What: what, From: d.From, To: d.To})
	case !active:
		r.log.Warn(message, attrs...)
		r.note(Change{Kind: ChangeDrift, Entry: d.Entry, What: d.Kind, From: d.From, To: d.To})
	}
	return starts || !active
}

// endConflicts reports the conflicts that are over.
func (r *Reconciler) endConflicts(desired Desired) {
	for _, c := range r.conflicts.expire(r.readAt, r.interval) {
		attrs := []any{"kind", c.What}
		if c.Entry != (Entry{}) {
			attrs = append(r.attrs(c.Entry, desired), attrs...)
		}
		r.log.Info("conflicting changes ended", append(attrs, "repairs", c.Repairs, "took", r.readAt.Sub(c.Since))...)
		r.note(Change{Kind: ChangeConflictEnd, Entry: c.Entry, What: c.What})
	}
}

// reportForeign logs foreign entries when they are first seen.
func (r *Reconciler) reportForeign(foreign []Entry, desired Desired) {
	if !slices.Equal(foreign, r.foreign) {
		r.changed = true
	}
	now := make(map[Entry]struct{}, len(foreign))
	for _, e := range foreign {
		now[e] = struct{}{}
		if _, known := r.reported[e]; known {
			continue
		}
		d := r.known.table[e.Service].Destinations[e.RealServer]
		r.log.Warn("another process added a real server to a service of lvsd",
			append(r.attrs(e, desired), "kind", DriftForeignDestination, "policy", desired.Foreign.String(), "to", d.String())...)
		r.note(Change{Kind: ChangeForeign, Entry: e, What: DriftForeignDestination, To: d.String()})
	}
	r.foreign, r.reported = foreign, now
}

// reportDrains logs the drains that start and end with the plan.
func (r *Reconciler) reportDrains(p drainPlan, now time.Time, desired Desired) {
	for _, d := range sortedDrains(p.active) {
		if _, before := r.drains.active[d.Entry]; before {
			continue
		}
		r.log.Info("draining a real server that was removed from the configuration", append(r.attrs(d.Entry, desired), "deadline", d.Deadline.Sub(d.Since))...)
		r.note(Change{Kind: ChangeDrain, Entry: d.Entry, To: "draining"})
	}
	for _, e := range slices.SortedFunc(maps.Keys(p.ended), Entry.Compare) {
		d := r.drains.active[e]
		r.log.Info("drain of a real server ended", append(r.attrs(e, desired), "reason", p.ended[e], "connections", d.Connections, "took", now.Sub(d.Since))...)
		r.note(Change{Kind: ChangeDrain, Entry: e, From: "draining", To: p.ended[e]})
	}
}
