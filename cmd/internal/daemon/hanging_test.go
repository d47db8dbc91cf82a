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

	"lvsd/cmd/internal/api"
	"lvsd/integration/lab/fusedisk"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// TestHangingStateDir: a daemon whose state_dir stops replying follows its real server,
// reports what is not recorded and stops without an error; it starts again meanwhile, and
// records when the disk replies.
func TestHangingStateDir(t *testing.T) {
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
			if err := <-ended; err != nil {
				t.Error(err)
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
	hangs := func(s api.Status) bool {
		return strings.Contains(strings.Join(s.Problems, "\n"), "the disk does not reply")
	}

	stop := start()
	wait("the server to have its weight", weight(3))
	disk.Hang()
	server.Close()
	wait("the server to have weight 0", weight(0))
	wait("the problem", hangs)
	stop()

	stop = start()
	wait("the problem after a start", hangs)
	wait("the server to have weight 0 after a start", weight(0))
	disk.Resume()
	wait("the end of the problem", func(s api.Status) bool { return !hangs(s) })
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
