// Measurement of an outage as new clients see it: a connect every few milliseconds,
// each with a short timeout and independent of the others. A single client would
// measure its own SYN retransmission (1 s, 3 s, 7 s) instead.

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// OutageConfig says how an outage is measured. The zero value is a connect
// every 5 ms, 100 ms each, two minutes and 40,000 connects at most.
type OutageConfig struct {
	Every   time.Duration
	Timeout time.Duration // of one attempt; below 1 s, so that each is a single SYN
	// Ask finds out which server responds on an open connection, such as AskHTTP and
	// AskLine; nil: a connect is enough and Servers stays empty.
	Ask func(net.Conn) (server string, err error)
	// Limits of the whole measurement.
	For time.Duration
	Max int
}

// Outage is a running measurement.
type Outage struct {
	cfg    OutageConfig
	addr   string
	host   *Host
	cancel context.CancelFunc
	done   chan struct{}
	start  time.Time

	mu       sync.Mutex
	attempts []attempt
	missed   int
}

type attempt struct {
	started, ended time.Time
	server         string
	err            error
	excused        bool // in a report: it stalled, and proves nothing
}

// stalled reports whether an attempt timed out because the machine stalled.
func (a attempt) stalled() bool {
	return a.err != nil && errorWord(a.err) == "timeout" && 2*Stalled(a.started, a.ended) >= a.ended.Sub(a.started)
}

// OutageReport is the result of a measurement.
type OutageReport struct {
	Took      time.Duration
	Attempts  int
	Succeeded int
	Failed    int
	// Stalled counts attempts that timed out while the machine was stalled for at least
	// half of their time: they say nothing about the service, and are not in Failed. More
	// than half of all are not excused: such a measurement proves nothing.
	Stalled int
	// Missed counts attempts skipped because too many were open at once: the machine was
	// too slow, not the service.
	Missed int
	// LongestGap is the longest time without a success; the start and the end of
	// the measurement count as its edges. A success counts when it was answered.
	LongestGap time.Duration
	// GapFrom is when the longest gap began.
	GapFrom time.Time
	Servers map[string]int
	Errors  map[string]int

	attempts []attempt
}

// Gap is the longest time without a success that overlaps with the time between from
// and to: the effect of an event, apart from stalls before or after it.
func (r OutageReport) Gap(from, to time.Time) (began time.Time, length time.Duration) {
	last := from
	for _, a := range r.attempts { // by the time of their ends
		if a.err != nil {
			continue
		}
		if gap := a.ended.Sub(last); a.ended.After(from) && !last.After(to) && gap > length {
			began, length = last, gap
		}
		last = a.ended
	}
	return began, length
}

// FailedBetween returns the start of each failed attempt that was in progress at some
// time between from and to.
func (r OutageReport) FailedBetween(from, to time.Time) (began []time.Time) {
	for _, a := range r.attempts {
		if a.err != nil && !a.excused && a.ended.After(from) && a.started.Before(to) {
			began = append(began, a.started)
		}
	}
	return began
}

// String is one line for people.
func (r OutageReport) String() string {
	s := fmt.Sprintf("longest gap %v, %d of %d failed in %v", r.LongestGap.Round(100*time.Microsecond), r.Failed, r.Attempts, r.Took.Round(time.Millisecond))
	if r.Missed > 0 {
		s += fmt.Sprintf(", %d not tried", r.Missed)
	}
	for _, m := range []map[string]int{r.Servers, r.Errors} {
		keys := make([]string, 0, len(m))
		for k := range m {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			s += fmt.Sprintf(", %s %d", k, m[k])
		}
	}
	if r.Stalled > 0 {
		s += fmt.Sprintf(", STALLED: %d timed out while the machine stood still", r.Stalled)
	}
	if r.Failed > 0 {
		s += fmt.Sprintf(", the gap from %s, failed", r.GapFrom.UTC().Format(clock))
		shown := 0
		for _, a := range r.attempts {
			if a.err == nil || a.excused {
				continue
			}
			if shown++; shown > 10 {
				s += " …"
				break
			}
			s += fmt.Sprintf(" %s+%v (stood still %v)", a.started.UTC().Format(clock), a.ended.Sub(a.started).Round(time.Millisecond), Stalled(a.started, a.ended).Round(time.Millisecond))
		}
	}
	return s
}

// clock formats times as the daemons' logs do.
const clock = "15:04:05.000"

// StartOutage begins to measure from a client to an address and port. It ends
// with Stop, with its limits, or with the lab.
func StartOutage(client *Host, addr string, cfg OutageConfig) *Outage {
	client.lab.tb.Helper()
	_, err := netip.ParseAddrPort(addr)
	client.lab.must(err, "read the address")
	orDefault(&cfg.Every, 5*time.Millisecond)
	orDefault(&cfg.Timeout, 100*time.Millisecond)
	orDefault(&cfg.For, 2*time.Minute)
	orDefault(&cfg.Max, 40_000)
	ctx, cancel := context.WithTimeout(context.Background(), cfg.For)
	o := &Outage{cfg: cfg, addr: addr, host: client, cancel: cancel, done: make(chan struct{}), start: time.Now()}
	go o.run(ctx)
	client.lab.onClose(func() { o.Stop() })
	return o
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (o *Outage) run(ctx context.Context) {
	defer close(o.done)
	var wg sync.WaitGroup
	defer wg.Wait()
	// Twice as many as can be open at once if every attempt takes its whole timeout.
	slots := make(chan struct{}, 2*int(o.cfg.Timeout/o.cfg.Every)+8)
	tick := time.NewTicker(o.cfg.Every)
	defer tick.Stop()
	for n := 0; n < o.cfg.Max; n++ {
		select {
		case slots <- struct{}{}:
			wg.Add(1)
			go func() {
				defer wg.Done()
				a := o.try(ctx)
				<-slots
				// An attempt that the end of the measurement cut off is no result.
				if a.err != nil && ctx.Err() != nil {
					return
				}
				o.mu.Lock()
				o.attempts = append(o.attempts, a)
				o.mu.Unlock()
			}()
		default:
			o.mu.Lock()
			o.missed++
			o.mu.Unlock()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (o *Outage) try(ctx context.Context) (a attempt) {
	a.started = time.Now()
	defer func() { a.ended = time.Now() }()
	ctx, cancel := context.WithDeadline(ctx, a.started.Add(o.cfg.Timeout))
	defer cancel()
	conn, err := o.host.Dial(ctx, "tcp", o.addr)
	if err != nil {
		a.err = err
		return a
	}
	defer conn.Close()
	// End with RST: no TIME_WAIT here, so thousands of attempts do not use up the ports.
	_ = conn.(*net.TCPConn).SetLinger(0)
	if o.cfg.Ask != nil {
		_ = conn.SetDeadline(a.started.Add(o.cfg.Timeout))
		a.server, a.err = o.cfg.Ask(conn)
	}
	return a
}

// Successes is the number of successful attempts so far.
func (o *Outage) Successes() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, a := range o.attempts {
		if a.err == nil {
			n++
		}
	}
	return n
}

// WaitSuccesses waits until n more attempts have succeeded.
func (o *Outage) WaitSuccesses(n int, limit time.Duration) {
	o.host.lab.tb.Helper()
	want := o.Successes() + n
	o.host.lab.WaitUntil(limit, fmt.Sprintf("%d successful connects from %s to %s", n, o.host.Name, o.addr),
		func() bool { return o.Successes() >= want })
}

// Report returns the results so far.
func (o *Outage) Report() OutageReport {
	o.mu.Lock()
	defer o.mu.Unlock()
	return report(o.attempts, o.start, o.missed)
}

// Stop ends the measurement and reports; it may be called twice.
func (o *Outage) Stop() OutageReport {
	o.cancel()
	<-o.done
	return o.Report()
}

// report computes the results from the attempts.
func report(attempts []attempt, start time.Time, missed int) OutageReport {
	attempts = slices.Clone(attempts)
	slices.SortFunc(attempts, func(a, b attempt) int { return a.ended.Compare(b.ended) })
	r := OutageReport{Attempts: len(attempts), Missed: missed, Servers: map[string]int{}, Errors: map[string]int{}, attempts: attempts}
	for i, a := range attempts {
		if attempts[i].excused = a.stalled(); attempts[i].excused {
			r.Stalled++
		}
	}
	if 2*r.Stalled > len(attempts) {
		r.Stalled = 0
		for i := range attempts {
			attempts[i].excused = false
		}
	}
	end := start
	edges := []time.Time{start}
	for _, a := range attempts {
		if a.ended.After(end) {
			end = a.ended
		}
		if a.excused {
			continue
		}
		if a.err != nil {
			r.Failed++
			r.Errors[errorWord(a.err)]++
			continue
		}
		r.Succeeded++
		if a.server != "" {
			r.Servers[a.server]++
		}
		edges = append(edges, a.ended)
	}
	r.Took = end.Sub(start)
	edges = append(edges, end)
	slices.SortFunc(edges, time.Time.Compare)
	for i, e := range edges[1:] {
		if gap := e.Sub(edges[i]); gap > r.LongestGap {
			r.LongestGap, r.GapFrom = gap, edges[i]
		}
	}
	return r
}

// errorWord reduces errors that contain addresses and ports to words that can be
// counted.
func errorWord(err error) string {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "timeout"
	}
	s := err.Error()
	if i := strings.LastIndex(s, ": "); i >= 0 {
		s = s[i+2:]
	}
	return s
}

// AskHTTP returns the name of an HTTP server: the first line of the body of /.
func AskHTTP(conn net.Conn) (string, error) {
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	b, err := readLimited(conn)
	head, body, ok := strings.Cut(string(b), "\r\n\r\n")
	switch {
	case err != nil:
		return "", err
	case !ok || !strings.Contains(head, " 200 "):
		return "", errors.New("not an HTTP answer with 200")
	}
	name, _, _ := strings.Cut(body, "\n")
	return name, nil
}

// AskLine returns the name of a line server (ServeLines).
func AskLine(conn net.Conn) (string, error) {
	if _, err := fmt.Fprintln(conn, "who"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", err
	}
	name, _, _ := strings.Cut(line, " ")
	return name, nil
}

// AskUDP returns the name of a UDP server (ServeUDP), with a limit of 1 s.
func AskUDP(client *Host, addr string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := client.Dial(ctx, "udp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprint(conn, "who"); err != nil {
		return "", err
	}
	buf := make([]byte, 1500)
	n, err := conn.Read(buf)
	if err != nil {
		return "", err
	}
	name, _, _ := strings.Cut(string(buf[:n]), " ")
	return name, nil
}
