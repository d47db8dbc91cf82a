package server

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/ipvs"
)

// kernelStub returns one connection repeatedly, and records what was reset.
type kernelStub struct {
	count  int
	zeroed []*ipvs.ServiceKey
	err    error
}

func (k *kernelStub) Zero(_ context.Context, key *ipvs.ServiceKey) error {
	k.zeroed = append(k.zeroed, key)
	return k.err
}

func (k *kernelStub) Connections(_ context.Context, key *ipvs.ServiceKey, _ int, each func(ipvs.Connection) bool) (bool, error) {
	c := ipvs.Connection{Protocol: "TCP", Client: netip.MustParseAddrPort("10.0.0.2:50000"), Virtual: netip.MustParseAddrPort("10.0.0.88:80"),
		RealServer: netip.MustParseAddrPort("10.0.0.9:80"), State: "ESTABLISHED", Synced: key != nil, Expires: 899 * time.Second}
	for range k.count {
		if !each(c) {
			return true, nil
		}
	}
	return false, k.err
}

func TestKernelCommands(t *testing.T) {
	kernel := &kernelStub{count: 2}
	s := newServer(t, &stub{view: healthy()})
	s.Table = kernel
	path := filepath.Join(t.TempDir(), "control.sock")
	if err := s.OpenControl(path, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	client := api.NewClient(path)

	got, err := client.Connections(ctx, "web")
	want := api.Connection{Service: "web", Protocol: "tcp", Client: "10.0.0.2:50000", Virtual: "10.0.0.88:80", RealServer: "10.0.0.9:80",
		State: "ESTABLISHED", Origin: "synced", Expires: 899}
	if err != nil || len(got.Connections) != 2 || got.Connections[0] != want || got.More {
		t.Errorf("%+v, %v", got, err)
	}
	kernel.count = connectionLimit + 1
	if got, err = client.Connections(ctx, ""); err != nil || len(got.Connections) != connectionLimit || !got.More || got.Connections[0].Origin != "own" {
		t.Errorf("%d, more %v, %v", len(got.Connections), got.More, err)
	}

	zeroed, err := client.Zero(ctx, "web")
	if err != nil || len(zeroed.Services) != 1 || zeroed.Services[0] != "web" || *kernel.zeroed[0] != s.Daemon.View(ctx).Decision.Services[0].Key {
		t.Errorf("%+v, %v", zeroed, err)
	}
	if _, err = client.Zero(ctx, ""); err != nil || kernel.zeroed[1] != nil {
		t.Errorf("all: %v", err)
	}
	if _, err = client.Zero(ctx, "wbe"); err == nil || !strings.Contains(err.Error(), `no service "wbe"; there are: web`) || len(kernel.zeroed) != 2 {
		t.Errorf("unknown: %v", err)
	}
	kernel.err = errors.New("the kernel says no")
	if _, err = client.Zero(ctx, ""); err == nil || !strings.Contains(err.Error(), "the kernel says no") {
		t.Errorf("refused: %v", err)
	}
}
