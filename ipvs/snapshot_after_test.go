package ipvs_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// TestSince: a reading that began after a moment, also right after another one; and an
// error if the kernel does not reply.
func TestSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := ipvstest.New()
		r := NewReconciler(k, Options{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		r.SetDesired(Desired{Table: Table{}, ResyncInterval: time.Hour})
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		for range 3 {
			asked := time.Now()
			time.Sleep(time.Nanosecond)
			s, err := r.SnapshotAfter(t.Context(), asked)
			if err != nil || !s.Began.After(asked) {
				t.Errorf("began %v, asked %v: %v", s.Began, asked, err)
			}
		}
		before := r.Snapshot().Reads()
		if s, err := r.SnapshotAfter(t.Context(), r.Snapshot().Began.Add(-1)); err != nil || s.Reads() != before {
			t.Errorf("read again for what is known: %v", err)
		}
		k.SetDown(true)
		if _, err := r.SnapshotAfter(t.Context(), time.Now()); err == nil {
			t.Error("an answer without a kernel")
		}
		stop()
		<-ended
		limited, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.SnapshotAfter(limited, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("of one that does not run: %v", err)
		}
	})
}
