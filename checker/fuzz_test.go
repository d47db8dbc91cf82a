package checker

// Fuzzing of what is small: the parsers with tests of their own are fuzzed beside
// these.

import (
	"bytes"
	"testing"
)

// FuzzEcho: nothing but an answer with our payload is one.
func FuzzEcho(f *testing.F) {
	e := echo{sequence: 2, payload: [16]byte{1, 2, 3}}
	answer := e.request()
	answer[0] = 0
	f.Add(answer, false, false)
	f.Add(append(append([]byte{0x45}, make([]byte, 19)...), answer...), true, false)
	f.Add([]byte{0x4f}, true, true)
	f.Fuzz(func(t *testing.T, b []byte, header, v6 bool) {
		e := echo{v6: v6, sequence: 2, payload: [16]byte{1, 2, 3}}
		if e.answeredBy(b, header) && !bytes.Contains(b, e.payload[:]) {
			t.Fatalf("%x is taken for an answer", b)
		}
	})
}

// FuzzShown: whatever a server says is shown as printable ASCII, and bounded.
func FuzzShown(f *testing.F) {
	for _, s := range []string{"200 OK", "\x00\x1b[2J", "\xff\xfe", string(make([]byte, 1000)), "ä€"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		shown := Printable(s, MaxDetail)
		if len(shown) > MaxDetail {
			t.Fatalf("%d bytes", len(shown))
		}
		for _, c := range []byte(shown) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q", shown)
			}
		}
		if percent, alone := ParseWeight(s); alone && (percent < 0 || percent > 100) {
			t.Fatalf("%q: %d %%", s, percent)
		}
	})
}
