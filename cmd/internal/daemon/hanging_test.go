package daemon

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/api"
	"lvsd/integration/lab/fusedisk"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// TestStateDirFails: a daemon whose state_dir stops replying, or fails at everything, follows
// its real server, reports what is not recorded and stops without an error; it starts again
// meanwhile, and records when the disk works again.
func TestStateDirFails(t *testing.T) {
	t.Run("hangs", func(t *testing.T) {
		stateDirFails(t, (*fusedisk.Disk).Hang, (*fusedisk.Disk).Resume, "the disk does not reply")
	})
	t.Run("is broken", func(t *testing.T) {
		stateDirFails(t, func(d *fusedisk.Disk) { d.Fail(unix.EIO) }, func(d *fusedisk.Disk) { d.Fail(0) }, "input/output error")
	})
}

func stateDirFails(t *testing.T, fail, end func(*fusedisk.Disk), problem string) {
	folder, kernel := t.TempDir(), ipvstest.New()
	disk := fusedisk.New(t, filepath.Join(folder, "state"))
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client := api.NewClient(filepath.Join(folder, "control.sock"))
	start := func() (stop func()) {
		d, err := New(Options{
			Source: write(t, folder, server.Addr().String(), ""), Strict: true, Stderr: io.Discard,
			OpenKernel: func() (ipvs.Kernel, error) { return kernel, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		return func() {
			cancel()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Fatal("it does not stop")
			}
		}
	}
	wait := func(what string, holds func(api.Status) bool) {
		t.Helper()
		await(t, time.Minute, what, func() bool {
			s, err := client.Status(t.Context())
			return err == nil && holds(s)
		})
	}
	weight := func(want int) func(api.Status) bool {
		return func(s api.Status) bool {
			if len(s.Services) == 0 { // nothing was decided yet
				return false
			}
			w := s.Services[0].RealServers[0].Weight
			return w != nil && *w == want
		}
	}
	reported := func(s api.Status) bool {
		return strings.Contains(strings.Join(s.Problems, "\n"), problem)
	}

	stop := start()
	wait("the server to have its weight", weight(3))
	fail(disk)
	server.Close()
	wait("the server to have weight 0", weight(0))
	wait("the problem", reported)
	stop()

	stop = start()
	wait("the problem after a start", reported)
	wait("the server to have weight 0 after a start", weight(0))
	stop()

	stop = start()
	wait("the problem after another start", reported)
	end(disk)
	wait("the end of the problem", func(s api.Status) bool { return !reported(s) })
	stop()
}

// TestStartDoesNotWaitForTheDisk: the last good configuration is written once the daemon
// runs, not before.
func TestStartDoesNotWaitForTheDisk(t *testing.T) {
	folder := t.TempDir()
	d, err := New(Options{
		Source: write(t, folder, "127.0.0.1:1", ""), Strict: true, Stderr: io.Discard,
		OpenKernel: func() (ipvs.Kernel, error) { return ipvstest.New(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	saved := func() bool {
		_, err := os.Stat(filepath.Join(folder, "state", "running.toml"))
		return err == nil
	}
	if saved() {
		t.Error("it is on disk before the daemon runs")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	await(t, time.Minute, "the last good configuration", saved)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
