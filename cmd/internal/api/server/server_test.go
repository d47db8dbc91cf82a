package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/event"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// stub is a daemon with a fixed state.
type stub struct {
	view   director.View
	reload error
	dead   error
	asked  director.Handover
	handed []director.HandedOver
}

func (s *stub) HandOver(_ context.Context, h director.Handover) ([]director.HandedOver, error) {
	if s.asked = h; h.Instance == "none" {
		return nil, errors.New("no election is called \"none\"")
	}
	return s.handed, nil
}

func (s *stub) EndHandover(context.Context, string) ([]string, error) { return []string{"web"}, nil }

func (s *stub) View(context.Context) director.View      { return s.view }
func (s *stub) Snapshot() director.View                 { return s.view }
func (s *stub) Reload(context.Context) director.Outcome { return director.Outcome{Refused: s.reload} }
func (s *stub) Alive(context.Context) error             { return s.dead }
func (s *stub) DryRun(_ context.Context, next *config.Config) (director.DryRun, error) {
	return director.DryRun{Running: s.view.Config, Next: next}, nil
}

func (s *stub) RunMarkProbes(_ context.Context, id checker.ID) ([]director.MarkProbe, error) {
	if id.Service != "web" {
		return nil, errors.New("no such service")
	}
	return []director.MarkProbe{{Check: probe.Check{Type: probe.TypeConnect, Address: netip.MustParseAddrPort("10.0.0.88:80"), MarkPath: true},
		Trace: probe.Trace{Result: outcome.Result{Reason: outcome.Refused, Phase: outcome.PhaseConnect}}}}, nil
}

func (s *stub) Explain(id checker.ID) (checker.Health, bool) {
	h, ok := s.view.Health[id]
	return h, ok
}

// healthy is a view with one instance and one service of one server, weight 3.
func healthy() director.View {
	key := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort("10.0.0.88:80")}
	real := netip.MustParseAddrPort("10.0.0.9:80")
	id := checker.ID{Service: "web", RealServer: real.String()}
	return director.View{
		At: time.Unix(1000, 0),
		Config: &config.Config{Director: "lb1", Hash: "abc", File: "lvsd.toml", Services: []config.Service{{
			Name: "web", Quorum: 1, Scheduler: "wlc", RealServers: []config.RealServer{{Address: real, Weight: 3, Forward: "dr"}}}}},
		Decision: decision.Decision{Services: []decision.Service{{Name: "web", Key: key, Up: true, AvailableWeight: 3, Servers: []decision.RealServer{{
			ID: id, Address: real, Configured: 3, Weight: 3, InTable: true, State: checker.Up, Agent: decision.Agent{Weight: 100},
			Causes: []decision.Cause{{Kind: decision.CauseConfigured, Weight: 3, Text: "weight 3 in the file, line 9"}}}}}}},
		Health: map[checker.ID]checker.Health{id: {State: checker.Up, Checks: []checker.CheckHealth{
			{Type: "http", Last: outcome.Result{At: time.Unix(999, 0), Reason: outcome.OK, Took: 2 * time.Millisecond}}}}},
		Kernel: ipvs.Snapshot{Valid: true, Up: true, Table: ipvs.Table{key: {Key: key, Destinations: map[netip.AddrPort]ipvs.Destination{real: {Address: real, Weight: 3}}}},
			Stats: map[ipvs.ServiceKey]ipvs.ServiceStats{key: {Destinations: map[netip.AddrPort]ipvs.DestinationStats{real: {Active: 4, Inactive: 5}}}}},
		Instances: []vrrp.Status{{Name: "web", State: vrrp.Master, HasVIPs: true}},
	}
}

// statusOf returns the status of a view.
func statusOf(v director.View, version string, started time.Time) api.Status {
	return build(v, version, started).status()
}

func TestStatusOfAHealthyDirector(t *testing.T) {
	s := statusOf(healthy(), "1", time.Unix(1, 0))
	if !s.Healthy || len(s.Problems) != 0 {
		t.Fatalf("problems: %v", s.Problems)
	}
	rs := s.Services[0].RealServers[0]
	if rs.Weight == nil || *rs.Weight != 3 || rs.Active != 4 || rs.Inactive != 5 || rs.LastProbe == nil || rs.LastProbe.Took != .002 || rs.Health != "up" {
		t.Errorf("%+v", rs)
	}
}

// TestEveryFaultIsAProblem breaks one thing at a time: each must be reported and
// make the status unhealthy.
func TestEveryFaultIsAProblem(t *testing.T) {
	for want, harm := range map[string]func(*director.View){
		"reload was rejected":   func(v *director.View) { v.LastReload.Err = errors.New("lvsd.toml:1:1: x") },
		"not be read yet":       func(v *director.View) { v.Kernel.Valid = false },
		"does not reply":        func(v *director.View) { v.Kernel.Up = false },
		"another process added": func(v *director.View) { v.Kernel.Foreign = 2 },
		"disk full":             func(v *director.View) { v.Kernel.LedgerError = "disk full" },
		"read-only":             func(v *director.View) { v.Kernel.SettingsError = "read-only" },
		"no such scheduler":     func(v *director.View) { v.Kernel.Errors = []ipvs.OpError{{Err: errors.New("no such scheduler")}} },
		"fault: no carrier":     func(v *director.View) { v.Instances[0].State, v.Instances[0].Detail = vrrp.Fault, "no carrier" },
		"another master":        func(v *director.View) { v.Instances[0].Alarm = "another master is heard" },
		"panic mode: 1 of 4":    func(v *director.View) { p := &v.Decision.Services[0]; p.Panic, p.Healthy, p.Counted = true, 1, 4 },
		"real server 10.0.0.9:80 is unchecked for 12s: http: EADDRNOTAVAIL": func(v *director.View) {
			s := &v.Decision.Services[0].Servers[0]
			s.UncheckedSince, s.UncheckedWhy = v.At.Add(-12*time.Second), "http: EADDRNOTAVAIL"
		},
		"fallback 127.0.0.1:80 is serving": func(v *director.View) {
			v.Decision.Services[0].Fallback = decision.Fallback{Address: netip.MustParseAddrPort("127.0.0.1:80"), Active: true}
		},
		"frozen: 5 of 5 fail": func(v *director.View) {
			v.Config.Guard = &config.Guard{}
			v.Decision.Guard = decision.Guard{State: decision.GuardFrozen, Why: "5 of 5 fail"}
		},
		"witness 10.0.0.1 does not reply": func(v *director.View) {
			w := netip.MustParseAddr("10.0.0.1")
			v.Config.Guard = &config.Guard{Witnesses: []netip.Addr{w}}
			v.Health[decision.WitnessID(w)] = checker.Health{Checks: []checker.CheckHealth{{Last: outcome.Result{At: time.Unix(1, 0), Reason: outcome.Timeout}}}}
		},
		"by another process": func(v *director.View) { v.Kernel.Conflicts = []ipvs.Conflict{{What: "sync_threshold"}} },
		"no such device":     func(v *director.View) { v.Kernel.SyncError = "no such device" },
		"quorum lost":        func(v *director.View) { v.Decision.Services[0].Up = false },
		"is down": func(v *director.View) {
			v.Decision.Services[0].Servers[0].State = checker.Down
		},
	} {
		v := healthy()
		harm(&v)
		s := statusOf(v, "1", time.Unix(1, 0))
		if s.Healthy || !strings.Contains(strings.Join(s.Problems, "\n"), want) {
			t.Errorf("want %q among %q", want, s.Problems)
		}
	}
}

// TestStatusSurvivesJSON: what a client reads is what the daemon sent.
func TestStatusSurvivesJSON(t *testing.T) {
	s := statusOf(healthy(), "1", time.Unix(1, 0).UTC())
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back api.Status
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil || string(again) != string(text) {
		t.Errorf("%v\n%s\n%s", err, text, again)
	}
}

func newServer(t testing.TB, d *stub) *Server {
	t.Helper()
	s := &Server{Log: slog.New(slog.DiscardHandler), Daemon: d, Events: &event.Recorder{}, Metrics: http.NotFoundHandler()}
	t.Cleanup(s.Close)
	return s
}

func configFor(listen string) *config.Config {
	return &config.Config{File: "lvsd.toml", Global: config.Global{HTTPListen: listen}}
}

func TestControlSocket(t *testing.T) {
	d := &stub{view: healthy()}
	s := newServer(t, d)
	path := filepath.Join(t.TempDir(), "run", "control.sock")
	client := api.NewClient(path)
	if _, err := client.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "is lvsd running") {
		t.Errorf("no listener: %v", err)
	}
	if err := s.OpenControl(path, ""); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	status, err := client.Status(t.Context())
	if err != nil || status.Director != "lb1" {
		t.Fatalf("%+v, %v", status, err)
	}
	if err := newServer(t, d).OpenControl(path, ""); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("a second daemon on the socket: %v", err)
	}
	d.reload = config.Errors{{File: "lvsd.toml", Position: config.Position{Line: 3, Col: 4}, Path: "a.b", Message: "wrong"},
		{File: "lvsd.toml", Position: config.Position{Line: 5, Col: 1}, Message: "too"}}
	v, err := client.Reload(t.Context())
	if err != nil || v.OK || !reflect.DeepEqual(v.Errors, []string{"lvsd.toml:3:4: a.b: wrong", "lvsd.toml:5:1: too"}) {
		t.Errorf("%+v, %v", v, err)
	}
	d.reload = nil
	if v, err := client.Reload(t.Context()); err != nil || !v.OK || v.Hash != "abc" {
		t.Errorf("%+v, %v", v, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	// A killed daemon leaves its socket file; the next start replaces it.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	if err := newServer(t, d).OpenControl(path, ""); err != nil {
		t.Errorf("a socket left behind: %v", err)
	}
}

func TestWhy(t *testing.T) {
	d := &stub{view: healthy()}
	id := checker.ID{Service: "web", RealServer: "10.0.0.9:80"}
	d.view.Health[id] = checker.Health{State: checker.Down, Checks: []checker.CheckHealth{{Type: "http", State: checker.Down, InARow: 1, Needed: 2,
		History: []outcome.Result{{At: time.Unix(998, 0), Reason: outcome.Status, Phase: outcome.PhaseReceive, Detail: "503 Service Unavailable", Took: time.Millisecond}}}}}
	s := newServer(t, d)
	path := filepath.Join(t.TempDir(), "control.sock")
	if err := s.OpenControl(path, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	client := api.NewClient(path)
	why, err := client.Why(t.Context(), "web", "")
	if err != nil || len(why.Servers) != 1 {
		t.Fatalf("%+v, %v", why, err)
	}
	rs := why.Servers[0]
	if rs.Causes[0].Text != "weight 3 in the file, line 9" || rs.Checks[0].History[0].Detail != "503 Service Unavailable" || len(rs.Missing) != 1 || !strings.Contains(rs.Missing[0], "2 successful checks in a row of http") {
		t.Errorf("%+v", rs)
	}
	if why, err := client.Why(t.Context(), "web", "10.0.0.9"); err != nil || len(why.Servers) != 1 {
		t.Errorf("without its port: %+v, %v", why, err)
	}
	for _, c := range []struct{ service, realServer, want string }{
		{"nothing", "", `no service "nothing"`}, {"web", "10.0.0.77:80", "no real server 10.0.0.77:80"},
	} {
		if _, err := client.Why(t.Context(), c.service, c.realServer); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestUnknownControlGroupIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	if err := newServer(t, &stub{}).OpenControl(path, "no-such-group"); err == nil || !strings.Contains(err.Error(), "control_group") {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a socket is left behind")
	}
}

func TestTheNetworkReadsOnly(t *testing.T) {
	d := &stub{view: healthy()}
	s := newServer(t, d)
	change, err := s.ReadPublic(configFor("127.0.0.1:0"))(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	base := "http://" + s.public.Load().Addr().String()
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	if code, text := get("/healthz"); code != 200 || text != "ok\n" {
		t.Errorf("healthz: %d %s", code, text)
	}
	d.dead = errors.New("the loop stands still")
	if code, text := get("/healthz"); code != 503 || !strings.Contains(text, "stands still") {
		t.Errorf("healthz of a dead one: %d %s", code, text)
	}
	if code, text := get("/api/v1/status"); code != 200 || !strings.Contains(text, `"director":"lb1"`) {
		t.Errorf("status: %d %s", code, text)
	}
	if code, text := get("/api/v1/events"); code != 200 || strings.TrimSpace(text) != "[]" {
		t.Errorf("events: %d %q", code, text)
	}
	resp, err := http.Post(base+"/control/v1/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("a reload over the network: %s", resp.Status)
	}
}

// TestPortTaken: a listener that cannot be opened refuses the change, and the present
// one continues.
func TestPortTaken(t *testing.T) {
	s := newServer(t, &stub{view: healthy()})
	first, err := s.ReadPublic(configFor("127.0.0.1:0"))(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	first.Commit()
	address := s.public.Load().Addr().String()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := s.ReadPublic(configFor(taken.Addr().String()))(nil, nil); err == nil || !strings.Contains(err.Error(), "http_listen") {
		t.Errorf("a port that is taken: %v", err)
	}
	change, err := s.ReadPublic(configFor("127.0.0.2:0"))(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	change.Abort() // another program refused
	if resp, err := http.Get("http://" + address + "/healthz"); err != nil || resp.StatusCode != 200 {
		t.Errorf("the running listener: %v, %v", resp, err)
	}
	off, err := s.ReadPublic(configFor(""))(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	off.Commit()
	if s.public.Load().Listener != nil {
		t.Error("http_listen = \"\" still listens")
	}
}

func TestLinesSplitsJoinedErrors(t *testing.T) {
	err := errors.Join(errors.New("one"), fmt.Errorf("two: %w: %w", io.EOF, io.ErrNoProgress), config.Errors{{File: "f", Position: config.Position{Line: 1, Col: 2}, Message: "three"}})
	if got := api.Lines(err); !reflect.DeepEqual(got, []string{"one", "two: EOF: multiple Read calls return no data or error", "f:1:2: three"}) {
		t.Errorf("%q", got)
	}
	if api.Lines(nil) != nil {
		t.Error("no error has lines")
	}
}
