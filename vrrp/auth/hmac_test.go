package auth

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const secretTwo = "0123456789abcdef"

var (
	lb1    = netip.MustParseAddr("10.0.0.12")
	lb2    = netip.MustParseAddr("10.0.0.13")
	group  = netip.MustParseAddr("224.0.0.18")
	advert = []byte("\x31\x33\xc8\x01\x00\x64\x11\x74\x0a\x00\x00\x58") // as keepalived 2.2.7 sends it
)

type header struct{ source, destination netip.Addr }

func ring(t *testing.T, text string, permissive bool) *Keyring {
	t.Helper()
	k, err := ParseKeys([]byte(text), permissive)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// By another program (Python's hmac) from docs/vrrp-authentication.md.
func TestGoldenTrailer(t *testing.T) {
	k := ring(t, "7 "+secretTwo, false)
	got := k.Sign(bytes.Clone(advert), lb1, group, 1_700_000_000_000_000)
	want := hex.EncodeToString(advert) + "4c565341" + "01" + "07" + "0000" + "00060a24181e4000" + "48da734f0a6aaefcb66a4c6eb3223b1ec1a5230da1a4ebedc62d252e23fd67d7"
	if hex.EncodeToString(got) != want {
		t.Errorf("\n got %x\nwant %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	now := time.UnixMicro(1_700_000_000_000_000)
	at := uint64(now.UnixMicro())
	k := ring(t, "7 "+secretTwo+"\n8 0000000000000000\n", false)
	plain := advert
	seal := func(with string, sequence uint64) []byte {
		return ring(t, with, false).Sign(bytes.Clone(plain), lb1, group, sequence)
	}
	good, head := seal("7 "+secretTwo, at), header{lb1, group}
	for i := range good { // no octet can be another one
		b := bytes.Clone(good)
		b[i] ^= 1
		if _, d := k.Verify(lb1, group, b, 0, now); d == nil {
			t.Errorf("octet %d can be changed", i)
		}
	}
	for _, tt := range []struct {
		name    string
		header  header
		message []byte
		last    uint64
		want    error
	}{
		{"good", head, good, 0, nil},
		{"the second key", head, seal("8 0000000000000000", at), 0, nil},
		{"newer", head, good, at - 1, nil},
		{"replayed", head, good, at, ErrReplay},
		{"older", head, good, at + 1, ErrReplay},
		{"as another's", header{lb2, group}, good, 0, ErrMAC},
		{"to another", header{lb1, lb2}, good, 0, ErrMAC},
		{"plain", head, plain, 0, ErrUnauthenticated},
		{"cut", head, good[:len(good)-1], 0, ErrUnauthenticated},
		{"another number", head, seal("9 "+secretTwo, at), 0, ErrKey},
		{"another secret", head, seal("7 "+secretTwo+"!", at), 0, ErrMAC},
		{"29 s ago", head, seal("7 "+secretTwo, at-29_000_000), 0, nil},
		{"31 s ago", head, seal("7 "+secretTwo, at-31_000_000), 0, ErrClock},
		{"in 31 s", head, seal("7 "+secretTwo, at+31_000_000), 0, ErrClock},
		{"at the end of time", head, seal("7 "+secretTwo, 1<<64-1), 0, ErrClock},
	} {
		sequence, d := k.Verify(tt.header.source, tt.header.destination, tt.message, tt.last, now)
		if d != tt.want || d == nil && sequence == 0 {
			t.Errorf("%s: %v, want %v", tt.name, d, tt.want)
		}
	}
}

func TestParseKeys(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "no key",
		"# only\n\n":                          "no key",
		"x 0123456789abcdef":                  "line 1",
		"256 0123456789abcdef":                "line 1",
		"1 0123456789abcdef more":             "line 1",
		"\n1 short":                           "line 2 is shorter",
		"1 " + secretTwo + "\n1 " + secretTwo: "again",
	} {
		if _, err := ParseKeys([]byte(text), false); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secretTwo) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if k := ring(t, "# a\r\n5 0123456789abcdef\r\n6 fedcba9876543210\r\n", true); k.signWith != 5 || string(k.keys[6]) != "fedcba9876543210" || !k.permissive {
		t.Errorf("%+v", k)
	}
}

// FuzzVerify: what is taken for proven is exactly what one with the key made.
func FuzzVerify(f *testing.F) {
	ring, err := ParseKeys([]byte("7 0123456789abcdef\n"), false)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	message := bytes.Clone(advert)
	f.Add(ring.Sign(message, lb1, group, uint64(now.UnixMicro())), uint64(0))
	f.Add(message, uint64(0))
	f.Add(bytes.Repeat([]byte{0xff}, headerLen+TrailerLen), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, last uint64) {
		sequence, d := ring.Verify(lb1, group, b, last, now)
		if d != nil {
			return
		}
		if size := len(b) - TrailerLen; sequence <= last || !bytes.Equal(ring.Sign(bytes.Clone(b[:size]), lb1, group, sequence)[size+8:], b[size+8:]) {
			t.Errorf("%x is taken, last %d", b, last)
		}
	})
}
