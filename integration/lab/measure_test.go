package lab

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestOutageReport(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int, server string, err error) attempt {
		return attempt{started: start, ended: start.Add(time.Duration(ms) * time.Millisecond), server: server, err: err}
	}
	refused := errors.New("dial tcp 10.0.0.1:80: connect: connection refused")
	for _, c := range []struct {
		name     string
		attempts []attempt
		want     OutageReport
	}{
		{"nothing tried", nil, OutageReport{GapFrom: time.Time{}}},
		{"no gap but the pauses", []attempt{at(5, "a", nil), at(10, "b", nil), at(15, "a", nil)},
			OutageReport{Took: 15 * time.Millisecond, Attempts: 3, Succeeded: 3, LongestGap: 5 * time.Millisecond, GapFrom: start, Servers: map[string]int{"a": 2, "b": 1}}},
		{"a gap in the middle, ended out of order", []attempt{at(90, "a", nil), at(5, "a", nil), at(50, "", refused), at(95, "a", nil)},
			OutageReport{Took: 95 * time.Millisecond, Attempts: 4, Succeeded: 3, Failed: 1, LongestGap: 85 * time.Millisecond, GapFrom: start.Add(5 * time.Millisecond),
				Servers: map[string]int{"a": 3}, Errors: map[string]int{"connection refused": 1}}},
		{"dead from the start", []attempt{at(40, "", refused), at(60, "a", nil)},
			OutageReport{Took: 60 * time.Millisecond, Attempts: 2, Succeeded: 1, Failed: 1, LongestGap: 60 * time.Millisecond, GapFrom: start,
				Servers: map[string]int{"a": 1}, Errors: map[string]int{"connection refused": 1}}},
		{"dead at the end", []attempt{at(10, "a", nil), at(110, "", refused)},
			OutageReport{Took: 110 * time.Millisecond, Attempts: 2, Succeeded: 1, Failed: 1, LongestGap: 100 * time.Millisecond, GapFrom: start.Add(10 * time.Millisecond),
				Servers: map[string]int{"a": 1}, Errors: map[string]int{"connection refused": 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := report(c.attempts, start, 0)
			if c.want.Servers == nil {
				c.want.Servers = map[string]int{}
			}
			if c.want.Errors == nil {
				c.want.Errors = map[string]int{}
			}
			if d := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(OutageReport{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// An attempt that timed out while the machine was stalled says nothing about the
// service; one that was refused does.
func TestOutageOfAStall(t *testing.T) {
	start := time.Unix(2000, 0)
	ms := func(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }
	stalls.mu.Lock()
	stalls.seen = []stall{{ms(100), ms(160)}}
	stalls.mu.Unlock()
	defer func() {
		stalls.mu.Lock()
		stalls.seen = nil
		stalls.mu.Unlock()
	}()
	stalled := attempt{started: ms(70), ended: ms(170), err: context.DeadlineExceeded}
	got := report([]attempt{
		stalled,
		{started: ms(20), ended: ms(120), err: context.DeadlineExceeded},
		{started: ms(110), ended: ms(150), err: errors.New("connection refused")},
		{started: ms(160), ended: ms(165)},
	}, start, 0)
	if got.Stalled != 1 || got.Failed != 2 || got.Succeeded != 1 {
		t.Errorf("%d stalled, %d failed, %d succeeded: %v", got.Stalled, got.Failed, got.Succeeded, got)
	}
	got = report([]attempt{stalled, stalled, {started: ms(160), ended: ms(165)}}, start, 0)
	if got.Stalled != 0 || got.Failed != 2 || len(got.FailedBetween(start, ms(200))) != 2 {
		t.Errorf("most of the attempts are excused: %v", got)
	}
}

func TestOutageOfAnEvent(t *testing.T) {
	start := time.Unix(1000, 0)
	ms := func(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }
	var attempts []attempt
	for _, a := range [][2]int{{5, 0}, {100, 0}, {150, 1}, {155, 0}, {300, 0}, {305, 0}} { // when it ended, and failed
		got := attempt{started: ms(a[0] - 20), ended: ms(a[0])}
		if a[1] == 1 {
			got.err = errors.New("connection refused")
		}
		attempts = append(attempts, got)
	}
	r := report(attempts, start, 0)
	for _, c := range []struct{ from, to, began, length, failed int }{
		{110, 120, 100, 55, 0}, // the gap that it lies in, and not the longer ones beside it
		{110, 160, 155, 145, 1},
		{0, 1000, 155, 145, 1},
		{302, 303, 300, 5, 0},
		{135, 140, 100, 55, 1}, // one that was under way counts
	} {
		began, length := r.Gap(ms(c.from), ms(c.to))
		if failed := r.FailedBetween(ms(c.from), ms(c.to)); !began.Equal(ms(c.began)) || length != time.Duration(c.length)*time.Millisecond || len(failed) != c.failed {
			t.Errorf("%+v: %v from %v, %d failed", c, length, began.Sub(start), len(failed))
		}
	}
}

func TestOutageSeesADeadServer(t *testing.T) {
	l, client, rs1 := twoHosts(t)
	s := ServeHTTP(rs1, ":80", "rs1")
	o := StartOutage(client, "10.77.0.21:80", OutageConfig{Ask: AskHTTP})
	o.WaitSuccesses(5, limit)
	s.Stop()
	down := time.Now()
	// Longer than a response in progress can take.
	l.WaitUntil(limit, "failures", func() bool { return time.Since(down) > 3*o.cfg.Timeout && o.failures() >= 20 })
	gap := time.Since(down) - o.cfg.Timeout
	s.Start()
	o.WaitSuccesses(5, limit)
	r := o.Stop()
	t.Log(r)
	if r.LongestGap < gap || r.Failed < 20 || r.Servers["rs1"] != r.Succeeded || r.Succeeded < 10 {
		t.Errorf("after a gap of at least %v: %+v", gap, r)
	}
}

func (o *Outage) failures() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return report(o.attempts, o.start, 0).Failed
}

func TestOutageIsBounded(t *testing.T) {
	_, client, _ := twoHosts(t)
	o := StartOutage(client, "10.77.0.99:80", OutageConfig{Every: time.Millisecond, Timeout: 20 * time.Millisecond, Max: 10})
	<-o.done
	if r := o.Stop(); r.Attempts+r.Missed != 10 || r.Succeeded != 0 {
		t.Errorf("a limit of 10: %+v", r)
	}
	o = StartOutage(client, "10.77.0.99:80", OutageConfig{For: 50 * time.Millisecond})
	<-o.done
	if r := o.Stop(); r.Succeeded != 0 {
		t.Errorf("no listener: %+v", r)
	}
}

func TestConversation(t *testing.T) {
	l, client, rs1 := twoHosts(t)
	s := ServeLines(rs1, ":80", "rs1")
	c := Converse(client, "10.77.0.21:80")
	if c.Server != "rs1" || s.Open() != 1 {
		t.Errorf("server %q, %d open", c.Server, s.Open())
	}
	c.Keep(5*time.Millisecond, limit)
	l.WaitUntil(limit, "lines", func() bool { n, _ := c.Lines(); return n > 5 })
	s.Refuse()
	if _, err := TryConverse(client, "10.77.0.21:80", time.Second); err == nil {
		t.Error("a server that refuses was reached")
	}
	n, _ := c.Lines()
	l.WaitUntil(limit, "lines on the old connection", func() bool { m, _ := c.Lines(); return m > n+5 })
	if err := c.Err(); err != nil {
		t.Error(err)
	}
	s.Stop()
	l.WaitUntil(limit, "the failure", func() bool { return c.Err() != nil })
	c.Close()

	s.Start()
	d := Converse(client, "10.77.0.21:80")
	d.Keep(time.Millisecond, limit)
	d.Close()
	if err := d.Err(); err != nil {
		t.Errorf("an ended conversation failed: %v", err)
	}
	l.WaitUntil(limit, "the server's end of it", func() bool { return s.Open() == 0 })
}

func TestNginx(t *testing.T) {
	l, client, rs1 := twoHosts(t)
	s := Nginx(rs1, "80", "rs1")
	get := func(path string) (int, string) {
		status, body, _ := client.Get("http://10.77.0.21" + path)
		return status, body
	}
	if status, body := get("/"); status != 200 || body != "rs1\n" {
		t.Errorf("/: %d %q", status, body)
	}
	if status, _ := get("/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	s.SetHealthy(false)
	if status, _ := get("/healthz"); status != 503 {
		t.Errorf("/healthz of an unhealthy one: %d", status)
	}
	s.SetHealthy(true)
	s.Stop()
	if reaches(client, "10.77.0.21:80") {
		t.Error("a stopped nginx is reached")
	}
	s.Start()
	s.Kill()
	if reaches(client, "10.77.0.21:80") {
		t.Error("a killed nginx is reached")
	}
	s.Start()
	l.WaitUntil(limit, "an answer", func() bool { status, _ := get("/"); return status == 200 })
}

func TestUDPServer(t *testing.T) {
	l, client, rs1 := twoHosts(t)
	s := ServeUDP(rs1, "10.77.0.21:53", "rs1")
	l.WaitUntil(limit, "an answer over UDP", func() bool { a, err := AskUDP(client, "10.77.0.21:53"); return err == nil && a == "rs1" })
	if s.Received() == 0 {
		t.Error("nothing was counted")
	}
}
