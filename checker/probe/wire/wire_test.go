package wire

import (
	"bufio"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func FuzzHealthAnswer(f *testing.F) {
	for _, s := range []string{"\x00\x00\x00\x00\x02\x08\x01", "\x00\x00\x00\x00\x00", "junk", "\x00\x00\x00\x00\x06\x12\x02ab\x08\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		status, err := ParseGRPCHealth(b)
		if err != nil && status != 0 {
			t.Fatalf("%q: %d, %v", b, status, err)
		}
		GRPCServingName(status)
	})
}

// Whatever a server writes into Location, what follows is one request to itself.
func FuzzFollow(f *testing.F) {
	for _, l := range []string{"/", "..", "?x", "//h", "http://a:99/", "https://[::1]/", "http://a b/", "%0d%0a", "http://h:0/", "\r\nX: y"} {
		f.Add(302, l)
	}
	f.Fuzz(func(t *testing.T, status int, location string) {
		r, err := NewRequest(Request{To: netip.MustParseAddrPort("10.0.0.1:80"), Host: "10.0.0.1", Path: "/a/b?c", Method: "POST", Body: "x"}, false)
		if err != nil {
			t.Fatal(err)
		}
		next, err := r.Follow(status, location)
		if err != nil {
			return
		}
		if next.To.Addr() != r.To.Addr() || next.To.Port() == 0 {
			t.Fatalf("%q leads to %v", location, next.To)
		}
		got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(next.Bytes()))))
		if err != nil {
			t.Fatalf("%q makes %q: %v", location, next.Bytes(), err)
		}
		if got.Host != next.Host && next.Host != "" {
			t.Fatalf("%q makes the host %q of %q", location, got.Host, next.Host)
		}
	})
}
