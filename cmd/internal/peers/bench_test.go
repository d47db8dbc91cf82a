package peers

import (
	"encoding/json"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkTenThousandServers measures the cost of a second of the exchange for a
// director with 10,000 real servers, apart from gathering them: their digest, and the
// messages while both directors agree.
func BenchmarkTenThousandServers(b *testing.B) {
	var services []ServiceHealth
	for i := range 100 {
		svc := ServiceHealth{Name: fmt.Sprint("s", i)}
		for j := range 100 {
			svc.Servers = append(svc.Servers, ServerHealth{Address: fmt.Sprintf("10.1.%d.%d:80", i, j), Health: "up", Weight: 1})
		}
		services = append(services, svc)
	}
	for b.Loop() {
		s := State{Health: NewHealth(services)}
		s.Health.Services = nil
		text, err := json.Marshal(reply{From: "lb2", To: "lb1", State: &s})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := parseReply(text, howAreYou); err != nil {
			b.Fatal(err)
		}
	}
}

// countingConn counts the octets of a conversation, both ways.
type countingConn struct {
	net.Conn
	octets *atomic.Int64
}

func (c countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.octets.Add(int64(n))
	return n, err
}

func (c countingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.octets.Add(int64(n))
	return n, err
}

// withHundredServers makes it the state of a director that announces, with 100 real servers.
func withHundredServers(s *State) {
	services := []ServiceHealth{{Name: "web", Up: true}}
	for i := range 100 {
		services[0].Servers = append(services[0].Servers, ServerHealth{Address: fmt.Sprintf("10.1.0.%d:80", i), Health: "up", Weight: 1})
	}
	s.Health = NewHealth(services)
	s.Announces = []Announce{{Name: "anycast", Announced: true, Serving: true, Metric: 100, Why: "all services have their quorum"}}
}

// BenchmarkDirectors measures the cost of a second of the exchange for one of n directors
// with 100 real servers: it asks all others, and all others ask it. The processor's time is
// that of both ends, and there is no network; octets are those of the messages, without
// TCP's.
func BenchmarkDirectors(b *testing.B) {
	for _, n := range []int{4, 32, 64, 1000} {
		b.Run(fmt.Sprint("directors=", n), func(b *testing.B) {
			l := newLAN()
			var octets atomic.Int64
			l.between = func(c net.Conn) net.Conn { return countingConn{c, &octets} }
			one, others := oneOf(b, l, n)
			for _, s := range append(others, one) {
				s.become(withHundredServers)
				s.state.Expire()
				s.tasks.Go(func() { s.accept(b.Context(), s.setup.Load().listener) })
			}
			before := processorTime(b)
			for b.Loop() {
				for i, other := range others {
					mine, its := one.setup.Load(), other.setup.Load()
					for _, r := range []response{one.request(b.Context(), mine, mine.Peers[i], one.self()), other.request(b.Context(), its, its.Peers[0], other.self())} {
						if r.err != nil {
							b.Fatal(r.err)
						}
					}
				}
			}
			b.ReportMetric(float64(octets.Load())/float64(b.N), "octets/op")
			b.ReportMetric((processorTime(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// processorTime is what this process has used of the processors.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
