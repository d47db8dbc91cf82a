package probe

// gRPC's own library behind the probe.

import (
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"net"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func TestAgainstTheGRPCLibrary(t *testing.T) {
	ours := checktest.NewAuthority(t)
	serve := func(withHealth bool, options ...grpc.ServerOption) (*grpchealth.Server, netip.AddrPort) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s, h := grpc.NewServer(options...), grpchealth.NewServer()
		if withHealth {
			grpc_health_v1.RegisterHealthServer(s, h)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(l) }()
		t.Cleanup(func() { s.Stop(); <-ended })
		return h, l.Addr().(*net.TCPAddr).AddrPort()
	}
	h, plain := serve(true)
	_, safe := serve(true, grpc.Creds(credentials.NewTLS(ours.Issue(t, -time.Hour, time.Hour, "127.0.0.1"))))
	_, past := serve(true, grpc.Creds(credentials.NewTLS(ours.Issue(t, -2*time.Hour, -time.Hour, "127.0.0.1"))))
	_, none := serve(false)
	h.SetServingStatus("shop", grpc_health_v1.HealthCheckResponse_SERVING)
	h.SetServingStatus("mail", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus("new", grpc_health_v1.HealthCheckResponse_UNKNOWN)
	verify := &TLSConfig{Verify: true, CAs: ours.Pool}
	for _, tt := range []struct {
		name   string
		c      Check
		reason outcome.Reason
		phase  string
		detail string
	}{
		{"the server", Check{}, outcome.OK, outcome.PhaseReceive, "SERVING"},
		{"a service", Check{GRPCService: "shop"}, outcome.OK, outcome.PhaseReceive, "SERVING"},
		{"not serving", Check{GRPCService: "mail"}, outcome.Agent, outcome.PhaseReceive, "NOT_SERVING"},
		{"unknown", Check{GRPCService: "new"}, outcome.Agent, outcome.PhaseReceive, "UNKNOWN"},
		{"no such service", Check{GRPCService: "x"}, outcome.Status, outcome.PhaseReceive, "NOT_FOUND: unknown service"},
		{"no health service", Check{Address: none}, outcome.Status, outcome.PhaseReceive, "UNIMPLEMENTED: unknown service grpc.health.v1.Health"},
		{"in TLS", Check{Address: safe, TLS: verify}, outcome.OK, outcome.PhaseReceive, "SERVING"},
		{"expired", Check{Address: past, TLS: verify}, outcome.TLS, outcome.PhaseTLS, "expired"},
		{"a foreign certificate", Check{Address: safe, TLS: &TLSConfig{Verify: true}}, outcome.TLS, outcome.PhaseTLS, "x509"},
		{"TLS where there is none", Check{TLS: verify}, outcome.TLS, outcome.PhaseTLS, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Type = TypeGRPC
			if !tt.c.Address.IsValid() {
				tt.c.Address = plain
			}
			checktest.Want(t, once(t, tt.c), tt.reason, tt.phase, tt.detail)
		})
	}
	h.Shutdown() // as a server does before it goes
	checktest.Want(t, once(t, Check{Type: TypeGRPC, Address: plain}), outcome.Agent, outcome.PhaseReceive, "NOT_SERVING")
}
