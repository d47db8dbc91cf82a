package cached

import (
	"context"
	"sync"
	"time"
)

// Value is a value of a limited age. The zero Value has none yet.
type Value[T any] struct {
	once  sync.Once
	turn  chan struct{} // holds a token while a reader looks or makes
	at    time.Time     // when value was made; zero: never, or expired
	value T
}

// Get returns the value, made again where it is maxAge old or older; readers that come
// meanwhile wait, until ctx ends at most. refresh gets the value before. Its error is
// returned to its caller only and replaces nothing.
func (v *Value[T]) Get(ctx context.Context, maxAge time.Duration, refresh func(before T) (T, error)) (T, error) {
	var none T
	if err := v.lock(ctx); err != nil {
		return none, err
	}
	defer v.unlock()
	if v.at.IsZero() || time.Since(v.at) >= maxAge {
		next, err := refresh(v.value)
		if err != nil {
			return none, err
		}
		v.value, v.at = next, time.Now()
	}
	return v.value, nil
}

// Expire lets the next Get make the value, whatever its age. It waits for a reader that
// makes one.
func (v *Value[T]) Expire() {
	_ = v.lock(context.Background()) // which does not end
	v.at = time.Time{}
	v.unlock()
}

func (v *Value[T]) lock(ctx context.Context) error {
	v.once.Do(func() { v.turn = make(chan struct{}, 1) })
	select {
	case v.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *Value[T]) unlock() { <-v.turn }
