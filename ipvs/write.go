// The reconciler's writing half: the difference is written entry by entry, a
// failure is remembered and never stops the rest, and what was ours is put into
// the ledger first. It never reads the table.

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

func (o Op) id() opID { return opID{o.Kind, o.entry()} }

// applyBatch is one walk through a difference.
type applyBatch struct {
	wish Desired
	// again: the kernel was read since the last surprise, so that another one
	// counts as a failure.
	again  bool
	failed map[opID]OpError
	// noService are services that are not there, short those in which capacity
	// could not be added.
	noService, short map[ServiceKey]bool
	// fought are services that are missing and not to be made again yet.
	fought        map[ServiceKey]bool
	held, written bool
	// verify: something was written that nobody fights about.
	verify bool
}

// write brings the kernel from the known image to the wish and says whether all
// of it is there. It leaves imageOK false when the kernel turns out to be
// another than the image.
func (r *Reconciler) write(wish Desired, again bool) bool {
	wish = r.drain(wish)
	r.contested = false
	ops, foreign := Diff(r.image, wish.Table, r.owned, wish.Foreign)
	r.report(foreign, wish)
	if !r.owned.covers(wish.Table) {
		r.owned, r.ledgerOld = r.owned.with(wish.Table), true
	}
	r.saveLedger() // before the kernel, so that nothing of ours is ever unknown
	b := &applyBatch{wish: wish, again: again, failed: map[opID]OpError{},
		noService: map[ServiceKey]bool{}, short: map[ServiceKey]bool{}, fought: map[ServiceKey]bool{}}
	complete := true
	now := time.Now() // once: asking the clock can cost as much as a write
	for _, op := range ops {
		if len(r.contests) > 0 && r.contests.defers(subject{entry: op.entry()}, op.value(), now) {
			r.contested, r.lastErr = true, "another program keeps changing "+op.entry().String()
			b.fought[op.Service.Key] = b.fought[op.Service.Key] || op.Kind == AddService
			continue
		}
		if b.fought[op.Service.Key] {
			continue
		}
		if b.holdsBack(op, r.image) {
			b.held = true
			if e, before := r.failing[op.id()]; before {
				b.failed[op.id()] = e
			}
			continue
		}
		if err := r.applyOne(b, op); errors.Is(err, ErrUnavailable) {
			complete = false // each of the others would wait as long
			break
		}
	}
	r.settleFailures(b, complete)
	if b.written {
		r.changed = true
	}
	if b.verify {
		r.verifyAt = time.Now().Add(verifyAfter)
	}
	if r.changed && r.imageOK {
		if trimmed, gone := r.owned.trimmed(wish.Table, r.image); gone {
			r.owned, r.ledgerOld = trimmed, true
			r.saveLedger()
		}
	}
	return complete && !b.held && len(b.failed) == 0
}

// holdsBack says whether the write must wait for others that failed: a server in
// a service that is not there, or the last live server of a service that shall
// have some, while those that replace it can't be written.
func (b *applyBatch) holdsBack(op Op, image Table) bool {
	k := op.Service.Key
	if b.noService[k] {
		return true
	}
	return b.short[k] && op.reducesLive() && image[k].Live() <= 1 && b.wish.Table[k].Live() > 0
}

// applyOne does a write, keeps the books about it and returns its error.
func (r *Reconciler) applyOne(b *applyBatch, op Op) error {
	debug := r.log.Enabled(context.Background(), slog.LevelDebug)
	var start time.Time
	if debug {
		start = time.Now()
	}
	err := r.send(op)
	switch {
	case errors.Is(err, syscall.EEXIST) && op.Kind == AddService:
		// Somebody made it, or a dump left it out. What is in it is unknown.
		op.Kind, r.imageOK = EditService, false
		err = r.send(op)
	case errors.Is(err, syscall.EEXIST) && op.Kind == AddDestination:
		op.Kind = EditDestination
		err = r.send(op)
	}
	if err == nil {
		r.record(op)
		b.written = true
		if len(r.contests) == 0 || !r.contests.noteWrite(subject{entry: op.entry()}, op.value(), r.readAt, r.interval) {
			b.verify = true
		}
		if debug {
			r.log.Debug("IPVS written", append(r.attrs(op.entry(), b.wish), "operation", op.Kind.String(), "took", time.Since(start))...)
		}
		return nil
	}
	switch {
	case errors.Is(err, ErrUnavailable):
		// It may have been done and the answer lost.
		r.unsure[op.Service.Key] = struct{}{}
		r.imageOK = false
	case errors.Is(err, syscall.ESRCH), errors.Is(err, syscall.ENOENT) && op.Kind == EditDestination:
		// Gone behind our back: read, which names it, then repair.
		r.imageOK = false
		if !b.again {
			b.noService[op.Service.Key], b.held = true, true
			return err
		}
	}
	switch op.Kind {
	case AddService:
		b.noService[op.Service.Key] = true
	case AddDestination, EditDestination:
		b.short[op.Service.Key] = true
	}
	r.fail(b, op, err)
	return err
}

// send writes to the kernel and counts. What is to be deleted and is not there
// is as good as deleted.
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

func (r *Reconciler) count(name string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	r.counts[Operation{name, result}]++
}

// record makes the write's effect in the image. A published image is copied
// first, of the destinations those of the touched services only.
func (r *Reconciler) record(op Op) {
	k := op.Service.Key
	if r.shared {
		r.image, r.copied, r.shared = maps.Clone(r.image), map[ServiceKey]bool{}, false
	}
	s, there := r.image[k]
	if there && r.copied != nil && !r.copied[k] {
		s.Destinations = maps.Clone(s.Destinations)
		r.image[k] = s
		r.copied[k] = true
	}
	if !there {
		if op.Kind != AddService && op.Kind != EditService {
			return
		}
		if r.copied != nil {
			r.copied[k] = true
		}
	}
	op.ApplyTo(r.image)
}

// fail remembers a failed write and says it once for each distinct error.
func (r *Reconciler) fail(b *applyBatch, op Op, err error) {
	id := op.id()
	r.lastErr = fmt.Sprintf("failed to %s: %v", op, err)
	e, again := r.failing[id]
	if !again || e.Err.Error() != err.Error() {
		if !again {
			e.Since = time.Now()
		}
		r.log.Error("IPVS write failed, will be tried again",
			append(r.attrs(id.entry, b.wish), "operation", op.Kind.String(), "reason", err)...)
		r.note(Change{Kind: ChangeWriteFailed, Entry: id.entry, What: op.Kind.String(), Err: err})
	}
	e.Op, e.Err = op, err
	e.Attempts++
	b.failed[id] = e
}

// settleFailures replaces the failures by those of this walk. Of one that was
// not finished the older ones stay.
func (r *Reconciler) settleFailures(b *applyBatch, complete bool) {
	for id, e := range r.failing {
		if _, still := b.failed[id]; still {
			continue
		}
		if !complete {
			b.failed[id] = e
			continue
		}
		r.log.Info("IPVS write that failed is done or needed no more",
			append(r.attrs(id.entry, b.wish), "operation", id.kind.String(), "took", time.Since(e.Since))...)
		r.note(Change{Kind: ChangeWriteOK, Entry: id.entry, What: id.kind.String()})
	}
	r.failing = b.failed
}

// report names foreign entries once, when they are first seen.
func (r *Reconciler) report(foreign []Entry, wish Desired) {
	if !slices.Equal(foreign, r.foreign) {
		r.changed = true
	}
	now := make(map[Entry]struct{}, len(foreign))
	for _, e := range foreign {
		now[e] = struct{}{}
		if _, known := r.seen[e]; known {
			continue
		}
		d := r.image[e.Service].Destinations[e.RealServer]
		r.log.Warn("a real server that is not ours is in our service",
			append(r.attrs(e, wish), "kind", DriftForeignDestination, "policy", wish.Foreign.String(), "to", d.String())...)
		r.note(Change{Kind: ChangeForeign, Entry: e, What: DriftForeignDestination, To: d.String()})
	}
	r.foreign, r.seen = foreign, now
}

// loadLedger takes what a former run wrote. Without it nothing is ours but what
// is wished: entries that went out of the file meanwhile then stay, which is the
// safe side.
func (r *Reconciler) loadLedger() {
	if r.owned != nil {
		return
	}
	r.owned = Owned{}
	if r.o.Ledger == nil {
		return
	}
	owned, err := r.o.Ledger.Load()
	if err != nil {
		r.ledgerFailed(fmt.Errorf("failed to load what was ours: %w", err))
		return
	}
	r.owned = owned.Clone()
}

// saveLedger writes the ledger if it is behind. A full disk does not stop the
// balancing: it is shown, and tried again with each pass.
func (r *Reconciler) saveLedger() {
	if r.o.Ledger == nil || !r.ledgerOld {
		return
	}
	if err := r.o.Ledger.Save(r.owned.Clone()); err != nil {
		r.ledgerFailed(fmt.Errorf("failed to save what is ours: %w", err))
		return
	}
	r.ledgerOld = false
	if r.ledgerErr != "" {
		r.ledgerErr = ""
		r.log.Info("the ledger of what is ours is saved again")
		r.note(Change{Kind: ChangeLedgerOK})
	}
}

func (r *Reconciler) ledgerFailed(err error) {
	if r.lastErr = err.Error(); r.ledgerErr == r.lastErr {
		return
	}
	r.ledgerErr = r.lastErr
	r.log.Error("the ledger of what is ours is not up to date: after a restart, what leaves the file now may stay in the kernel", "reason", err)
	r.note(Change{Kind: ChangeLedgerFailed, Err: err})
}

// Remove deletes every service that is ours, with all that is in it. It is for
// after Run returned, and ends early with ctx.
func (r *Reconciler) Remove(ctx context.Context) error {
	r.loadLedger()
	reading, err := r.k.Read()
	if err != nil {
		return err
	}
	r.image, r.copied, r.shared = reading.Table, nil, false
	var errs []error
	if state, err := r.k.Daemons(); err != nil {
		errs = append(errs, err)
	} else if r.daemons = state; ctx.Err() == nil {
		r.stopOurSync()
	}
	for _, k := range r.owned.Keys() {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		if s, there := r.image[k]; there {
			op := Op{Kind: DeleteService, Service: Service{Key: k}, FromService: s}
			if err := r.send(op); err != nil {
				errs = append(errs, fmt.Errorf("failed to %s: %w", op, err))
				continue
			}
			r.record(op)
		}
		delete(r.owned, k)
		r.ledgerOld = true
	}
	r.saveLedger()
	r.publish()
	return errors.Join(errs...)
}
