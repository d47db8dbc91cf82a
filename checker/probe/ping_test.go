package probe

import (
	"bytes"
	"encoding/binary"
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
		e := echo{v6: v6, ipHeader: header, sequence: 2, payload: [16]byte{1, 2, 3}}
		if e.isReply(b) && !bytes.Contains(b, e.payload[:]) {
			t.Fatalf("%x is taken for an answer", b)
		}
	})
}

func TestEcho(t *testing.T) {
	e := echo{sequence: 2, payload: [16]byte{1, 2, 3}}
	b := e.request()
	if len(b) != 24 || b[0] != 8 {
		t.Errorf("the request is %x", b)
	}
	answer := bytes.Clone(b)
	answer[0] = 0
	header := append([]byte{0x46}, make([]byte, 23)...)
	other := bytes.Clone(answer)
	other[9]++
	late := bytes.Clone(answer)
	binary.BigEndian.PutUint16(late[6:], 1)
	early := bytes.Clone(answer)
	binary.BigEndian.PutUint16(early[6:], 3)
	for name, tt := range map[string]struct {
		b      []byte
		header bool
		want   bool
	}{
		"answer": {answer, false, true}, "with a header": {append(header, answer...), true, true}, "request": {b, false, false},
		"another payload": {other, false, false}, "to an earlier one": {late, false, true}, "to a later one": {early, false, false},
		"short": {answer[:23], false, false}, "nothing": {nil, true, false}, "a header alone": {header, true, false},
		"a header that lies": {append([]byte{0x4f}, header[1:]...), true, false},
	} {
		e.ipHeader = tt.header
		if got := e.isReply(tt.b); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	e.v6, e.ipHeader = true, false
	answer[0] = 129
	if b := e.request(); b[0] != 128 || !e.isReply(answer) {
		t.Errorf("the request of IPv6 is %x", b)
	}
}
