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

// A flood of dropped packets: they are counted, the instance is not affected, the log
// is bounded.
func TestFloodOfRefusedAdverts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h1, h2 := l.host(lb1), l.host(lb2)
		r1, r2 := &recorder{}, &recorder{}
		log := &countingHandler{}
		o := r1.options()
		o.Log = slog.New(log)
		var contests []MasterConflict // of the instance's goroutine, until it has ended
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
		time.Sleep(rxPauseMax)
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

// In a flood the receiver polls, rxPolls times in an interval, and works half of the
// time at most. A few packets are handled at once.
func TestFloodIsPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval, packet = 640 * time.Millisecond, 10 * time.Microsecond // what each takes
		var p rxPace
		receive := func(n int) time.Duration {
			began := time.Now()
			for range n {
				p.arrived(interval)
				time.Sleep(packet)
			}
			return time.Since(began)
		}
		if took := receive(rxPerInterval); p.polling || took != rxPerInterval*packet {
			t.Errorf("polling %v after %d packets in %v", p.polling, rxPerInterval, took)
		}
		if receive(1); !p.polling {
			t.Error("not polling after one more")
		}
		for range 3 {
			began := time.Now()
			if p.pause(interval); !p.polling || time.Since(began) != interval/rxPolls {
				t.Errorf("polling %v after a pause of %v", p.polling, time.Since(began))
			}
			receive(1)
		}
		if took, work := receive(100*rxBatch), 100*rxBatch*packet; took < work*19/10 || took > work*21/10 {
			t.Errorf("%v of work took %v", work, took)
		}
		p.pause(interval)
		began := time.Now()
		if p.pause(interval); p.polling || time.Since(began) != 0 {
			t.Errorf("polling %v, %v after nothing has arrived", p.polling, time.Since(began))
		}
		// As many packets as in an interval, evenly, are no flood.
		time.Sleep(interval)
		for range 10 * rxPerInterval {
			if p.arrived(interval); p.polling {
				t.Fatal("polling without a flood")
			}
			time.Sleep(interval / rxPerInterval)
		}
	})
}
