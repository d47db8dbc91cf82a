package probe

import (
	"context"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestNamedProbe(t *testing.T) {
	open := checktest.Serve(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	common := NewShared()
	d := &checktest.Directory{Hosts: map[string][]netip.Addr{"web": {netip.MustParseAddr("::1"), open.Addr()}}}
	common.Resolver.LookupFunc = d.Lookup
	common.Resolver.SetHosts(map[string]struct{}{"web": {}, "nowhere": {}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { common.Resolver.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	probe := func(c Check) outcome.Outcome {
		c.Type = TypeConnect
		p, err := NewProber(&c, common)
		if err != nil {
			t.Fatal(err)
		}
		return p.Probe(ctx, time.Now().Add(checktest.Patience))
	}
	port := netip.AddrPortFrom(netip.Addr{}, open.Port())
	// The source address says which family it is.
	checktest.Want(t, probe(Check{HostName: "web", Address: port, From: open.Addr()}), outcome.OK, outcome.PhaseConnect, "")
	checktest.Want(t, probe(Check{HostName: "web", Address: port}), outcome.Refused, outcome.PhaseConnect, "")
	checktest.Want(t, probe(Check{HostName: "nowhere", Address: port}), outcome.DNS, outcome.PhaseName, "nowhere: no such host")
	if _, err := NewProber(&Check{Type: TypeHTTP, HostName: "web", Address: port, BodyExpect: "("}, common); err == nil {
		t.Error("a mistake of a check by name is not seen")
	}
}
