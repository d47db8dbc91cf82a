package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"lvsd/cmd/internal/event"
	"lvsd/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what must happen at some time.
const patience = time.Minute

// stand is a running notifier.
type stand struct {
	*Notifier
	event.Recorder
	t    *testing.T
	log  lockedBuffer
	stop func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newStand(t *testing.T, c *config.Config) *stand {
	s := &stand{t: t}
	s.Notifier = New(&s.Recorder, slog.New(slog.NewTextHandler(&s.log, nil)))
	s.configure(c)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Notifier.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return s
}

func (s *stand) configure(c *config.Config) {
	s.t.Helper()
	change, err := s.Read(c)(nil, c)
	if err != nil {
		s.t.Fatal(err)
	}
	change.Commit()
}

func (s *stand) wait(what string, done func() bool) {
	s.t.Helper()
	for begin := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			s.t.Fatalf("no %s\n%s", what, &s.log)
		}
	}
}

// script writes a program that gets events.
func script(t *testing.T, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

func global(command []string) *config.Config {
	return &config.Config{Global: config.Global{Notify: command}}
}

func weight(to string) event.Event {
	return event.Event{Kind: event.KindWeight, Service: "web", RealServer: "10.0.0.9:80", From: "1", To: to, Reason: "http refused"}
}

func lines(path string) []string {
	text, _ := os.ReadFile(path)
	return strings.Fields(string(text))
}

// TestProgramGetsEachEventInOrder: as JSON on its standard input and in words,
// the last ones when the daemon ends.
func TestProgramGetsEachEventInOrder(t *testing.T) {
	got := filepath.Join(t.TempDir(), "got")
	s := newStand(t, global(script(t, `cat >> `+got+`; echo "$LVSD_KIND/$LVSD_SERVICE/$LVSD_TO/$LVSD_REASON/$#" >> `+got+".words\n")))
	const n = 20
	for i := range n {
		s.Record(weight(fmt.Sprint(i)))
		if i == n-2 { // on a busy machine the time of the end is for the last one alone
			s.wait("the events before the last", func() bool { return len(lines(got+".words")) == 2*(n-1) })
		}
	}
	s.stop()
	text, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	for i := range n {
		var e event.Event
		if err := d.Decode(&e); err != nil || e.To != fmt.Sprint(i) || e.ID == 0 || e.Reason != "http refused" {
			t.Fatalf("event %d is %+v, %v", i, e, err)
		}
	}
	if words, _ := os.ReadFile(got + ".words"); !strings.HasPrefix(string(words), "weight/web/0/http refused/0\n") {
		t.Errorf("in words: %q", words)
	}
	if s.Failures() != 0 || s.Problems() != nil {
		t.Errorf("%d failures, %q", s.Failures(), s.Problems())
	}
}

// TestElectionsProgram gets its own instance's events; one that gets all
// gets each once.
func TestElectionsProgram(t *testing.T) {
	own, all := filepath.Join(t.TempDir(), "own"), filepath.Join(t.TempDir(), "all")
	everything := script(t, "echo $LVSD_VRRP$LVSD_SERVICE-$LVSD_TO >> "+all)
	s := newStand(t, &config.Config{Global: config.Global{Notify: everything}, Instances: []config.Instance{
		{Name: "a", Notify: script(t, "echo $LVSD_VRRP-$LVSD_TO >> "+own)}, {Name: "b", Notify: everything}, {Name: "c"}}})
	for _, name := range []string{"a", "b", "c"} {
		s.Record(event.Event{Kind: event.KindVRRP, VRRP: name, To: "master"})
	}
	s.Record(weight("0"))
	s.stop()
	if got := strings.Join(lines(own), " "); got != "a-master" {
		t.Errorf("the election's own: %s", got)
	}
	if got := strings.Join(lines(all), " "); got != "a-master b-master c-master web-0" {
		t.Errorf("all: %s", got)
	}
}

// TestProgramsThatFail: each kind is counted for each event, logged once, and ends when
// a program succeeds again. The others are not affected.
func TestProgramsThatFail(t *testing.T) {
	// Only those that never end are killed: a busy machine must not kill the others.
	for name, c := range map[string]struct{ bad, why string }{
		"hangs":        {"sleep 1000", "killed at the deadline"},
		"forks":        {"sleep 1000 & sleep 1000 & wait", "killed at the deadline"},
		"fails":        {"echo no such channel >&2; exit 3", `exit code 3: \"no such channel\"`},
		"reads not":    {"exec <&-; exit 7", "exit code 7"},
		"kills itself": {"kill -9 $$", "SIGKILL"},
	} {
		t.Run(name, func(t *testing.T) {
			healthy, ok := filepath.Join(t.TempDir(), "healthy"), filepath.Join(t.TempDir(), "ok")
			conf := global(script(t, "test -e "+healthy+" && echo $LVSD_TO >> "+ok+" && exit 0\n"+c.bad+"\n"))
			good := filepath.Join(t.TempDir(), "good")
			conf.Instances = []config.Instance{{Name: "a", Notify: script(t, "echo $LVSD_TO >> "+good)}}
			s := newStand(t, &config.Config{})
			deadline := patience
			if strings.Contains(c.bad, "sleep") {
				deadline = time.Second
			}
			s.becomeWith(conf, deadline)
			for i := range 3 {
				s.Record(event.Event{Kind: event.KindVRRP, VRRP: "a", To: fmt.Sprint(i)})
			}
			s.wait("three failures", func() bool { return s.Failures() == 3 })
			s.wait("events for the other", func() bool { return strings.Join(lines(good), " ") == "0 1 2" })
			if p := s.Problems(); len(p) != 1 || !strings.Contains(p[0], strings.ReplaceAll(c.why, `\`, "")) {
				t.Errorf("problems: %q", p)
			}
			if err := os.WriteFile(healthy, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			s.Record(weight("again"))
			s.wait("the event after", func() bool { return strings.Join(lines(ok), "") == "again" })
			s.stop()
			if s.Failures() != 3 || s.Problems() != nil {
				t.Errorf("afterwards %d failures, %q", s.Failures(), s.Problems())
			}
			if said := s.log.String(); strings.Count(said, "notification failed") != 1 || strings.Count(said, "notifications recovered") != 1 || !strings.Contains(said, "lost=3") || !strings.Contains(said, c.why) {
				t.Errorf("said:\n%s", said)
			}
		})
	}
}

// becomeWith applies a configuration whose programs have a deadline of the test's.
func (s *stand) becomeWith(c *config.Config, deadline time.Duration) {
	all := targets(c)
	for _, t := range all {
		if p := t.sender.(*program); t.all {
			p.deadline = deadline
		}
	}
	s.apply(all, groups{})
}

// TestRecordingNeverWaits: a program that hangs delays no caller, and what finds no
// room is counted.
func TestRecordingNeverWaits(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	s := newStand(t, global(script(t, "echo $LVSD_TO >> "+started+"; sleep 1000")))
	s.Record(weight("first"))
	s.wait("program that runs", func() bool { return len(lines(started)) == 1 })
	const more = 500
	for i := range queueRoom + more {
		s.Record(weight(fmt.Sprint(i)))
		if i%room == room/2 {
			s.wait("dispatch", func() bool { return len(s.follower.C) == 0 })
		}
	}
	s.wait("counted losses", func() bool { return s.Failures() == more })
	s.configure(&config.Config{}) // no more events are sent: the program is killed, not waited for
	s.stop()
}

func TestMissingProgramRefusesNothing(t *testing.T) {
	s := newStand(t, global([]string{"/nowhere/notify"}))
	s.Record(weight("0"))
	s.wait("failure", func() bool { return s.Failures() == 1 })
	s.stop()
	if !strings.Contains(s.log.String(), "cannot be run") || len(s.Problems()) != 1 {
		t.Errorf("%q\n%s", s.Problems(), &s.log)
	}
}

// TestReloadKeepsTargetsThatAreInBoth: the queue continues where it was.
func TestReloadKeepsTargetsThatAreInBoth(t *testing.T) {
	dir := t.TempDir()
	gate, got := filepath.Join(dir, "gate"), filepath.Join(dir, "got")
	command := script(t, "while ! test -e "+gate+"; do sleep 0.01; done; echo $LVSD_TO >> "+got)
	s := newStand(t, global(command))
	s.Record(weight("0"))
	s.Record(weight("1"))
	s.wait("an event behind the one that is sent", func() bool { return len(s.targets[0].queue) == 1 })
	s.configure(&config.Config{Instances: []config.Instance{{Name: "a", Notify: command}}})
	s.Record(weight("not any more"))
	s.Record(event.Event{Kind: event.KindVRRP, VRRP: "a", To: "2"})
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.wait("all", func() bool { return len(lines(got)) >= 3 })
	s.stop()
	if text := strings.Join(lines(got), " "); text != "0 1 2" {
		t.Errorf("sent %s", text)
	}
}

// answers is the other side of a webhook.
type answers struct {
	codes []int // 0: no connection; the last one stays
	got   []string
	at    []time.Time
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var e event.Event
	if err := json.Unmarshal(text, &e); err != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" {
		return nil, fmt.Errorf("%s %q: %w", r.Method, text, err)
	}
	a.got, a.at = append(a.got, e.To), append(a.at, time.Now())
	code := a.codes[0]
	a.codes = append(a.codes[1:], code)[:max(len(a.codes)-1, 1)]
	if code == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Body: io.NopCloser(strings.NewReader("x"))}, nil
}

// TestWebhook: bounded tries with growing pauses, in order, and one try an event
// while the other side is down.
func TestWebhook(t *testing.T) {
	for name, c := range map[string]struct {
		codes    []int
		events   int
		want     string
		failures uint64
	}{
		"good":          {[]int{200}, 2, "0 1", 0},
		"for a moment":  {[]int{503, 204}, 2, "0 0 1", 0},
		"down":          {[]int{0}, 3, "0 0 0 1 2", 3},
		"down, then up": {[]int{500, 0, 429, 0, 200}, 4, "0 0 0 1 2 3", 2},
		"not ours":      {[]int{404}, 2, "0 1", 2},
		"elsewhere":     {[]int{302}, 1, "0", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, &config.Config{})
				all := targets(&config.Config{Global: config.Global{Webhook: "http://user:secret@alerts.example.com/x"}})
				other := &answers{codes: c.codes}
				all[0].sender.(*webhook).client.Transport = other
				s.apply(all, groups{})
				for i := range c.events {
					s.Record(weight(fmt.Sprint(i)))
				}
				time.Sleep(time.Hour) // of the bubble
				synctest.Wait()
				if got := strings.Join(other.got, " "); got != c.want || s.Failures() != c.failures {
					t.Errorf("posted %q with %d failures, want %q with %d", got, s.Failures(), c.want, c.failures)
				}
				if strings.HasPrefix(c.want, "0 0") {
					if pause := other.at[1].Sub(other.at[0]); pause != postPause {
						t.Errorf("tried again after %v", pause)
					}
				}
				s.stop()
				if strings.Contains(s.log.String(), "secret") || strings.Contains(fmt.Sprint(s.Problems()), "secret") {
					t.Errorf("a password is shown: %q\n%s", s.Problems(), &s.log)
				}
			})
		})
	}
}

// TestStopDoesNotWaitForTheHung: the end is bounded, and nothing is left.
func TestStopDoesNotWaitForTheHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, &config.Config{})
		all := targets(&config.Config{Global: config.Global{Webhook: "http://alerts.example.com/x"}})
		all[0].sender = hung{}
		s.apply(all, groups{})
		s.Record(weight("0"))
		s.Record(weight("1"))
		begin := time.Now()
		s.stop()
		if took := time.Since(begin); took != stopLimit {
			t.Errorf("the end took %v, want %v", took, stopLimit)
		}
		if s.Failures() != 2 {
			t.Errorf("%d failures", s.Failures())
		}
	})
}

type hung struct{}

func (hung) send(ctx context.Context, _ []event.Event) error { <-ctx.Done(); return ctx.Err() }
