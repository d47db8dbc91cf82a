package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/director"
)

func TestHandoverOverTheSocket(t *testing.T) {
	d := &stub{view: healthy(), handed: []director.HandedOver{
		{Instance: "web", Master: true, To: netip.MustParseAddr("10.0.0.13"), Took: 600 * time.Millisecond, Removed: 1800 * time.Millisecond},
		{Instance: "mail"},
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
	client := api.NewClient(path)
	h, err := client.HandOver(t.Context(), "web", time.Hour, true)
	if err != nil || !h.OK || h.Until.Before(time.Now().Add(59*time.Minute)) {
		t.Errorf("%+v, %v", h, err)
	}
	if want := (director.Handover{Instance: "web", For: time.Hour, Force: true}); d.asked != want {
		t.Errorf("asked for %+v", d.asked)
	}
	if want := []api.HandedOver{{VRRP: "web", WasMaster: true, To: "10.0.0.13", Took: .6, Removed: 1.8}, {VRRP: "mail"}}; !reflect.DeepEqual(h.Instances, want) {
		t.Errorf("%+v", h.Instances)
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
	raw := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", path)
	}}}
	for _, bad := range []string{"x", "-1s", "0s"} {
		resp, err := raw.Post("http://lvsd/control/v1/handover?for="+bad, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("for=%s: %s", bad, resp.Status)
		}
	}
}
