package dialogue

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"lvsd/checker/outcome"
	"strings"
	"testing"
)

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fixed returns a Radius whose random bytes are the given ones.
func fixed(t *testing.T, s Settings, id byte, authenticator string) *Radius {
	t.Helper()
	r, err := NewRadius(s)
	if err != nil {
		t.Fatal(err)
	}
	r.random = func(b []byte) {
		if len(b) == 1 {
			b[0] = id
			return
		}
		copy(b, unhex(t, authenticator))
	}
	return r
}

// TestStatusServer is the example of RFC 5997 §6.1.
func TestStatusServer(t *testing.T) {
	r := fixed(t, Settings{Secret: "xyzzy5461"}, 0xda, "8a54f468 6fb394c5 2866e302 185d0623")
	request := r.Request()
	if golden := unhex(t, "0cda0026 8a54f468 6fb394c5 2866e302 185d0623 50125a66 5e2e1e84 11f3e243 822097c8 4fa3"); !bytes.Equal(request, golden) {
		t.Errorf("%x", request)
	}
	reply := unhex(t, "02da0014 ef0d552a 4bf2d693 ec2b6fe8 b5411d66")
	out, ok := r.Evaluate(request, reply)
	if !ok || out.Reason != outcome.OK || out.Detail != "Access-Accept" {
		t.Errorf("%+v, %v", out, ok)
	}
	for name, change := range map[string]func([]byte) []byte{
		"a bit":          func(b []byte) []byte { b[7] ^= 1; return b },
		"another id":     func(b []byte) []byte { b[1]++; return b },
		"another code":   func(b []byte) []byte { b[0] = 3; return b },
		"too short":      func(b []byte) []byte { return b[:19] },
		"a false length": func(b []byte) []byte { b[3] = 0x15; return b },
		"nothing":        func([]byte) []byte { return nil },
	} {
		if _, ok := r.Evaluate(request, change(bytes.Clone(reply))); ok {
			t.Errorf("%s: accepted", name)
		}
	}
	// Accounting-Response, example of RFC 5997 §6.2.
	r = fixed(t, Settings{Secret: "xyzzy5461"}, 0xb3, "925f6b66 dd5fed57 1fcb1db7 ad388260")
	request = r.Request()
	out, ok = r.Evaluate(request, unhex(t, "05b30014 0f6f92145f107e2f504e860a4860669c"))
	if !ok || out.Detail != "Accounting-Response" {
		t.Errorf("%+v, %v: %x", out, ok, request)
	}
}

// TestAccessRequest: the password and the reply are those of the example of RFC 2865
// §7.1, which has no Message-Authenticator.
func TestAccessRequest(t *testing.T) {
	s := Settings{Secret: "xyzzy5461", User: "nemo", Password: "arctangent"}
	r := fixed(t, s, 0, "0f403f94 73978057 bd83d5cb 98f4227a")
	request := r.Request()
	if hidden := unhex(t, "0102 0dbe708d 93d413ce 3196e43f 782a0aee"); !bytes.Contains(request, append([]byte("\x01\x06nemo\x02\x12"), hidden[2:]...)) {
		t.Errorf("%x", request)
	}
	if request[20] != radiusSignature || request[3] != byte(len(request)) {
		t.Errorf("%x", request)
	}
	unsigned := bytes.Clone(request)
	clear(unsigned[22:38])
	h := hmac.New(md5.New, []byte(s.Secret))
	h.Write(unsigned)
	if !bytes.Equal(h.Sum(nil), request[22:38]) {
		t.Errorf("the signature of %x", request)
	}
	accept := unhex(t, "02000026 86fe220e 7624ba2a 1005f6bf 9b55e0b2 0606 00000001 0f06 00000000 0e06 c0a80103")
	if out, ok := r.Evaluate(request, accept); !ok || out.Reason != outcome.OK {
		t.Errorf("%+v, %v", out, ok)
	}
	// A refusal with a text, signed twice as FreeRADIUS does.
	reject := append([]byte{3, request[1], 0, 0}, request[4:20]...)
	reject = radiusAttribute(reject, radiusSignature, make([]byte, 16))
	reject = radiusAttribute(reject, radiusReplyMessage, []byte("go away"))
	reject[3] = byte(len(reject))
	copy(reject[22:], r.sign(reject))
	sum := md5.Sum(append(bytes.Clone(reject), s.Secret...))
	copy(reject[4:], sum[:])
	if out, ok := r.Evaluate(request, reject); !ok || out.Reason != outcome.Status || out.Detail != "Access-Reject: go away" {
		t.Errorf("%+v, %v", out, ok)
	}
	reject[30] ^= 1
	if _, ok := r.Evaluate(request, reject); ok {
		t.Error("a false signature is accepted")
	}
	long := fixed(t, Settings{Secret: "x", User: "u", Password: strings.Repeat("p", 17)}, 1, "00")
	if n := len(long.hide(make([]byte, 16))); n != 32 {
		t.Errorf("a password of 17 bytes has %d", n)
	}
	for _, bad := range []Settings{{}, {Secret: "x", Password: strings.Repeat("p", 129)}} {
		if _, err := NewRadius(bad); err == nil {
			t.Errorf("%+v", bad)
		}
	}
}

// FuzzRadius: no packet that is not signed counts as a reply.
func FuzzRadius(f *testing.F) {
	f.Add([]byte("\x02\xda\x00\x14\xef\x0d\x55\x2a\x4b\xf2\xd6\x93\xec\x2b\x6f\xe8\xb5\x41\x1d\x66"))
	f.Add([]byte("\x03\xda\x00\x16" + strings.Repeat("x", 16) + "\x50\x02"))
	r, err := NewRadius(Settings{Secret: "xyzzy5461"})
	if err != nil {
		f.Fatal(err)
	}
	request := r.Request()
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, ok := r.Evaluate(request, b); ok {
			t.Fatalf("%x: %+v", b, out)
		}
	})
}
