package probe

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/integration/lab"
)

// half a handshake needs CAP_NET_RAW; without it a probe reports that, and the test ends.
func synOnce(t *testing.T, c Check) outcome.Outcome {
	t.Helper()
	common := NewShared()
	c.Type = TypeSYN
	if c.Timeout == 0 {
		c.Timeout = checktest.Patience
	}
	p, err := NewProber(&c, common)
	if err != nil {
		t.Fatal(err)
	}
	out := p.Probe(t.Context(), time.Now().Add(c.Timeout))
	if out.Reason == outcome.Local && out.Detail == "failed to open a raw socket: operation not permitted (EPERM)" {
		lab.Require(t, errors.New("no CAP_NET_RAW"))
	}
	return out
}

func TestSYN(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		to := l.Addr().(*net.TCPAddr).AddrPort()
		got := synOnce(t, Check{Address: to})
		checktest.Want(t, got, outcome.OK, outcome.PhaseConnect, "")
		for range 50 { // no port is used up, and no earlier handshake interferes
			if got := synOnce(t, Check{Address: to}); got.Reason != outcome.OK {
				t.Fatalf("%+v", got)
			}
		}
		// The application never sees it.
		l.(*net.TCPListener).SetDeadline(time.Now().Add(checktest.Hurry))
		if c, err := l.Accept(); err == nil {
			t.Errorf("%v was accepted", c.RemoteAddr())
			c.Close()
		}
		l.Close()
		got = synOnce(t, Check{Address: to})
		checktest.Want(t, got, outcome.Refused, outcome.PhaseConnect, "connection refused")
	}
	got := synOnce(t, Check{Address: checktest.Blackhole(t), Timeout: checktest.Hurry})
	checktest.Want(t, got, outcome.Timeout, outcome.PhaseConnect, "no answer")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := l.Addr().(*net.TCPAddr).AddrPort()
	got = synOnce(t, Check{Address: to, From: netip.MustParseAddr("127.0.0.7")})
	checktest.Want(t, got, outcome.OK, outcome.PhaseConnect, "")
	if got = synOnce(t, Check{Address: to, Mark: 7}); got.Reason != outcome.Local {
		checktest.Want(t, got, outcome.OK, outcome.PhaseConnect, "")
	}
}
