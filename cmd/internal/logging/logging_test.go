package logging

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"unicode"
)

// stuck is a terminal that is not read until it is released.
type stuck struct {
	letGo chan struct{}
	mu    sync.Mutex
	text  strings.Builder
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.letGo
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// TestAStuckReaderDelaysNoCaller writes more lines than there is room for: the test
// would hang if a line waited. What was lost is reported.
func TestAStuckReaderDelaysNoCaller(t *testing.T) {
	out := &stuck{letGo: make(chan struct{})}
	log := New(out, "text")
	for i := range 2 * queueLen {
		log.Info("line", "number", i)
	}
	close(out.letGo)
	log.Close()
	text := out.text.String()
	if !strings.Contains(text, "number=0\n") || !strings.Contains(text, "log lines were dropped") {
		t.Errorf("the first line or the report of the loss is missing: %.200s", text)
	}
	log.Info("after the end") // must neither panic nor hang
	log.Close()
}

func TestLevelAndFormat(t *testing.T) {
	out := &stuck{letGo: make(chan struct{})}
	close(out.letGo)
	log := New(out, "json")
	log.Debug("hidden")
	if err := log.SetLevel("debug"); err != nil {
		t.Fatal(err)
	}
	log.Debug("shown")
	if err := log.SetLevel("loud"); err == nil {
		t.Error("an unknown level is accepted")
	}
	log.Close()
	if text := out.text.String(); strings.Contains(text, "hidden") || !strings.Contains(text, `"msg":"shown"`) {
		t.Errorf("%s", text)
	}
}

// TestDroppedLinesAreReportedInTheFormat: a JSON log has JSON lines only.
func TestDroppedLinesAreReportedInTheFormat(t *testing.T) {
	out := &stuck{letGo: make(chan struct{})}
	log := New(out, "json")
	for range 2 * queueLen {
		log.Info("line")
	}
	close(out.letGo)
	log.Close()
	reported := false
	for line := range strings.Lines(out.text.String()) {
		var record struct {
			Msg   string `json:"msg"`
			Count int    `json:"count"`
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		reported = reported || strings.HasPrefix(record.Msg, "log lines were dropped") && record.Count > 0
	}
	if !reported {
		t.Error("the dropped lines are not reported")
	}
}

// TestNothingForTheTerminal: whatever a line contains, a terminal that shows the log
// interprets none of it, and a line of JSON stays one.
func TestNothingForTheTerminal(t *testing.T) {
	hostile := "\x1b]0;title\x07\u009b31m\x7f\u202e\r\n\xff"
	for _, format := range []string{"text", "json"} {
		var out strings.Builder
		log := New(&out, format)
		log.Warn(hostile, "reason", errors.New(hostile), hostile, "value", slog.Group("g", "peer", hostile))
		log.Close()
		text := strings.TrimSuffix(out.String(), "\n")
		if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 || !strings.Contains(text, "title") {
			t.Errorf("%s: %q", format, text)
		}
		if format == "json" && !json.Valid([]byte(text)) {
			t.Errorf("no JSON: %q", text)
		}
	}
}
