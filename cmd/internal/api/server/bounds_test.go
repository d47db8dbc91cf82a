package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/metrics"
	"lvsd/ipvs"
)

// stalled is a client that does not read.
type stalled struct {
	*httptest.ResponseRecorder
	writing chan<- struct{}
	release <-chan struct{}
}

func (s stalled) Write(b []byte) (int, error) {
	select {
	case s.writing <- struct{}{}:
	case <-s.release:
	}
	<-s.release
	return len(b), nil
}

func (s stalled) SetWriteDeadline(time.Time) error { return nil }

// TestClientsThatDoNotReadAreBounded: neither requests in progress nor histories in
// memory grow with the clients, and the others are refused at once.
func TestClientsThatDoNotReadAreBounded(t *testing.T) {
	for path, bound := range map[string]int{"/api/v1/events?since=1h": histories, "/api/v1/events?follow=1&limit=100000": histories, "/api/v1/events": publicRequests, "/api/v1/charts": publicRequests} {
		s := newServer(t, &stub{view: healthy()})
		s.Events = &event.Recorder{}
		s.Journal = event.NewJournal(filepath.Join(t.TempDir(), "none"), s.Events, s.Log)
		s.Events.Record(event.Event{At: time.Now(), Kind: event.KindDaemon, To: "running"})
		h := s.publicHandler()
		writing, release := make(chan struct{}), make(chan struct{})
		ctx, leave := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for range bound {
			clients.Go(func() {
				h.ServeHTTP(stalled{httptest.NewRecorder(), writing, release}, httptest.NewRequestWithContext(ctx, "GET", path, nil))
			})
		}
		for range bound {
			<-writing
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "already") {
			t.Errorf("%s: a client above the bound: %d %s", path, w.Code, w.Body)
		}
		close(release)
		leave()
		clients.Wait()
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Code != http.StatusOK {
			t.Errorf("%s: afterwards: %d %s", path, w.Code, w.Body)
		}
	}
}

// httpBudget is what docs/security.md promises all of http_listen to take at most, in
// bytes.
const httpBudget = 256 << 20

// TestMemoryOfThePort: as many clients as there may be, who ask for the most and do not
// read, take no more memory than promised.
func TestMemoryOfThePort(t *testing.T) {
	folder := t.TempDir()
	id := uint64(time.Now().UnixMicro())
	for n := range 8 { // what a history on disk has at most
		var text []byte
		for len(text) < 2<<20 {
			id++
			line, err := json.Marshal(event.Event{ID: id, At: time.Now(), Director: "lb1", Kind: event.KindHealth, Level: event.Warn, Service: "web",
				RealServer: "10.0.0.20:80", From: "up", To: "down", Reason: strings.Repeat("x", 100)})
			if err != nil {
				t.Fatal(err)
			}
			text = append(append(text, line...), '\n')
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("events-%08d.jsonl", n+1)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newServer(t, &stub{view: healthy()})
	s.Journal = event.NewJournal(folder, s.Events, s.Log)
	h := s.publicHandler()
	stallAll(t, h, func(n int) *http.Request {
		return httptest.NewRequest("GET", []string{"/api/v1/events?since=24h", "/api/v1/events?since=24h&follow=1", "/api/v1/events", "/api/v1/status"}[n%4], nil)
	})
}

// TestMemoryOfALargeDirector: the same for status and metrics of 10,000 real servers.
func TestMemoryOfALargeDirector(t *testing.T) {
	v := healthy()
	service, plan := v.Config.Services[0], v.Decision.Services[0]
	rs, decided := service.RealServers[0], plan.Servers[0]
	health, stats := v.Health[decided.ID], v.Kernel.Stats[plan.Key].Destinations[rs.Address]
	v.Config.Global.PerServerMetrics = true
	v.Config.Services, v.Decision.Services = nil, nil
	for i := range 100 {
		service.Name, service.RealServers, plan.Servers = fmt.Sprint("s", i), nil, nil
		plan.Name, plan.Key.Address = service.Name, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 80)
		table, counters := map[netip.AddrPort]ipvs.Destination{}, map[netip.AddrPort]ipvs.DestinationStats{}
		for j := range 100 {
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 2, byte(i), byte(j)}), 80)
			rs.Address, decided.Address, decided.ID = at, at, checker.ID{Service: service.Name, RealServer: at.String()}
			service.RealServers, plan.Servers = append(service.RealServers, rs), append(plan.Servers, decided)
			v.Health[decided.ID], counters[at], table[at] = health, stats, ipvs.Destination{Address: at, Weight: 3}
		}
		v.Config.Services, v.Decision.Services = append(v.Config.Services, service), append(v.Decision.Services, plan)
		v.Kernel.Table[plan.Key], v.Kernel.Stats[plan.Key] = ipvs.Service{Key: plan.Key, Destinations: table}, ipvs.ServiceStats{Destinations: counters}
	}
	s := newServer(t, &stub{view: v})
	m := metrics.New("1", "1")
	m.Watch(func(context.Context) director.View { return v })
	s.Metrics = m.Handler()
	w := httptest.NewRecorder()
	s.publicHandler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if n := strings.Count(w.Body.String(), "\nlvsd_real_server_weight{"); n != 10_000 {
		t.Fatalf("%d: metrics of %d real servers", w.Code, n)
	}
	stallAll(t, s.publicHandler(), func(n int) *http.Request {
		r := httptest.NewRequest("GET", []string{"/metrics", "/api/v1/status"}[n%2], nil)
		if n%4 < 2 {
			r.Header.Set("Accept-Encoding", "gzip")
		}
		return r
	})
}

// stallAll makes as many requests as there may be, of clients that do not read, and fails if
// they take more memory than promised.
func stallAll(t *testing.T, h http.Handler, request func(n int) *http.Request) {
	t.Helper()
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	writing, release := make(chan struct{}), make(chan struct{})
	ctx, leave := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for n := range publicRequests {
		clients.Go(func() { h.ServeHTTP(stalled{httptest.NewRecorder(), writing, release}, request(n).WithContext(ctx)) })
	}
	for range publicRequests {
		<-writing
	}
	took := used() - before
	if t.Logf("%d MiB", took>>20); took > httpBudget {
		t.Errorf("more than %d", httpBudget>>20)
	}
	close(release)
	leave()
	clients.Wait()
}

// TestTheCommandWaitsForNoReader: why on the control socket is made while clients of
// http_listen wait for theirs.
func TestTheCommandWaitsForNoReader(t *testing.T) {
	s := newServer(t, &stub{view: healthy()})
	s.explaining.Lock()
	defer s.explaining.Unlock()
	w := httptest.NewRecorder()
	s.changing().ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/why?service=web", nil))
	if w.Code != http.StatusOK {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}
