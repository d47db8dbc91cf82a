package checksum

import "testing"

// The example of RFC 1071 §3, and an odd length.
func TestFold(t *testing.T) {
	for _, tt := range []struct {
		b    []byte
		want uint16
	}{
		{[]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0xddf2},
		{[]byte{0x00, 0x01, 0xf2}, 0xf201},
		{nil, 0},
	} {
		if got := Fold(Add(0, tt.b)); got != tt.want {
			t.Errorf("% x: %#04x, want %#04x", tt.b, got, tt.want)
		}
	}
}
