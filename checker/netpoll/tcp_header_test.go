package netpoll

import (
	"lvsd/checker/outcome"
	"lvsd/vrrp/checksum"
	"net/netip"
	"testing"
)

// Both computed manually: RFC 9293's layout, and a checksum that comes out even.
func TestSYNHeader(t *testing.T) {
	from, to := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddrPort("10.0.0.2:80")
	b := appendSYN(nil, from, 0x1234, to, 0x01020304)
	golden := "\x12\x34\x00\x50\x01\x02\x03\x04\x00\x00\x00\x00\x60\x02\xfa\xf0"
	if string(b[:16]) != golden || string(b[18:]) != "\x00\x00\x02\x04\x05\xb4" {
		t.Errorf("the header is %x", b)
	}
	pseudo := []byte("\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x06\x00\x18")
	if checksum.Fold(checksum.Add(0, append(pseudo, b...))) != 0xffff {
		t.Errorf("the checksum of %x is wrong", b)
	}
}

func TestSegment(t *testing.T) {
	tcp := []byte("\x00\x50\x12\x34\xaa\xbb\xcc\xdd\x01\x02\x03\x05\x50\x12\x00\x00\x00\x00\x00\x00")
	ip := append([]byte("\x45"), make([]byte, 19)...)
	for name, tt := range map[string]struct {
		b      []byte
		header bool
		want   outcome.Reason
	}{
		"SYN-ACK":                  {tcp, false, outcome.OK},
		"with an IP header":        {append(ip[:20:20], tcp...), true, outcome.OK},
		"RST":                      {append([]byte(string(tcp[:13])+"\x14"), tcp[14:]...), false, outcome.Refused},
		"RST without a connection": {append([]byte(string(tcp[:13])+"\x04"), tcp[14:]...), false, ""},
		"an ACK":                   {append([]byte(string(tcp[:13])+"\x10"), tcp[14:]...), false, ""},
		"to another SYN":           {append([]byte(string(tcp[:11])+"\x06"), tcp[12:]...), false, ""},
		"short":                    {tcp[:19], false, ""},
		"a header that lies":       {append([]byte("\x4f"), ip[1:]...), true, ""},
		"nothing":                  {nil, true, ""},
	} {
		s, ok := parseSegment(tt.b, tt.header)
		got := outcome.Reason("")
		if ok {
			got = s.reply(0x01020304)
		}
		if got != tt.want {
			t.Errorf("%s is %q, want %q", name, got, tt.want)
		}
	}
}

func FuzzSegment(f *testing.F) {
	f.Add([]byte("\x45\x00"), true)
	f.Add(make([]byte, 40), false)
	f.Fuzz(func(t *testing.T, b []byte, header bool) {
		if s, ok := parseSegment(b, header); !ok && s != (segment{}) {
			t.Fatalf("%+v", s)
		}
	})
}
