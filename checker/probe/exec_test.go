package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/integration/lab"
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
	return Check{Type: TypeExec, Address: checktest.Addr(1), Command: []string{"/bin/sh", "-c", script}, Service: "web", Server: "10.0.0.1:80"}
}

func TestExec(t *testing.T) {
	for _, tt := range []struct {
		name   string
		c      Check
		reason outcome.Reason
		detail string
		weight int
	}{
		{"good", shell("exit 0"), outcome.OK, "", 100},
		{"bad", shell("echo no disk; exit 2"), outcome.Exec, `exit code 2: no disk\n`, 100},
		{"errors are kept", shell("echo oops >&2; exit 1"), outcome.Exec, "oops", 100},
		{"killed", shell("kill -SEGV $$"), outcome.Exec, "killed by SIGSEGV", 100},
		{"no shell", Check{Type: TypeExec, Address: checktest.Addr(1), Command: []string{"/bin/echo", "$HOME;", "x y"}}, outcome.OK, `$HOME; x y\n`, 100},
		{"the environment", shell(`echo "$LVSD_SERVICE $LVSD_REAL_SERVER $LVSD_ADDRESS $LVSD_PORT$HOME$SECRET"`), outcome.OK, `web 10.0.0.1:80 10.0.0.1 80\n`, 100},
		{"no input", shell("cat"), outcome.OK, "", 100},
		{"a weight", shell("echo 75%"), outcome.OK, "75%", 75},
		{"no weight", shell("echo 75% of the disk is full"), outcome.OK, "", 100},
		{"gigabytes", shell("head -c 100000000 /dev/zero"), outcome.OK, `\x00`, 100},
		{"too slow", shell("echo waiting; sleep 1000"), outcome.Timeout, `killed at the deadline: waiting\n`, 100},
		{"no such program", Check{Type: TypeExec, Address: checktest.Addr(1), Command: []string{"/nowhere"}}, outcome.Local, "no such file", 100},
		{"no program", Check{Type: TypeExec, Address: checktest.Addr(1), Command: []string{"/etc/passwd"}}, outcome.Local, "permission denied", 100},
		{"as ourselves", func() Check { c := shell("exit 0"); c.User = "root"; return c }(), outcome.OK, "", 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.c.User == "root" && os.Geteuid() != 0 {
				tt.reason = outcome.Local
			}
			t.Setenv("SECRET", "no")
			if tt.reason == outcome.Timeout {
				tt.c.Timeout = checktest.Hurry
			}
			got := once(t, tt.c)
			checktest.Want(t, got, tt.reason, outcome.PhaseRun, tt.detail)
			if (got.Reason == outcome.OK) != (got.Report != nil) || got.Report != nil && got.Report.Weight != tt.weight {
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
	lab.RequireRoot(t) // to run a program as another user
	c := shell("id -un; id -Gn; grep CapEff /proc/self/status")
	c.User = "nobody"
	got := once(t, c)
	checktest.Want(t, got, outcome.OK, outcome.PhaseRun, `nobody\nnogroup\nCapEff:\t0000000000000000`)
}

// At the deadline, and at the end, everything that the program started is killed.
func TestExecGroup(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		script string
		reason outcome.Reason
	}{
		"deadline": {"sleep 1000 & echo $! > %s; wait", outcome.Timeout},
		"end":      {"sleep 1000 & echo $! > %s", outcome.OK},
	} {
		file := filepath.Join(dir, name)
		c := shell(fmt.Sprintf(tt.script, file))
		if tt.reason == outcome.Timeout {
			c.Timeout = 10 * checktest.Hurry
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
			if time.Since(begin) > checktest.Patience {
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

// There are never more programs than slots; what waits for one is late, not failed.
func TestExecBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	const maxPrograms = 32
	for range maxPrograms {
		c := shell("sleep 1000")
		p, err := NewProber(&c, NewShared())
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { p.Probe(ctx, time.Now().Add(time.Hour)) })
	}
	for programSlots.Used() < maxPrograms {
		time.Sleep(time.Millisecond)
	}
	quick := shell("exit 0")
	// Its deadline starts with the program, however long it waited for a slot. A busy
	// machine takes a while to run even this one.
	quick.Timeout = 2 * time.Second
	waiting, err := NewProber(&quick, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(quick.Timeout)
	out := make(chan outcome.Outcome, 1)
	go func() { out <- waiting.Probe(t.Context(), deadline) }()
	<-time.After(time.Until(deadline))
	select {
	case o := <-out:
		t.Errorf("ended without a slot: %+v", o)
	default:
	}
	cancel()
	all.Wait()
	late := <-out
	checktest.Want(t, late, outcome.OK, outcome.PhaseRun, "")
	if late.Waited == 0 {
		t.Error("the wait for a slot is not reported")
	}
	for programSlots.Used() > 0 {
		time.Sleep(time.Millisecond)
	}
	checktest.Want(t, once(t, shell("exit 0")), outcome.OK, outcome.PhaseRun, "")
}

// A program that cannot be killed, as one that waits for a dead disk, is a timeout until it
// ends. Meanwhile its check starts no other, and it takes no slot from other checks. Here
// it escapes the signal by leaving its process group.
func TestExecUnkillable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hang")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := Check{Type: TypeExec, Address: checktest.Addr(1), Timeout: 10 * checktest.Hurry, Command: []string{"/usr/bin/perl", "-e",
		`open F, "+<", $ARGV[0] or exit; setpgrp 0, getpgrp getppid; syswrite F, $$; sleep 1000`, file}}
	p, err := NewProber(&c, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	probe := func() outcome.Outcome { return p.Probe(t.Context(), time.Now().Add(c.Timeout)) }
	checktest.Want(t, probe(), outcome.Timeout, outcome.PhaseRun, "killed at the deadline")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if fmt.Sscan(string(text), &pid); pid == 0 {
		t.Fatal("it did not come to hang")
	}
	defer unix.Kill(pid, unix.SIGKILL)
	if n := programSlots.Used(); n != 0 {
		t.Errorf("it keeps %d slots", n)
	}
	checktest.Want(t, probe(), outcome.Timeout, outcome.PhaseRun, "has not ended")
	if err := errors.Join(os.Remove(file), unix.Kill(pid, unix.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	if _, ok := lab.Poll(10*time.Second, func() bool { return !p.(*execProbe).remains.Load() }); !ok {
		t.Fatal("its end is not seen")
	}
	checktest.Want(t, probe(), outcome.OK, outcome.PhaseRun, "")
}

// A program gets the address in its arguments, too, where they ask for it.
func TestExecPlaceholders(t *testing.T) {
	c := Check{Type: TypeExec, Address: netip.MustParseAddrPort("[::ffff:10.0.0.9]:80"), Command: []string{"/bin/echo", "-H{address}", "{port}", "{other}"}}
	checktest.Want(t, once(t, c), outcome.OK, outcome.PhaseRun, "-H10.0.0.9 80 {other}")
}

func TestFile(t *testing.T) {
	at := filepath.Join(t.TempDir(), "up")
	if err := os.WriteFile(at, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		c      Check
		reason outcome.Reason
		detail string
	}{
		{Check{File: at}, outcome.OK, "exists"},
		{Check{File: at + "x"}, outcome.Off, "does not exist"},
		{Check{File: at, FileAbsent: true}, outcome.Off, "exists"},
		{Check{File: at + "x", FileAbsent: true}, outcome.OK, "does not exist"},
		{Check{File: at + "/x"}, outcome.Local, "ENOTDIR"},
	} {
		tt.c.Type, tt.c.Address = TypeFile, checktest.Addr(1)
		checktest.Want(t, once(t, tt.c), tt.reason, outcome.PhaseRun, tt.detail)
	}
}

func TestAgent(t *testing.T) {
	says := func(s string) netip.AddrPort { return checktest.Serve(t, func(c net.Conn) { io.WriteString(c, s) }) }
	for _, tt := range []struct {
		name   string
		to     netip.AddrPort
		reason outcome.Reason
		phase  string
		detail string
		said   *outcome.AgentReport
	}{
		{"up", says("up\n"), outcome.OK, outcome.PhaseReceive, `"up"`, &outcome.AgentReport{Weight: 100}},
		{"a weight, and no end of line", says("75%"), outcome.OK, outcome.PhaseReceive, `"75%"`, &outcome.AgentReport{Weight: 75}},
		{"down", says("down #no disk\r\n"), outcome.Agent, outcome.PhaseReceive, "#no disk", &outcome.AgentReport{Weight: 100, Down: true}},
		{"maint", says("maint\n"), outcome.OK, outcome.PhaseReceive, "", &outcome.AgentReport{Weight: 100, Maint: true}},
		{"garbage", says("HTTP/1.1 400 Bad\r\n"), outcome.Protocol, outcome.PhaseReceive, "not an agent's response", nil},
		{"gigabytes", checktest.Serve(t, func(c net.Conn) {
			for b := make([]byte, 1<<16); ; {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}), outcome.Protocol, outcome.PhaseReceive, "no line", nil},
		{"asked", checktest.Serve(t, func(c net.Conn) {
			if asked, _ := bufio.NewReader(c).ReadString('\n'); asked == "web\n" {
				io.WriteString(c, "33%\n")
			}
		}), outcome.OK, outcome.PhaseReceive, `"33%"`, &outcome.AgentReport{Weight: 33}},
		{"closed", says(""), outcome.Closed, outcome.PhaseReceive, "no answer", nil},
		{"silent", checktest.Serve(t, func(c net.Conn) { io.WriteString(c, "u"); io.Copy(io.Discard, c) }), outcome.Timeout, outcome.PhaseReceive, `"u"`, nil},
		{"refused", checktest.Refusing(t), outcome.Refused, outcome.PhaseConnect, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Check{Type: TypeAgent, Address: tt.to}
			if tt.name == "asked" {
				c.Send = "web\n"
			}
			if tt.reason == outcome.Timeout {
				c.Timeout = checktest.Hurry
			}
			got := once(t, c)
			checktest.Want(t, got, tt.reason, tt.phase, tt.detail)
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
	ours := checktest.NewAuthority(t)
	plain, safe := web(t, nil, h), web(t, ours.Issue(t, -time.Hour, time.Hour, "127.0.0.1"), h)
	verify := &TLSConfig{Verify: true, CAs: ours.Pool}
	for _, tt := range []struct {
		name   string
		c      Check
		reason outcome.Reason
		phase  string
		detail string
	}{
		{"serving", Check{}, outcome.OK, outcome.PhaseReceive, "SERVING"},
		{"in TLS", Check{Address: safe, TLS: verify}, outcome.OK, outcome.PhaseReceive, "SERVING"},
		{"a foreign certificate", Check{Address: safe, TLS: &TLSConfig{Verify: true}}, outcome.TLS, outcome.PhaseTLS, "x509"},
		{"not serving", Check{GRPCService: "down"}, outcome.Agent, outcome.PhaseReceive, "NOT_SERVING"},
		{"unknown", Check{GRPCService: "empty"}, outcome.Agent, outcome.PhaseReceive, "UNKNOWN"},
		{"no such service", Check{GRPCService: "x"}, outcome.Status, outcome.PhaseReceive, "NOT_FOUND: unknown service"},
		{"a code behind the message", Check{GRPCService: "odd"}, outcome.Status, outcome.PhaseReceive, "UNAVAILABLE"},
		{"junk", Check{GRPCService: "junk"}, outcome.Protocol, outcome.PhaseReceive, `"junk"`},
		{"no gRPC", Check{Address: web(t, nil, site())}, outcome.Status, outcome.PhaseReceive, "HTTP 404"},
		{"no HTTP/2", Check{Address: oldWeb(t)}, outcome.Protocol, outcome.PhaseReceive, ""},
		{"TLS without HTTP/2", Check{Address: checktest.ServeTLS(t, ours.Issue(t, -time.Hour, time.Hour, "127.0.0.1"), checktest.Answering("")), TLS: verify}, outcome.Protocol, outcome.PhaseTLS, "HTTP/2"},
		{"silent", Check{Address: checktest.Serve(t, func(c net.Conn) { io.Copy(io.Discard, c) }), Timeout: checktest.Hurry}, outcome.Timeout, outcome.PhaseReceive, "no answer"},
		{"refused", Check{Address: checktest.Refusing(t)}, outcome.Refused, outcome.PhaseConnect, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Type = TypeGRPC
			if !tt.c.Address.IsValid() {
				tt.c.Address = plain
			}
			checktest.Want(t, once(t, tt.c), tt.reason, tt.phase, tt.detail)
		})
	}
}

// A new agent probe continues with the report of the one before it.
func TestAgentResumes(t *testing.T) {
	p := newAgentProbe(&Check{Address: checktest.Addr(1)}).(*agentProbe)
	p.ResumeReport(outcome.AgentReport{Weight: 30, Maint: true})
	if out := p.parseLine([]byte("50%")); *out.Report != (outcome.AgentReport{Weight: 50, Maint: true}) {
		t.Errorf("said %+v", *out.Report)
	}
}
