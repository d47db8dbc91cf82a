package probe

import (
	"context"
	"errors"
	"lvsd/checker/checktest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestCheckHost: what prevents this machine from running a check, whatever the server
// does.
func TestCheckHost(t *testing.T) {
	common := NewShared()
	common.Resolver.LookupFunc = func(_ context.Context, host string) ([]netip.Addr, time.Duration, error) {
		switch host {
		case "known.example":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, 0, nil
		case "empty.example":
			return nil, 0, nil
		}
		return nil, 0, errors.New("no such host")
	}
	to := checktest.Refusing(t)
	for _, tt := range []struct {
		c    Check
		want string // "": it can be run
	}{
		{Check{Type: TypeConnect, Address: to}, ""},
		{Check{Type: TypePing, Address: netip.AddrPortFrom(to.Addr(), 0)}, ""},
		{Check{Type: TypeOff}, ""},
		{Check{Type: TypeConnect, Address: to, From: netip.MustParseAddr("192.0.2.1")}, "failed to bind to 192.0.2.1"},
		{Check{Type: TypeConnect, Address: to, MarkPath: true, From: netip.MustParseAddr("192.0.2.1")}, ""},
		{Check{Type: TypeExec, Command: []string{"/bin/sh"}}, ""},
		{Check{Type: TypeExec, Command: []string{"/usr/local/bin/no-such-probe"}}, "no such file"},
		{Check{Type: TypeExec, Command: []string{"/etc/passwd"}}, "permission denied"},
		{Check{Type: TypeHTTP, HostName: "known.example", Address: netip.AddrPortFrom(netip.Addr{}, 80)}, ""},
		{Check{Type: TypeHTTP, HostName: "unknown.example", Address: netip.AddrPortFrom(netip.Addr{}, 80)}, "unknown.example: no such host"},
		{Check{Type: TypeHTTP, HostName: "empty.example", Address: netip.AddrPortFrom(netip.Addr{}, 80)}, "no addresses"},
		{Check{Type: TypeHTTP, HostName: "known.example", From: netip.MustParseAddr("::1"), Address: netip.AddrPortFrom(netip.Addr{}, 80)}, "no address of the family of ::1"},
	} {
		err := CheckHost(t.Context(), tt.c, common)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.c, err, tt.want)
		}
	}
}
