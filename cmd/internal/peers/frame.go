// This file is what goes over the wire between two directors, as docs/pair.md
// describes it: a greeting, one request and one answer. It proves each message
// and judges what others send; it never reads, sends or waits.
//
// PURE.

package peers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	magic   = "LVSP"
	version = 1

	nonceLen = 32
	headLen  = 12 // magic, version, kind, key or reason, reserved, length of the body
	macLen   = sha256.Size

	greetingLen = headLen + nonceLen

	// What a body may have. A request is a few names; an answer is a few dozen
	// bytes a real server.
	maxRequest = 2 << 10
	maxAnswer  = 8 << 20
)

// kind is what a message is. It is covered by the proof, so that no message can
// stand for one of another kind or be sent back to who sent it.
type kind uint8

const (
	kindGreeting kind = 1 // of who was called: the nonce that the request must prove
	kindRequest  kind = 2
	kindAnswer   kind = 3
	kindRefusal  kind = 4 // unproven: a hint for people, that nothing relies on
)

// Refusal is why a director does not answer another.
type Refusal uint8

// The refusals, which are reasons of lvsd_pair_refused_total too.
const (
	RefusedAddress  Refusal = 1 // it calls from an address of no other director
	RefusedBusy     Refusal = 2 // too many of its questions at once
	RefusedMessage  Refusal = 3 // not a message of this exchange, or too long, or too slow
	RefusedVersion  Refusal = 4 // another version of the exchange
	RefusedKey      Refusal = 5 // a key number that is not in the key file
	RefusedProof    Refusal = 6 // the proof is wrong: another secret, or not its message
	RefusedName     Refusal = 7 // it is not who it says, or means another director
	RefusedQuestion Refusal = 8 // it asks for something that is not known here

	refusals = 9
)

// String is the reason as a label.
func (r Refusal) String() string {
	if int(r) < len(refusalNames) && r > 0 {
		return refusalNames[r]
	}
	return fmt.Sprintf("refusal(%d)", uint8(r))
}

var refusalNames = [refusals]string{"", "address", "busy", "message", "version", "key", "proof", "name", "question"}

// explain says what a peer's refusal means for the director that hears it.
func (r Refusal) explain() string {
	switch r {
	case RefusedAddress:
		return "it does not know the address that this director calls from: [[director]] address must be what this one has"
	case RefusedBusy:
		return "it has too many questions at once"
	case RefusedVersion:
		return "it speaks another version of the exchange: run the same lvsd on both"
	case RefusedKey:
		return "its key file has no key of the number that this director's begins with"
	case RefusedProof:
		return "its key file has another secret under the same number"
	case RefusedName:
		return "its file has other names for the directors' addresses"
	case RefusedQuestion:
		return "it does not know what it is asked: run the same lvsd on both"
	}
	return "it did not understand what it was sent"
}

// nonce is a number that is used once.
type nonce [nonceLen]byte

// head is the beginning of every message.
type head struct {
	version uint8
	kind    kind
	key     uint8 // the number of the key; of a refusal the reason
	length  uint32
}

func (h head) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, h.version, byte(h.kind), h.key, 0)
	return binary.BigEndian.AppendUint32(b, h.length)
}

// parseHead reads the first headLen octets of a message.
func parseHead(b []byte) (head, bool) {
	if len(b) < headLen || string(b[:4]) != magic || b[7] != 0 {
		return head{}, false
	}
	return head{version: b[4], kind: kind(b[5]), key: b[6], length: binary.BigEndian.Uint32(b[8:])}, true
}

// greeting is what a director says to whoever calls it.
func greeting(server nonce) []byte {
	return append(head{version: version, kind: kindGreeting}.append(nil), server[:]...)
}

// request is a proven question.
func request(k Keys, server, client nonce, body []byte) []byte {
	h := head{version: version, kind: kindRequest, key: k.first, length: uint32(len(body))}
	b := append(h.append(nil), client[:]...)
	b = append(b, body...)
	return append(b, prove(k.keys[k.first], h, server, client, body)...)
}

// answer is a proven answer, with the key that the question was proven with.
func answer(k Keys, key uint8, server, client nonce, body []byte) []byte {
	h := head{version: version, kind: kindAnswer, key: key, length: uint32(len(body))}
	return append(append(h.append(nil), body...), prove(k.keys[key], h, server, client, body)...)
}

// refusal is what a director says before it hangs up.
func refusal(r Refusal) []byte {
	return head{version: version, kind: kindRefusal, key: uint8(r)}.append(nil)
}

// Keys are what two directors prove their messages with.
type Keys struct {
	first uint8
	keys  map[uint8][]byte
}

// NewKeys makes them from the secrets of the elections. What is derived serves
// this exchange alone: no proof of it is one of an advert, or the reverse.
func NewKeys(first uint8, secrets map[uint8][]byte) Keys {
	k := Keys{first: first, keys: make(map[uint8][]byte, len(secrets))}
	for number, secret := range secrets {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte("lvsd pair exchange 1"))
		k.keys[number] = h.Sum(nil)
	}
	return k
}

// prove is the proof of a message: of its kind and length, of the nonces of both,
// which make it good for this one conversation, and of what it says.
func prove(key []byte, h head, server, client nonce, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(h.append(nil))
	m.Write(server[:])
	m.Write(client[:])
	m.Write(body)
	return m.Sum(nil)
}

// proven judges the proof of a message.
func (k Keys) proven(h head, server, client nonce, body, proof []byte) Refusal {
	key, known := k.keys[h.key]
	switch {
	case !known:
		return RefusedKey
	case !hmac.Equal(proof, prove(key, h, server, client, body)):
		return RefusedProof
	}
	return 0
}
