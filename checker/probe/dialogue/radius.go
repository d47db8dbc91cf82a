package dialogue

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"lvsd/checker/outcome"
)

// Radius is one question to a RADIUS server: an Access-Request by PAP for a user (RFC
// 2865), or without one Status-Server (RFC 5997), which a server replies to at its port
// for authentication and at that for accounting.
type Radius struct {
	settings Settings
	random   func([]byte)
}

// Codes of packets, and attributes (RFC 2865 §4, §5; RFC 2869 §5.14).
const (
	radiusRequest, radiusAccept, radiusReject = 1, 2, 3
	radiusAccounting, radiusChallenge         = 5, 11
	radiusStatus                              = 12

	radiusUser, radiusPassword    = 1, 2
	radiusReplyMessage, radiusNAS = 18, 32
	radiusSignature, radiusHeader = 80, 20
	radiusMaxPassword             = 128
)

// NewRadius returns the question for settings.
func NewRadius(s Settings) (*Radius, error) {
	switch {
	case s.Secret == "":
		return nil, errors.New("the shared secret is empty")
	case len(s.Password) > radiusMaxPassword:
		return nil, errors.New("the password is longer than the 128 bytes of RADIUS")
	case len(s.User) > 253:
		return nil, errors.New("the user is longer than 253 bytes")
	}
	return &Radius{s, func(b []byte) { rand.Read(b) }}, nil
}

// Request returns a new request. Its Message-Authenticator is the first attribute, so
// that nothing before it can be forged.
func (r *Radius) Request() []byte {
	code := byte(radiusStatus)
	if r.settings.User != "" {
		code = radiusRequest
	}
	b := make([]byte, radiusHeader, 256)
	b[0] = code
	r.random(b[1:2])
	r.random(b[4:20])
	b = radiusAttribute(b, radiusSignature, make([]byte, md5.Size))
	if code == radiusRequest {
		b = radiusAttribute(b, radiusUser, []byte(r.settings.User))
		b = radiusAttribute(b, radiusPassword, r.hide(b[4:20]))
		b = radiusAttribute(b, radiusNAS, []byte("lvsd")) // RFC 2865 §4.1
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[radiusHeader+2:], r.sign(b))
	return b
}

func radiusAttribute(b []byte, kind byte, value []byte) []byte {
	return append(append(b, kind, byte(len(value)+2)), value...)
}

// hide encrypts the password (RFC 2865 §5.2).
func (r *Radius) hide(authenticator []byte) []byte {
	plain := make([]byte, max(16, (len(r.settings.Password)+15)/16*16))
	copy(plain, r.settings.Password)
	before := authenticator
	for at := 0; at < len(plain); at += 16 {
		mask := md5.Sum(append([]byte(r.settings.Secret), before...))
		copy(plain[at:], xor(plain[at:at+16], mask[:]))
		before = plain[at : at+16]
	}
	return plain
}

// sign returns the Message-Authenticator of a packet in which it is zero.
func (r *Radius) sign(b []byte) []byte {
	h := hmac.New(md5.New, []byte(r.settings.Secret))
	h.Write(b)
	return h.Sum(nil)
}

// Evaluate returns the outcome of a reply. ok is false for what is not a reply of this
// server to the request: such a packet is dropped.
func (r *Radius) Evaluate(request, reply []byte) (out outcome.Outcome, ok bool) {
	if len(reply) < radiusHeader || reply[1] != request[1] {
		return out, false
	}
	size := int(binary.BigEndian.Uint16(reply[2:]))
	if size < radiusHeader || size > len(reply) || !r.genuine(request, reply[:size]) {
		return out, false
	}
	text := ""
	for b := reply[radiusHeader:size]; len(b) >= 2 && b[1] >= 2 && int(b[1]) <= len(b); b = b[b[1]:] {
		if b[0] == radiusReplyMessage {
			text = ": " + string(b[2:b[1]])
		}
	}
	result := func(reason outcome.Reason, name string) (outcome.Outcome, bool) {
		return outcome.NewOutcome(reason, outcome.PhaseReceive, outcome.Printable(name+text, outcome.MaxDetail)), true
	}
	switch code := reply[0]; {
	case code == radiusAccept:
		return result(outcome.OK, "Access-Accept")
	case code == radiusAccounting && request[0] == radiusStatus:
		return result(outcome.OK, "Accounting-Response")
	case code == radiusReject:
		return result(outcome.Status, "Access-Reject")
	case code == radiusChallenge:
		return result(outcome.Status, "Access-Challenge")
	}
	return result(outcome.Protocol, "a packet that is not a reply")
}

// genuine verifies the Response Authenticator (RFC 2865 §3), and a Message-Authenticator
// where there is one (RFC 2869 §5.14). The latter's absence is accepted: old servers send
// none, and a forged reply makes no server look better than its network.
func (r *Radius) genuine(request, reply []byte) bool {
	b := append([]byte(nil), reply...)
	copy(b[4:20], request[4:20])
	sum := md5.Sum(append(b, r.settings.Secret...))
	if !hmac.Equal(sum[:], reply[4:20]) {
		return false
	}
	for at := radiusHeader; at+2 <= len(b); at += int(b[at+1]) {
		size := int(b[at+1])
		if size < 2 || at+size > len(b) {
			return false
		}
		if b[at] == radiusSignature && size == 2+md5.Size {
			given := append([]byte(nil), b[at+2:at+size]...)
			clear(b[at+2 : at+size])
			return hmac.Equal(given, r.sign(b))
		}
	}
	return true
}
