package cached

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v Value[int]
		var failure error
		get := func(want int, wantErr error) {
			t.Helper()
			got, err := v.Get(t.Context(), time.Second, func(before int) (int, error) { return before + 1, failure })
			if got != want || !errors.Is(err, wantErr) {
				t.Errorf("%d, %v, want %d, %v", got, err, want, wantErr)
			}
		}
		get(1, nil)
		get(1, nil)
		time.Sleep(time.Second)
		get(2, nil)
		v.Expire()
		failure = errors.New("fails")
		get(0, failure)
		failure = nil
		get(3, nil)
	})
}

// TestWait: readers share what one of them makes, and wait for it no longer than their
// context allows.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v Value[string]
		release, made := make(chan struct{}), 0
		slow := func(string) (string, error) { made++; <-release; return "made", nil }
		results := make(chan string)
		for range 3 {
			go func() {
				got, _ := v.Get(t.Context(), time.Second, slow)
				results <- got
			}()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := v.Get(ctx, time.Second, slow); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("behind one that hangs: %v", err)
		}
		close(release)
		for range 3 {
			if got := <-results; got != "made" {
				t.Errorf("got %q", got)
			}
		}
		if made != 1 {
			t.Errorf("made %d times", made)
		}
	})
}
