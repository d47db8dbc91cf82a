package operate_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestKilledAtRandomMoments kills the daemon 20 times.
func TestKilledAtRandomMoments(t *testing.T) { killedAtRandomMoments(t, 20) }

// TestOncallKilledAHundredTimes kills the daemon 100 times.
func TestOncallKilledAHundredTimes(t *testing.T) { killedAtRandomMoments(t, 100) }

// killedAtRandomMoments kills the daemon while it starts, decides, writes and reloads, and
// reads the IPVS table all the time: no service, server or weight changes by that, and no
// client's connect fails.
func killedAtRandomMoments(t *testing.T, n int) {
	p := lvsdtest.NewPair(t, 4)
	p.PrepareDR()
	p.AdvertInterval = "1s"
	for _, r := range p.Real[:3] {
		lab.ServeLines(r, ":80", r.Name)
	}
	p.Services = p.WebService(lvsdtest.QuickCheck, 3, 0, 5, 2) // the second is drained, the fourth does not listen
	lb := p.LB[0]
	lb.StartDaemon()
	lb.WaitState("master", 15*time.Second) // a killed daemon leaves the address
	lb.WaitWeights(20*time.Second, 3, 0, 5, 0)
	address := func(i int) string { return p.Real[i].Addr().String() + ":80" }
	drained := drainSince(lb, t, address(1))

	want := map[string]int{address(0): 3, address(1): 0, address(2): 5, address(3): 0}
	var reads atomic.Int64
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for a, w := range want {
				if got := lb.ProcWeight(a); got != w && !(a == address(2) && (got == 5 || got == 6)) {
					t.Errorf("weight %d of %s, want %d", got, a, w)
					return
				}
			}
			reads.Add(1)
			time.Sleep(5 * time.Millisecond) // User-Mode Linux has one processor
		}
	}()
	outage := lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{Every: 50 * time.Millisecond, Timeout: 10 * time.Second})
	outage.WaitSuccesses(20, 10*time.Second)

	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("%d kills, seed %d", n, seed)
	for i := range n {
		if r.IntN(3) == 0 { // during a reload, or with another file at the next start
			p.WriteConfigText(strings.Replace(p.ConfigText(), fmt.Sprintf(`%s", weight = %d`, address(2), 5+i%2), fmt.Sprintf(`%s", weight = %d`, address(2), 6-i%2), 1))
			_ = lb.Process.Signal(syscall.SIGHUP)
		}
		time.Sleep(time.Duration(r.Int64N(int64(50 * time.Millisecond))))
		lb.KillDaemon()
		lb.Process = lb.Start(lvsdtest.Binary(t), "run", "-c", p.ConfigFile, "--director", lb.Name)
		time.Sleep(time.Duration(r.Int64N(int64(time.Second))))
	}
	lb.KillDaemon()
	lb.StartDaemon()
	p.WaitUntil(20*time.Second, "health of all servers", func() bool {
		s, err := lb.Status()
		return err == nil && len(s.Services) == 1 && s.Services[0].RealServers[0].Health == "up" && s.Services[0].RealServers[3].Health == "down"
	})
	close(stop)
	<-ended
	if o := outage.Stop(); o.Failed > 0 {
		t.Errorf("clients saw an outage: %v", o)
	}
	if reads.Load() < int64(n) {
		t.Errorf("the table was read %d times only", reads.Load())
	}
	t.Logf("FIGURE %d kills, the IPVS table read %d times", n, reads.Load())
	if now := drainSince(lb, t, address(1)); !now.Equal(drained) {
		t.Errorf("the drain began at %v, later at %v", drained, now)
	}
	s, err := lb.Status()
	if err != nil || strings.Contains(strings.Join(s.Problems, "\n"), "record") {
		t.Errorf("%v, %v", s.Problems, err)
	}
	out, err := lb.LVSD("events", "--json", "--since", "1h", "--socket", lb.Socket)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if starts := find(eventLines(t, out), "daemon", "running"); starts < 2 {
		t.Errorf("%d starts in the history", starts)
	}
}

// drainSince returns when the drain of a server of the first service began.
func drainSince(d *lvsdtest.Director, t testing.TB, address string) time.Time {
	t.Helper()
	text, err := d.GetAPI("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, fmt.Sprintf("lvsd_real_server_drain_start_timestamp_seconds{real_server=%q,service=\"web\"} ", address)); ok {
			seconds, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.UnixMilli(int64(seconds * 1000))
		}
	}
	t.Fatalf("%s does not drain", address)
	return time.Time{}
}
