package server

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/event"
)

// TestControlSocketThatIsGone: its file is removed, and nothing can be created in its
// folder. The daemon continues, reports it once, and opens the socket again later.
func TestControlSocketThatIsGone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(folder, "control.sock")
	var log bytes.Buffer
	s := &Server{Log: slog.New(slog.NewTextHandler(&log, nil)), Daemon: &stub{view: healthy()}, Events: &event.Recorder{}, Metrics: http.NotFoundHandler()}
	if err := s.OpenControl(path, ""); err != nil {
		t.Fatal(err)
	}
	s.serve(s.control, s.changing())
	defer s.Close()
	client := api.NewClient(path)
	answers := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := client.Status(ctx)
		return err == nil
	}
	s.reopenControl()
	if !answers() || log.Len() > 0 {
		t.Fatalf("an untouched socket: %s", &log)
	}
	for range 2 { // the one that was made again, too
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if answers() {
			t.Fatal("it answers without a socket")
		}
		s.reopenControl()
		if !answers() {
			t.Fatalf("it does not answer again: %s", &log)
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	s.reopenControl()
	s.reopenControl()
	if p := s.Status(t.Context()).Problems; len(p) != 1 || !strings.Contains(p[0], "no command reaches the daemon") {
		t.Errorf("problems: %q", p)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	s.reopenControl()
	if !answers() {
		t.Fatalf("it does not answer again: %s", &log)
	}
	if p := s.Status(t.Context()).Problems; len(p) != 0 {
		t.Errorf("problems afterwards: %q", p)
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want the trouble and its end once:\n%s", n, &log)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestControlSocketThatCannotBeMade: at the start it cannot be created. The daemon
// balances anyway.
func TestControlSocketThatCannotBeMade(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "control.sock")
	var log bytes.Buffer
	s := &Server{Log: slog.New(slog.NewTextHandler(&log, nil)), Daemon: &stub{view: healthy()}, Events: &event.Recorder{}, Metrics: http.NotFoundHandler()}
	if err := s.OpenControl(path, ""); err != nil {
		t.Fatal(err)
	}
	s.serve(s.control, s.changing())
	defer s.Close()
	s.reopenControl()
	if p := s.Status(t.Context()).Problems; len(p) != 1 || !strings.Contains(p[0], "no command reaches the daemon") || !strings.Contains(p[0], folder) {
		t.Errorf("problems: %q", p)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines, want one:\n%s", n, &log)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	s.reopenControl()
	if _, err := api.NewClient(path).Status(t.Context()); err != nil {
		t.Errorf("it does not answer: %v\n%s", err, &log)
	}
	if p := s.Status(t.Context()).Problems; len(p) != 0 {
		t.Errorf("problems afterwards: %q", p)
	}
}
