package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/checker"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/event"
)

// TestProbeThrough: the daemon runs what goes through the kernel, over the control
// socket alone.
func TestProbeThrough(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	s := &Server{Log: slog.New(slog.DiscardHandler), Daemon: &stub{view: healthy()}, Events: &event.Recorder{}, Metrics: http.NotFoundHandler()}
	if err := s.OpenControl(path, ""); err != nil {
		t.Fatal(err)
	}
	s.serve(s.control, s.changing())
	defer s.Close()
	s.reopenControl()
	client := api.NewClient(path)
	all, err := client.RunMarkProbes(t.Context(), checker.ID{Service: "web", RealServer: "10.0.0.9:80"})
	if err != nil || len(all) != 1 || !all[0].MarkProbe || all[0].Good || all[0].Address != "10.0.0.88:80" || all[0].RealServer != "10.0.0.9:80" || all[0].Probe.Reason != "refused" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := client.RunMarkProbes(t.Context(), checker.ID{Service: "wbe"}); err == nil || !strings.Contains(err.Error(), "no such service") {
		t.Errorf("of a service that there is not: %v", err)
	}
	if _, pattern := s.reading(s.sharedStatus, s.publicWhy).Handler(httptest.NewRequest("POST", "/control/v1/probe", nil)); pattern != "" {
		t.Error("strangers may have probes run")
	}
}
