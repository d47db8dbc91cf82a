package markprobe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"lvsd/ipvs"
)

// Writes is a kernel that remembers when the services of firewall marks were last
// written.
type Writes struct {
	ipvs.Kernel

	mu      sync.Mutex
	written map[uint32]time.Time
}

// Apply writes an operation to the kernel.
func (w *Writes) Apply(op ipvs.Op) error {
	err := w.Kernel.Apply(op)
	if mark := op.Service.Key.Mark; mark != 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.written == nil {
			w.written = map[uint32]time.Time{}
		}
		w.written[mark] = time.Now()
	}
	return err
}

// since reports whether the service of a mark was written at or after t.
func (w *Writes) since(mark uint32, t time.Time) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.written[mark].Before(t)
}

// Fault returns why the path of a mark may have been broken at any time since t; nil
// if it was intact. Read reads the kernel, which repairs the path.
func (w *Writes) Fault(ctx context.Context, mark uint32, since time.Time, read func(context.Context, time.Time) (ipvs.Snapshot, error)) error {
	now, err := read(ctx, time.Now())
	if err != nil {
		return fmt.Errorf("unknown whether the probe reached the server through the kernel: %w", err)
	}
	installed := false
	for key, svc := range now.Table {
		installed = installed || key.Mark == mark && len(svc.Destinations) > 0
	}
	switch {
	case !installed:
		return errors.New("the kernel has no path to the server: another process removed the firewall-mark service of the probe")
	case w.since(mark, since):
		return errors.New("the kernel had no path to the server: the firewall-mark service of the probe was written again meanwhile")
	}
	return nil
}
