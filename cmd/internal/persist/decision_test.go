package persist

import (
	"bytes"
	"context"
	"log/slog"
	"lvsd/cmd/internal/decision"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/checker"
)

// ofWeight is one with a server of some weight.
func ofWeight(weight int) *decision.Decision {
	a := netip.MustParseAddrPort("10.0.1.1:80")
	return &decision.Decision{Services: []decision.Service{{Name: "web", Up: true, Servers: []decision.RealServer{{
		ID: checker.ID{Service: "web", RealServer: a.String()}, Address: a, Weight: weight, InTable: true, State: checker.Up,
		Causes: []decision.Cause{{Kind: decision.CauseConfigured, Weight: weight, Text: "weight in the file"}}}}}}}
}

func weightOf(p *decision.Decision) int {
	if p == nil {
		return -1
	}
	return p.Services[0].Servers[0].Weight
}

// TestDecisionIsKept: it is written at once, when it changes and at the end; and its
// age is that of the last write.
func TestDecisionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		if p := dir.LoadDecision(logger, time.Now()); p != nil || log.Len() > 0 {
			t.Errorf("none was kept: %+v, %s", p, &log)
		}
		decided := make(chan *decision.Decision, 1)
		var current *decision.Decision
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- dir.WriteDecisions(ctx, logger, func() *decision.Decision {
				select {
				case current = <-decided:
				default:
				}
				return current
			})
		}()
		kept := func(want int) {
			t.Helper()
			if got := weightOf(dir.LoadDecision(logger, time.Now())); got != want {
				t.Errorf("weight %d is kept, want %d", got, want)
			}
		}
		kept(-1)
		decided <- ofWeight(3)
		time.Sleep(2 * saveInterval)
		synctest.Wait()
		kept(3)
		time.Sleep(2 * maxDecisionAge)
		synctest.Wait()
		kept(3)
		if err := os.Remove(dir.decisionFile()); err != nil { // another process cleans up
			t.Fatal(err)
		}
		time.Sleep(3 * saveInterval)
		synctest.Wait()
		kept(3)
		decided <- ofWeight(4)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		kept(4)
		time.Sleep(maxDecisionAge + time.Second)
		kept(-1)
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "expired") {
			t.Errorf("log:\n%s", got)
		}
	})
}

func TestDecisionThatCannotBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, err := Open(filepath.Join(t.TempDir(), "state"))
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if err := os.Mkdir(dir.decisionFile()+".new", 0o700); err != nil { // the file beside it cannot be made
			t.Fatal(err)
		}
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		plan := ofWeight(3)
		go func() {
			ended <- dir.WriteDecisions(ctx, slog.New(slog.NewTextHandler(&log, nil)), func() *decision.Decision { return plan })
		}()
		time.Sleep(10 * saveInterval)
		synctest.Wait()
		if p := dir.Problems(); len(p) != 1 || !strings.Contains(p[0], "cannot be saved") {
			t.Errorf("problems: %q", p)
		}
		// A failed write removes its temporary file: the problem is over.
		os.Remove(dir.decisionFile() + ".new")
		time.Sleep(3 * saveInterval)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if p := dir.Problems(); p != nil {
			t.Errorf("problems afterwards: %q", p)
		}
		for _, want := range []string{"cannot be saved", "works again"} {
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("%q is logged %d times:\n%s", want, n, &log)
			}
		}
	})
}

func TestDamagedDecisionIsNoReasonNotToStart(t *testing.T) {
	dir, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, text := range []string{"", "{", `{"version":99}`, "\x00"} {
		if err := os.WriteFile(dir.decisionFile(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		if p := dir.LoadDecision(slog.New(slog.NewTextHandler(&log, nil)), time.Now()); p != nil || !strings.Contains(log.String(), "ignored") {
			t.Errorf("%q: %+v, %s", text, p, &log)
		}
	}
}
