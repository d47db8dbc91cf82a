package vrrp

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/vrrp/wire"
)

// A flood of refused packets: counted, the election undisturbed, the log bounded.
func TestFloodOfRefusedAdverts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h1, h2 := l.host(lb1), l.host(lb2)
		r1, r2 := &recorder{}, &recorder{}
		log := &countingHandler{}
		o := r1.options()
		o.Log = slog.New(log)
		var contests []MasterConflict // the election's goroutine's, until it has ended
		o.OnMasterConflict = func(k MasterConflict) { contests = append(contests, k) }
		e1, e2 := h1.engine(t, o, priority(200)), h2.engine(t, r2.options())
		stop1, stop2 := running(t, e1), running(t, e2)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		n1, n2 := len(r1.all()), len(r2.all())
		began := log.count()
		bad := advertOf(255)
		bad.VRID = 51
		message := bad.Append(nil, lb2, multicastIPv4)
		for i := range 10_000 {
			ttl := uint8(i % 255)
			l.send(nil, wire.Packet{Source: netip.MustParseAddr("10.0.0.66"), Destination: multicastIPv4, TTL: ttl, Payload: message})
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if len(r1.all()) != n1 || len(r2.all()) != n2 {
			t.Errorf("it moved the election: %v %v", r1.all(), r2.all())
		}
		s := e1.Status()
		if s.Dropped["ttl"] != 10_000 || !s.Contested {
			t.Errorf("%d counted, contested %v", s.Dropped["ttl"], s.Contested)
		}
		if n := log.count() - began; n == 0 || n > 5 {
			t.Errorf("%d log lines", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := e1.Status(); s.Contested || s.Alarm != "" {
			t.Errorf("still contested: %q", s.Alarm)
		}
		stop1()
		stop2()
		if len(contests) != 2 || !contests[0].On || contests[0].State != Master || !strings.Contains(contests[0].Detail, "10.0.0.66") || contests[1].On {
			t.Errorf("the conflict was reported as %+v", contests)
		}
	})
}

type countingHandler struct {
	slog.Handler
	mu sync.Mutex
	n  int
}

func (h *countingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *countingHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *countingHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Level > slog.LevelDebug {
		h.mu.Lock()
		h.n++
		h.mu.Unlock()
	}
	return nil
}

func (h *countingHandler) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}
