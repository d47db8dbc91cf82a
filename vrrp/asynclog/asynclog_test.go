package asynclog

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// A stuck writer costs records, which are counted, and nothing else.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		var out bytes.Buffer
		log := w.Logger(slog.New(slog.NewTextHandler(&out, nil)).With("vrrp", "web")).WithGroup("g")
		for i := range queueLen + 10 { // there is no writer
			log.Info("record", "n", i)
		}
		stop, done := make(chan struct{}), make(chan struct{})
		close(stop)
		go func() { defer close(done); w.Run(stop) }()
		<-done
		text := out.String()
		if n := strings.Count(text, "\n"); n != queueLen {
			t.Errorf("%d lines, want %d", n, queueLen)
		}
		if !strings.Contains(text, "records_dropped=10") || !strings.Contains(text, "vrrp=web g.n=0") {
			t.Errorf("%.300s", text)
		}
	})
}
