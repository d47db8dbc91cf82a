package event

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestMemoryIsBoundedAndKeepsTheNewest(t *testing.T) {
	var r Recorder // the zero value works
	const n = capacity + 10
	for i := range n {
		r.Record(Event{Kind: KindWeight, To: fmt.Sprint(i)})
	}
	got := r.Recent()
	if len(got) != capacity {
		t.Fatalf("%d events kept, want %d", len(got), capacity)
	}
	for i, e := range got {
		if want := fmt.Sprint(n - capacity + i); e.To != want {
			t.Fatalf("event %d is %s, want %s", i, e.To, want)
		}
	}
}

func TestLogLines(t *testing.T) {
	var out bytes.Buffer
	r := Recorder{Log: slog.New(slog.NewTextHandler(&out, nil))}
	r.Record(Event{Kind: KindHealth, Service: "web", RealServer: "10.0.0.9:80", From: "up", To: "down", Reason: "http refused, 3 of 3"})
	r.Store(Event{Kind: KindVRRP, VRRP: "web", To: "master"})
	text := out.String()
	for _, want := range []string{"level=WARN", "service=web", "real_server=10.0.0.9:80", "from=up", "to=down", `reason="http refused, 3 of 3"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if strings.Count(text, "\n") != 1 || strings.Contains(text, "vrrp=") {
		t.Errorf("want one line, got %s", text)
	}
	if len(r.Recent()) != 2 {
		t.Errorf("%d events kept, want 2", len(r.Recent()))
	}
}
