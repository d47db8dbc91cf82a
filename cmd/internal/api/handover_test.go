package api

import (
	"context"
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"lvsd/cmd/internal/director"
)

func TestHandoverOverTheSocket(t *testing.T) {
	d := &stub{view: healthy(), handed: []director.HandedOver{
		{Election: "web", Master: true, To: netip.MustParseAddr("10.0.0.13"), Took: 600 * time.Millisecond, Left: 1800 * time.Millisecond},
		{Election: "mail"},
	}}
	s := newServer(t, d)
	path := filepath.Join(t.TempDir(), "control.sock")
	if err := s.OpenControl(path, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	client := NewClient(path)
	h, err := client.HandOver(t.Context(), "web", time.Hour, true)
	if err != nil || !h.OK || h.Until.Before(time.Now().Add(59*time.Minute)) {
		t.Errorf("%+v, %v", h, err)
	}
	if want := (director.Handover{Election: "web", For: time.Hour, Force: true}); d.asked != want {
		t.Errorf("asked for %+v", d.asked)
	}
	if want := []HandedOver{{VRRP: "web", WasMaster: true, To: "10.0.0.13", Took: .6, Left: 1.8}, {VRRP: "mail"}}; !reflect.DeepEqual(h.Elections, want) {
		t.Errorf("%+v", h.Elections)
	}
	d.handed[0].Failed = "nobody"
	if h, err := client.HandOver(t.Context(), "", 0, false); err != nil || h.OK || !h.Until.IsZero() {
		t.Errorf("a failure: %+v, %v", h, err)
	}
	if h, err := client.HandOver(t.Context(), "none", 0, false); err != nil || h.OK || len(h.Refused) != 1 {
		t.Errorf("a refusal: %+v, %v", h, err)
	}
	if h, err := client.EndHandover(t.Context(), ""); err != nil || !h.OK || len(h.Ended) != 1 {
		t.Errorf("the end: %+v, %v", h, err)
	}
	for _, bad := range []string{"x", "-1s", "0s"} {
		if _, err := call[Handover](t.Context(), client, "POST", "/control/v1/handover?for="+bad); err == nil {
			t.Errorf("for=%s is taken", bad)
		}
	}
}
