// Writing the difference to the kernel entry by entry. A failed write is recorded
// and does not stop the others. The ledger is saved before the kernel is written.

package ipvs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"syscall"
	"time"
)

// opID identifies a failing write.
type opID struct {
	kind  OpKind
	entry Entry
}

func (o Op) id() opID { return opID{o.Kind, o.entry()} }

// batch is the state of applying one difference.
type batch struct {
	desired Desired
	// reread is set when the kernel was read since the last write that found it
	// different: another such write counts as a failure.
	reread bool
	failed map[opID]OpError
	// noService are services that do not exist, incomplete those in which capacity
	// could not be added, inConflict missing ones that may not be added yet.
	noService, incomplete, inConflict map[ServiceKey]bool
	waiting, written                  bool
	verify                            bool // something was written that is not in conflict
}

// write brings the kernel to the desired table and reports whether all of it is
// there. known.valid is false afterwards when the kernel turned out to differ from
// the known table.
func (r *Reconciler) write(desired Desired, again bool) bool {
	desired = r.drain(desired)
	r.deferred = false
	ops, foreign := Diff(r.known.table, desired.Table, r.owned, desired.Foreign)
	r.reportForeign(foreign, desired)
	if !r.owned.covers(desired.Table) {
		r.owned, r.ledgerStale = r.owned.with(desired.Table), true
	}
	r.saveLedger()
	b := &batch{desired: desired, reread: again, failed: map[opID]OpError{},
		noService: map[ServiceKey]bool{}, incomplete: map[ServiceKey]bool{}, inConflict: map[ServiceKey]bool{}}
	complete := r.applyBatch(b, r.withPriming(ops, desired))
	r.updateFailures(b, complete)
	if b.written {
		r.changed = true
	}
	if b.verify {
		r.verifyAt = time.Now().Add(verifyAfter)
	}
	if r.changed && r.known.valid {
		if trimmed, gone := r.owned.trimmed(desired.Table, r.known.table); gone {
			r.owned, r.ledgerStale = trimmed, true
			r.saveLedger()
		}
	}
	return complete && !b.waiting && len(b.failed) == 0
}

// drain returns the desired state with the draining destinations in its table.
func (r *Reconciler) drain(desired Desired) Desired {
	now := time.Now()
	p := r.drains.plan(now, r.known.table, desired, r.owned)
	r.reportDrains(p, now, desired)
	r.drains.commit(p, now, desired, r.owned, r.readTook)
	desired.Table = p.table
	return desired
}

// applyBatch writes the operations in order and reports whether all were tried: it
// stops when IPVS is unavailable, because each further write would time out too.
func (r *Reconciler) applyBatch(b *batch, ops []Op) (complete bool) {
	now := time.Now() // once: reading the clock can cost as much as a write
	for _, op := range ops {
		switch {
		case len(r.conflicts) > 0 && r.conflicts.defers(subject{entry: op.entry()}, op.value(), now):
			r.deferred, r.lastErr = true, "repeatedly modified by another process: "+op.entry().String()
			b.inConflict[op.Service.Key] = b.inConflict[op.Service.Key] || op.Kind == AddService
			continue
		case b.inConflict[op.Service.Key]:
			continue
		case b.mustWait(op, r.known.table):
			b.waiting = true
			if e, before := r.failing[op.id()]; before {
				b.failed[op.id()] = e
			}
			continue
		}
		if err := r.applyOne(b, op); errors.Is(err, ErrUnavailable) {
			return false
		}
	}
	return true
}

// mustWait reports whether a write must wait for others that failed: a destination
// of a service that does not exist, or the removal of the last usable destination
// while its replacements could not be written.
func (b *batch) mustWait(op Op, known Table) bool {
	k := op.Service.Key
	return b.noService[k] ||
		b.incomplete[k] && op.reducesUsable() && known[k].Usable() <= 1 && b.desired.Table[k].Usable() > 0
}

// applyOne does one write, records its result and returns its error.
func (r *Reconciler) applyOne(b *batch, op Op) error {
	debug := r.log.Enabled(context.Background(), slog.LevelDebug)
	var start time.Time
	if debug {
		start = time.Now()
	}
	err := r.sendPrimed(b.desired, op)
	switch {
	case errors.Is(err, syscall.EEXIST) && op.Kind == AddService:
		// Another process added it, or the dump left it out. Its destinations are
		// unknown.
		op.Kind, r.known.valid = EditService, false
		err = r.send(op)
	case errors.Is(err, syscall.EEXIST) && op.Kind == AddDestination:
		op.Kind = EditDestination
		delete(r.primed, op.entry()) // whoever added it may have given it any weight
		err = r.sendPrimed(b.desired, op)
	}
	if err != nil {
		return r.writeFailed(b, op, err)
	}
	r.known.record(op)
	b.written = true
	if len(r.conflicts) == 0 || !r.conflicts.noteWrite(subject{entry: op.entry()}, op.value(), r.readAt, r.interval) {
		b.verify = true
	}
	if debug {
		r.log.Debug("IPVS written", append(r.attrs(op.entry(), b.desired), "operation", op.Kind.String(), "took", time.Since(start))...)
	}
	return nil
}

// withPriming adds writes for the destinations that stay at weight 0 and are to be primed
// with another weight than before.
func (r *Reconciler) withPriming(ops []Op, desired Desired) []Op {
	written := map[Entry]bool{}
	if len(desired.Prime) > 0 {
		for _, op := range ops {
			written[op.entry()] = true
		}
	}
	var more []Op
	for e, weight := range desired.Prime {
		want, wanted := desired.Table[e.Service].Destinations[e.RealServer]
		have, there := r.known.table[e.Service].Destinations[e.RealServer]
		if wanted && there && want == have && want.Weight == 0 && !written[e] && r.primed[e] != weight {
			more = append(more, Op{Kind: EditDestination, Service: Service{Key: e.Service}, Destination: want, FromDestination: have})
		}
	}
	slices.SortFunc(more, func(a, b Op) int { return a.entry().Compare(b.entry()) })
	return append(ops, more...)
}

// sendPrimed is send; a destination that gets weight 0 and is to be primed gets its other
// weight first. Between the two writes, some microseconds, the kernel may send it a client.
func (r *Reconciler) sendPrimed(desired Desired, op Op) error {
	e := op.entry()
	switch op.Kind {
	case DeleteDestination:
		delete(r.primed, e)
		return r.send(op)
	case AddDestination, EditDestination:
	default:
		return r.send(op)
	}
	last := op.Destination.Weight
	if weight := desired.Prime[e]; last == 0 && weight > 0 {
		// Another process may have given it a weight in between, which the kernel remembers.
		foreign := op.FromDestination.Weight != 0 && op.FromDestination.Weight != weight
		if last = weight; op.Kind == AddDestination || r.primed[e] != weight || foreign {
			first := op
			first.Destination.Weight = weight
			if err := r.send(first); err != nil {
				return err
			}
			op.Kind = EditDestination
		}
	}
	err := r.send(op)
	if _, primes := desired.Prime[e]; err == nil && last > 0 && primes {
		r.primed[e] = last
	}
	return err
}

// send writes to the kernel and counts. Deleting what does not exist succeeds.
func (r *Reconciler) send(op Op) error {
	err := r.k.Apply(op)
	switch {
	case op.Kind == DeleteService && errors.Is(err, syscall.ESRCH),
		op.Kind == DeleteDestination && (errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH)):
		err = nil
	}
	r.count(op.Kind.String(), err)
	return err
}

// writeFailed decides what a failed write means for the rest of the batch and
// returns its error.
func (r *Reconciler) writeFailed(b *batch, op Op, err error) error {
	switch {
	case errors.Is(err, ErrUnavailable):
		// The write may have been done and its reply lost.
		r.known.uncertain[op.Service.Key] = struct{}{}
		r.known.valid = false
	case errors.Is(err, syscall.ESRCH), errors.Is(err, syscall.ENOENT) && op.Kind == EditDestination:
		// Another process deleted it: read, which reports that, then repair.
		r.known.valid = false
		if !b.reread {
			b.noService[op.Service.Key], b.waiting = true, true
			return err
		}
	}
	switch op.Kind {
	case AddService:
		b.noService[op.Service.Key] = true
	case AddDestination, EditDestination:
		b.incomplete[op.Service.Key] = true
	}
	r.recordFailure(b, op, err)
	return err
}

// recordFailure keeps a failed write for the snapshot. It logs each distinct error
// once.
func (r *Reconciler) recordFailure(b *batch, op Op, err error) {
	id := op.id()
	r.lastErr = fmt.Sprintf("failed to %s: %v", op, err)
	e, again := r.failing[id]
	if !again || e.Err.Error() != err.Error() {
		if !again {
			e.Since = time.Now()
		}
		r.log.Error("IPVS write failed, will be retried",
			append(r.attrs(id.entry, b.desired), "operation", op.Kind.String(), "reason", err)...)
		r.note(Change{Kind: ChangeWriteFailed, Entry: id.entry, What: op.Kind.String(), Err: err})
	}
	e.Op, e.Err = op, err
	e.Attempts++
	b.failed[id] = e
}

// updateFailures replaces the failures by those of the batch. After an incomplete
// one the older failures stay.
func (r *Reconciler) updateFailures(b *batch, complete bool) {
	for id, e := range r.failing {
		if _, still := b.failed[id]; still {
			continue
		}
		if !complete {
			b.failed[id] = e
			continue
		}
		r.log.Info("IPVS write succeeded after retry, or is no longer needed",
			append(r.attrs(id.entry, b.desired), "operation", id.kind.String(), "took", time.Since(e.Since))...)
		r.note(Change{Kind: ChangeWriteOK, Entry: id.entry, What: id.kind.String()})
	}
	r.failing = b.failed
}

// Remove deletes all owned services with their destinations and stops owned sync
// daemons. It may be called after Run returned, or without Run. It stops early when
// ctx ends, and returns all errors joined.
func (r *Reconciler) Remove(ctx context.Context) error {
	r.loadLedger()
	reading, err := r.k.Read()
	if err != nil {
		return err
	}
	r.known.replace(reading.Table)
	var errs []error
	if state, err := r.k.Daemons(); err != nil {
		errs = append(errs, err)
	} else if r.sync.state = state; ctx.Err() == nil {
		r.stopOurSync()
	}
	for _, k := range r.owned.Keys() {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		if s, there := r.known.table[k]; there {
			op := Op{Kind: DeleteService, Service: Service{Key: k}, FromService: s}
			if err := r.send(op); err != nil {
				errs = append(errs, fmt.Errorf("failed to %s: %w", op, err))
				continue
			}
			r.known.record(op)
		}
		delete(r.owned, k)
		r.ledgerStale = true
	}
	r.saveLedger()
	r.publish()
	return errors.Join(errs...)
}

// knownTable is the kernel's table as the reconciler knows it: the last reading,
// with our own writes since. It shares its maps with published snapshots and copies
// them before the first write after a snapshot.
type knownTable struct {
	table Table
	// valid is false before the first reading, and after a write that showed that
	// the kernel differs: read before the next write.
	valid bool
	// uncertain are services whose last write has an unknown outcome, because its
	// reply was lost.
	uncertain map[ServiceKey]struct{}

	shared bool                // the table is part of a snapshot
	copied map[ServiceKey]bool // services whose destinations are a copy; nil: all
}

// replace takes the table of a reading.
func (t *knownTable) replace(table Table) {
	t.table, t.valid, t.shared, t.copied = table, true, false, nil
	clear(t.uncertain)
}

// share returns the table for a snapshot, which is never written to.
func (t *knownTable) share() Table {
	t.shared = true
	return t.table
}

// record applies a write that the kernel accepted. Of a shared table it copies the
// services, and the destinations of the services that are written to.
func (t *knownTable) record(op Op) {
	k := op.Service.Key
	if t.shared {
		t.table, t.copied, t.shared = maps.Clone(t.table), map[ServiceKey]bool{}, false
	}
	s, there := t.table[k]
	if !there && op.Kind != AddService && op.Kind != EditService {
		return
	}
	if t.copied != nil && !t.copied[k] {
		if there {
			s.Destinations = maps.Clone(s.Destinations)
			t.table[k] = s
		}
		t.copied[k] = true
	}
	op.ApplyTo(t.table)
}
