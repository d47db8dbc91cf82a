package checker

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func shell(script string) Check {
	return Check{Type: TypeExec, Address: addr(1), Command: []string{"/bin/sh", "-c", script}, Service: "web", Server: "10.0.0.1:80"}
}

func TestExec(t *testing.T) {
	for _, tt := range []struct {
		name   string
		c      Check
		reason Reason
		detail string
		weight int
	}{
		{"good", shell("exit 0"), OK, "", 100},
		{"bad", shell("echo no disk; exit 2"), Exec, `exit code 2: no disk\n`, 100},
		{"errors are kept", shell("echo oops >&2; exit 1"), Exec, "oops", 100},
		{"killed", shell("kill -SEGV $$"), Exec, "killed by SIGSEGV", 100},
		{"no shell", Check{Type: TypeExec, Address: addr(1), Command: []string{"/bin/echo", "$HOME;", "x y"}}, OK, `$HOME; x y\n`, 100},
		{"the environment", shell(`echo "$LVSD_SERVICE $LVSD_REAL_SERVER $LVSD_ADDRESS $LVSD_PORT$HOME$SECRET"`), OK, `web 10.0.0.1:80 10.0.0.1 80\n`, 100},
		{"no input", shell("cat"), OK, "", 100},
		{"a weight", shell("echo 75%"), OK, "75%", 75},
		{"no weight", shell("echo 75% of the disk is full"), OK, "", 100},
		{"gigabytes", shell("head -c 100000000 /dev/zero"), OK, `\x00`, 100},
		{"too slow", shell("echo waiting; sleep 1000"), Timeout, `killed at the deadline: waiting\n`, 100},
		{"no such program", Check{Type: TypeExec, Address: addr(1), Command: []string{"/nowhere"}}, Local, "no such file", 100},
		{"no program", Check{Type: TypeExec, Address: addr(1), Command: []string{"/etc/passwd"}}, Local, "permission denied", 100},
		{"as ourselves", func() Check { c := shell("exit 0"); c.User = "root"; return c }(), OK, "", 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.c.User == "root" && os.Geteuid() != 0 {
				tt.reason = Local
			}
			t.Setenv("SECRET", "no")
			if tt.reason == Timeout {
				tt.c.Timeout = hurry
			}
			got := once(t, tt.c)
			want(t, got, tt.reason, PhaseRun, tt.detail)
			if (got.Reason == OK) != (got.Report != nil) || got.Report != nil && got.Report.Weight != tt.weight {
				t.Errorf("said %+v", got.Report)
			}
		})
	}
	for _, c := range []Check{{}, {Command: []string{"echo"}}, {Command: []string{"/bin/true"}, User: "nobody-of-that-name"}} {
		if _, err := newExecProbe(&c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// Another user has neither our groups nor, with root's, any capability.
func TestExecUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: nobody else's program can be run here")
		return
	}
	c := shell("id -un; id -Gn; grep CapEff /proc/self/status")
	c.User = "nobody"
	got := once(t, c)
	want(t, got, OK, PhaseRun, `nobody\nnogroup\nCapEff:\t0000000000000000`)
}

// At the deadline, and at the end, everything that the program started goes.
func TestExecGroup(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		script string
		reason Reason
	}{
		"deadline": {"sleep 1000 & echo $! > %s; wait", Timeout},
		"end":      {"sleep 1000 & echo $! > %s", OK},
	} {
		file := filepath.Join(dir, name)
		c := shell(fmt.Sprintf(tt.script, file))
		if tt.reason == Timeout {
			c.Timeout = 10 * hurry
		}
		if got := once(t, c); got.Reason != tt.reason {
			t.Errorf("%s: %+v", name, got)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var pid int
		fmt.Sscan(string(text), &pid)
		for begin := time.Now(); unix.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(time.Millisecond) {
			if time.Since(begin) > patience {
				t.Fatalf("%s: the sleeper %d is still there", name, pid)
			}
		}
	}
}

func zombie(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z")
}

// There are never more programs than places; who gets none in time is not the
// server's fault.
func TestExecBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	c := shell("sleep 1000")
	p, err := NewProber(&c, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	for range maxPrograms {
		all.Go(func() { p.Probe(ctx, time.Now().Add(time.Hour)) })
	}
	for len(programSlots) < maxPrograms {
		time.Sleep(time.Millisecond)
	}
	quick := shell("exit 0")
	quick.Timeout = hurry
	want(t, once(t, quick), Local, PhaseRun, "other programs")
	cancel()
	all.Wait()
	for len(programSlots) > 0 {
		time.Sleep(time.Millisecond)
	}
	want(t, once(t, shell("exit 0")), OK, PhaseRun, "")
}

func TestAgentWords(t *testing.T) {
	for _, tt := range []struct {
		before AgentReport
		line   string
		want   AgentReport
		known  bool
	}{
		{NoReport, "up", NoReport, true},
		{NoReport, "75%", AgentReport{Weight: 75}, true},
		{NoReport, "UP 75%", AgentReport{Weight: 75}, true},
		{NoReport, "150%", NoReport, true},
		{NoReport, "drain", AgentReport{Weight: 100, Drain: true}, true},
		{NoReport, "maint,50%\tmaxconn:30", AgentReport{Weight: 50, Maint: true}, true},
		{AgentReport{Weight: 50, Maint: true}, "ready", AgentReport{Weight: 50}, true},
		{AgentReport{Weight: 50, Drain: true}, "maint", AgentReport{Weight: 50, Maint: true}, true},
		{AgentReport{Weight: 50, Maint: true}, "up", AgentReport{Weight: 50, Maint: true}, true},
		{NoReport, "down#the database is gone, up soon", AgentReport{Weight: 100, Down: true}, true},
		{NoReport, "stopped", AgentReport{Weight: 100, Down: true}, true},
		{NoReport, "failed #x", AgentReport{Weight: 100, Down: true}, true},
		{AgentReport{Weight: 30, Down: true}, "100%", AgentReport{Weight: 100, Down: true}, true},
		{AgentReport{Weight: 30, Down: true}, "up ready 100%", NoReport, true},
		{NoReport, "weird 40%", AgentReport{Weight: 40}, true},
		{NoReport, "", NoReport, false},
		{NoReport, "# up", NoReport, false},
		{NoReport, "HTTP/1.1 200 OK", NoReport, false},
		{NoReport, "-5% 5 % x%", NoReport, false},
	} {
		s := tt.before
		if known := s.Apply(tt.line); s != tt.want || known != tt.known {
			t.Errorf("%q makes %+v of %+v, %v", tt.line, s, tt.before, known)
		}
	}
}

func FuzzAgent(f *testing.F) {
	for _, s := range []string{"up 75% drain #x", "maint,ready", "down", "9999999%", "maxconn:5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s := NoReport
		known := s.Apply(line)
		if s.Weight < 0 || s.Weight > 100 || s.Maint && s.Drain || !known && s != NoReport {
			t.Fatalf("%q makes %+v", line, s)
		}
		again := s
		if again.Apply(line); again != s {
			t.Fatalf("%q twice makes %+v of %+v", line, again, s)
		}
	})
}

func TestAgent(t *testing.T) {
	says := func(s string) netip.AddrPort { return server(t, func(c net.Conn) { io.WriteString(c, s) }) }
	for _, tt := range []struct {
		name   string
		to     netip.AddrPort
		reason Reason
		phase  string
		detail string
		said   *AgentReport
	}{
		{"up", says("up\n"), OK, PhaseReceive, `"up"`, &AgentReport{Weight: 100}},
		{"a weight, and no end of line", says("75%"), OK, PhaseReceive, `"75%"`, &AgentReport{Weight: 75}},
		{"down", says("down #no disk\r\n"), Agent, PhaseReceive, "#no disk", &AgentReport{Weight: 100, Down: true}},
		{"maint", says("maint\n"), OK, PhaseReceive, "", &AgentReport{Weight: 100, Maint: true}},
		{"garbage", says("HTTP/1.1 400 Bad\r\n"), Protocol, PhaseReceive, "no word of an agent", nil},
		{"gigabytes", server(t, func(c net.Conn) {
			for b := make([]byte, 1<<16); ; {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}), Protocol, PhaseReceive, "no line", nil},
		{"closed", says(""), Closed, PhaseReceive, "no answer", nil},
		{"silent", server(t, func(c net.Conn) { io.WriteString(c, "u"); io.Copy(io.Discard, c) }), Timeout, PhaseReceive, `"u"`, nil},
		{"refused", refusing(t), Refused, PhaseConnect, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Check{Type: TypeAgent, Address: tt.to}
			if tt.reason == Timeout {
				c.Timeout = hurry
			}
			got := once(t, c)
			want(t, got, tt.reason, tt.phase, tt.detail)
			if (got.Report == nil) != (tt.said == nil) || got.Report != nil && *got.Report != *tt.said {
				t.Errorf("said %+v, want %+v", got.Report, tt.said)
			}
		})
	}
}

// health is gRPC's health service over the standard library's HTTP/2.
func health(answer func(service string) (body []byte, code string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		service := ""
		if len(b) > 7 {
			service = string(b[7:])
		}
		if r.URL.Path != "/grpc.health.v1.Health/Check" || r.Header.Get("Te") != "trailers" || r.Header.Get("Content-Type") != "application/grpc" {
			w.WriteHeader(404)
			return
		}
		body, code := answer(service)
		w.Header().Set("Content-Type", "application/grpc")
		if body == nil {
			w.Header().Set("Grpc-Status", code)
			w.Header().Set("Grpc-Message", "unknown service")
			return
		}
		w.Header().Set("Trailer", "Grpc-Status")
		w.Write(body)
		w.Header().Set("Grpc-Status", code)
	})
}

func TestGRPC(t *testing.T) {
	h := health(func(service string) ([]byte, string) {
		switch service {
		case "":
			return []byte("\x00\x00\x00\x00\x02\x08\x01"), "0"
		case "down":
			return []byte("\x00\x00\x00\x00\x02\x08\x02"), "0"
		case "empty":
			return []byte("\x00\x00\x00\x00\x00"), "0"
		case "junk":
			return []byte("junk"), "0"
		case "odd":
			return []byte("\x00\x00\x00\x00\x02\x08\x01"), "14"
		}
		return nil, "5"
	})
	ours := newAuthority(t)
	plain, safe := web(t, nil, h), web(t, ours.issue(t, -time.Hour, time.Hour, "127.0.0.1"), h)
	verify := &TLSConfig{Verify: true, CAs: ours.pool}
	for _, tt := range []struct {
		name   string
		c      Check
		reason Reason
		phase  string
		detail string
	}{
		{"serving", Check{}, OK, PhaseReceive, "SERVING"},
		{"in TLS", Check{Address: safe, TLS: verify}, OK, PhaseReceive, "SERVING"},
		{"a foreign certificate", Check{Address: safe, TLS: &TLSConfig{Verify: true}}, TLS, PhaseTLS, "x509"},
		{"not serving", Check{GRPCService: "down"}, Agent, PhaseReceive, "NOT_SERVING"},
		{"unknown", Check{GRPCService: "empty"}, Agent, PhaseReceive, "UNKNOWN"},
		{"no such service", Check{GRPCService: "x"}, Status, PhaseReceive, "NOT_FOUND: unknown service"},
		{"a code behind the message", Check{GRPCService: "odd"}, Status, PhaseReceive, "UNAVAILABLE"},
		{"junk", Check{GRPCService: "junk"}, Protocol, PhaseReceive, `"junk"`},
		{"no gRPC", Check{Address: web(t, nil, site())}, Status, PhaseReceive, "HTTP 404"},
		{"no HTTP/2", Check{Address: oldWeb(t)}, Protocol, PhaseReceive, ""},
		{"TLS without HTTP/2", Check{Address: secured(t, ours.issue(t, -time.Hour, time.Hour, "127.0.0.1"), answering("")), TLS: verify}, Protocol, PhaseTLS, "HTTP/2"},
		{"silent", Check{Address: server(t, func(c net.Conn) { io.Copy(io.Discard, c) }), Timeout: hurry}, Timeout, PhaseReceive, "no answer"},
		{"refused", Check{Address: refusing(t)}, Refused, PhaseConnect, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Type = TypeGRPC
			if !tt.c.Address.IsValid() {
				tt.c.Address = plain
			}
			want(t, once(t, tt.c), tt.reason, tt.phase, tt.detail)
		})
	}
}

func FuzzHealthAnswer(f *testing.F) {
	for _, s := range []string{"\x00\x00\x00\x00\x02\x08\x01", "\x00\x00\x00\x00\x00", "junk", "\x00\x00\x00\x00\x06\x12\x02ab\x08\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		status, err := healthAnswer(b)
		if err != nil && status != 0 {
			t.Fatalf("%q: %d, %v", b, status, err)
		}
		servingName(status)
	})
}
