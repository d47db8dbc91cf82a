// The reconciler's drains, and what it does about a writer that fights back: the
// decisions are made elsewhere (drain.go, fight.go), here they are carried out
// and told.

package ipvs

import (
	"maps"
	"slices"
	"time"
)

const (
	// drainEvery is how often the connections of what drains are counted, but
	// never so often that reading takes more than a twentieth of the time.
	drainEvery = time.Second
	drainShare = 20
)

// drain returns the wish with what drains added to its table.
func (r *Reconciler) drain(wish Desired) Desired {
	now := time.Now()
	table, draining, ended := drainTable(now, r.image, wish, r.drainTimes, r.owned, r.draining)
	last := sortedDrains(draining)
	for _, d := range last {
		if _, before := r.draining[d.Entry]; before {
			continue
		}
		r.log.Info("real server left the configuration, drains", append(r.attrs(d.Entry, wish), "deadline", d.Deadline.Sub(d.Since))...)
		r.note(Change{Kind: ChangeDrain, Entry: d.Entry, To: "draining"})
	}
	for _, e := range slices.SortedFunc(maps.Keys(ended), Entry.Compare) {
		d := r.draining[e]
		r.log.Info("drain of a real server ended", append(r.attrs(e, wish), "reason", ended[e], "connections", d.Connections, "took", now.Sub(d.Since))...)
		r.note(Change{Kind: ChangeDrain, Entry: e, From: "draining", To: ended[e]})
	}
	r.draining = draining
	// What a service that leaves has to be drained for is known of its last
	// wish only.
	for k := range r.drainTimes {
		if _, wanted := wish.Table[k]; wanted || !r.owned.hasService(k) {
			delete(r.drainTimes, k)
		}
	}
	for k, d := range wish.Drain {
		if d > 0 {
			r.drainTimes[k] = d
		}
	}
	r.drainAt = time.Time{}
	if len(last) > 0 {
		r.drainAt = now.Add(max(drainEvery, drainShare*r.readTook))
		for _, d := range last {
			if d.Deadline.Before(r.drainAt) {
				r.drainAt = d.Deadline
			}
		}
	}
	wish.Table = table
	return wish
}

// foreignChange counts and tells what somebody else changed, and notices when
// that becomes a fight. It says whether a line was written.
func (r *Reconciler) foreignChange(p subject, d Drift, message string, attrs ...any) bool {
	r.drift[d.Kind]++
	r.changed = true
	what := d.Kind
	if p.setting != "" {
		what = p.setting
	}
	begins, fought := r.contests.noteChange(p, what, time.Now(), r.interval)
	switch {
	case begins:
		r.log.Error("another program keeps changing what lvsd keeps: it will be set back once a resync interval only",
			append(attrs, "kind", d.Kind, "from", d.From, "to", d.To)...)
		r.note(Change{Kind: ChangeConflict, Entry: d.Entry, What: what, From: d.From, To: d.To})
	case !fought:
		r.log.Warn(message, append(attrs, "kind", d.Kind, "from", d.From, "to", d.To)...)
		r.note(Change{Kind: ChangeDrift, Entry: d.Entry, What: d.Kind, From: d.From, To: d.To})
	}
	return begins || !fought
}

// endConflicts tells the fights that are over.
func (r *Reconciler) endConflicts(wish Desired) {
	for _, f := range r.contests.expire(r.readAt, r.interval) {
		attrs := []any{"kind", f.What}
		if f.Entry != (Entry{}) {
			attrs = append(r.attrs(f.Entry, wish), attrs...)
		}
		r.log.Info("nobody changes it any more", append(attrs, "repairs", f.Repairs, "took", r.readAt.Sub(f.Since))...)
		r.note(Change{Kind: ChangeConflictEnd, Entry: f.Entry, What: f.What})
	}
}
