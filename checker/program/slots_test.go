package program

import (
	"context"
	"testing"
	"testing/synctest"
)

// Slots are granted in the order in which they were asked for, also after Resize, and one
// that is no longer wanted goes to the next.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSlots(1)
		ctx, cancel := context.WithCancel(t.Context())
		var order []int
		acquire := func(ctx context.Context, n int) {
			go func() {
				if s.Acquire(ctx) == nil {
					order = append(order, n)
				}
			}()
			synctest.Wait()
		}
		acquire(t.Context(), 1)
		acquire(ctx, 2)
		acquire(t.Context(), 3)
		acquire(t.Context(), 4)
		if len(order) != 1 || s.Used() != 1 {
			t.Fatalf("%v have a slot, %d are used", order, s.Used())
		}
		cancel()
		synctest.Wait()
		s.Release()
		synctest.Wait()
		if len(order) != 2 || order[1] != 3 {
			t.Fatalf("%v", order)
		}
		s.Resize(2)
		synctest.Wait()
		if len(order) != 3 || order[2] != 4 || s.Used() != 2 {
			t.Fatalf("%v, %d are used", order, s.Used())
		}
		s.Resize(0)
		s.Release()
		s.Release()
		if s.Used() != 0 {
			t.Errorf("%d are used", s.Used())
		}
	})
}
