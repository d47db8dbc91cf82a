package daemon

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/host"
)

// hangingStore is a record on a disk that does not reply.
type hangingStore struct{ reply chan struct{} }

func (s hangingStore) LoadSysctls() (map[string]string, error)      { <-s.reply; return nil, nil }
func (s hangingStore) SaveSysctls(settings map[string]string) error { return nil }

// TestStopOnAHangingDisk: where no check goes through the kernel's forwarding, a stop waits
// for no record of settings, and does not fail; else it waits for a limited time.
func TestStopOnAHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := hangingStore{make(chan struct{})}
		r := newReplies(host.ReplyAcceptor{Store: store, Log: slog.New(slog.DiscardHandler)})
		begin := time.Now()
		if err := errors.Join(r.AcceptLocal(nil), r.restore()); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if err := errors.Join(r.AcceptLocal([]string{"none0"}), r.restore()); !errors.Is(err, disk.ErrHangs) || time.Since(begin) != flushTimeout {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		close(store.reply)
	})
}
