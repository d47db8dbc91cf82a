package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/configfile"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// write writes a configuration with a service whose real server is server, and
// returns its source.
func write(t *testing.T, folder, server string, more string) *configfile.Source {
	t.Helper()
	path := filepath.Join(folder, "lvsd.toml")
	text := fmt.Sprintf(`
[global]
state_dir = %q
control_socket = %q
http_listen = ""
%s
[[director]]
name = "lb1"
address = "127.0.0.1"
[[virtual_service]]
name = "web"
address = "10.0.0.88:80"
scheduler = "rr"
forward = "nat"
check = { type = "tcp", interval = "100ms", timeout = "50ms", rise = 1, fall = 1 }
real_servers = [ { address = %q, weight = 3 } ]
`, filepath.Join(folder, "state"), filepath.Join(folder, "control.sock"), more, server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &configfile.Source{Path: path, Director: "lb1"}
}

// running runs a daemon with a kernel in memory until the test ends.
func running(t *testing.T, source *configfile.Source) *Daemon {
	t.Helper()
	kernel := ipvstest.New()
	d, err := New(Options{Source: source, Strict: true, Stderr: io.Discard, OpenKernel: func() (ipvs.Kernel, error) { return kernel, nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d
}

// accepting accepts connections until the test ends, as a real server that is up.
func accepting(tb testing.TB, address string) net.Listener {
	tb.Helper()
	l, err := net.Listen("tcp4", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l
}

// TestStartServeStop: a daemon on a kernel in memory checks its real server, gives it
// its weight, serves commands, and leaves nothing behind but the kernel's table.
func TestStartServeStop(t *testing.T) {
	real := accepting(t, "127.0.0.1:0")
	folder, kernel := t.TempDir(), ipvstest.New()
	options := Options{
		Source: write(t, folder, real.Addr().String(), ""), Strict: true, Stderr: io.Discard,
		OpenKernel: func() (ipvs.Kernel, error) { return kernel, nil },
	}
	d, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	client := api.NewClient(filepath.Join(folder, "control.sock"))
	weight := func() int {
		s, err := client.Status(ctx)
		if err != nil || len(s.Services) != 1 || s.Services[0].RealServers[0].Weight == nil {
			return -1
		}
		return *s.Services[0].RealServers[0].Weight
	}
	for deadline := time.Now().Add(10 * time.Second); weight() != 3; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s, err := client.Status(ctx)
			t.Fatalf("the real server has weight %d: %+v, %v", weight(), s, err)
		}
	}
	if _, err := New(options); err == nil || !strings.Contains(err.Error(), "state") {
		t.Errorf("a second daemon with the same state_dir: %v", err)
	}
	write(t, folder, real.Addr().String(), "log_level = \"loud\"")
	if v, err := client.Reload(ctx); err != nil || v.OK {
		t.Errorf("an invalid file: %+v, %v", v, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if api.Answers(filepath.Join(folder, "control.sock")) {
		t.Error("the control socket is still open")
	}
	// What is left allows the next start, from the last good copy as the file is invalid.
	options.Strict = false
	d, err = New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop = context.WithCancel(t.Context())
	stop()
	if err := d.Run(ctx); err != nil {
		t.Error(err)
	}
}

// TestAPlanRunsNoProgram: a plan of a text with programs, which whoever may use the control
// socket can ask for, runs none of them. A reload of the same text does.
func TestAPlanRunsNoProgram(t *testing.T) {
	real := accepting(t, "127.0.0.1:0")
	folder, ctx := t.TempDir(), t.Context()
	source := write(t, folder, real.Addr().String(), "")
	running(t, source)
	client := api.NewClient(filepath.Join(folder, "control.sock"))
	write(t, folder, real.Addr().String(), fmt.Sprintf("notify = [\"/bin/touch\", %q]", filepath.Join(folder, "notified")))
	text, err := os.ReadFile(source.Path)
	if err != nil {
		t.Fatal(err)
	}
	next := strings.Replace(string(text), `check = { type = "tcp"`, fmt.Sprintf(`check = { type = "exec", command = ["/bin/touch", %q]`, filepath.Join(folder, "checked")), 1)
	ran := func() (all []string) {
		for _, name := range []string{"checked", "notified"} {
			if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
				all = append(all, name)
			}
		}
		return all
	}
	for range 3 {
		if plan, err := client.Plan(ctx, source.Path, "lb1", next); err != nil || plan.Hash == "" {
			t.Fatalf("%+v, %v", plan, err)
		}
	}
	if err := os.WriteFile(source.Path, []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	if all := ran(); all != nil {
		t.Errorf("plans ran what made %q", all)
	}
	if v, err := client.Reload(ctx); err != nil || !v.OK {
		t.Fatalf("%+v, %v", v, err)
	}
	await(t, 10*time.Second, "file of each program after a reload", func() bool { return len(ran()) == 2 })
}
