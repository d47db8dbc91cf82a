// This file has the messages between two directors, as in docs/peers.md: a greeting, a
// request and a response. It signs and verifies them.

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

	// Bounds of a body. A request is a few names; a response a few dozen bytes for each
	// real server.
	maxRequest  = 2 << 10
	maxResponse = 8 << 20
)

// kind is the type of a message. It is covered by the signature, so that a message can
// neither pass as one of another kind nor be reflected to its sender.
type kind uint8

const (
	kindGreeting kind = 1 // from the server: the nonce that the request must sign
	kindRequest  kind = 2
	kindResponse kind = 3
	kindRefusal  kind = 4 // unsigned: a hint for operators, on which nothing relies
)

// Refusal is why a director refuses a request.
type Refusal uint8

// The refusals, also the reasons of lvsd_peer_refused_total.
const (
	RefusedAddress   Refusal = 1 // it comes from an address of no other director
	RefusedBusy      Refusal = 2 // too many of the peer's requests at once
	RefusedMessage   Refusal = 3 // malformed, too long or too slow
	RefusedVersion   Refusal = 4 // another version of the protocol
	RefusedKey       Refusal = 5 // a key number that is not in the key file
	RefusedSignature Refusal = 6 // the signature is invalid: another secret, or a forged message
	RefusedName      Refusal = 7 // the sender is not who it claims, or addresses another director
	RefusedRequest   Refusal = 8 // an unknown request

	refusals = 9
)

// String returns the label of the reason.
func (r Refusal) String() string {
	if int(r) < len(refusalNames) && r > 0 {
		return refusalNames[r]
	}
	return fmt.Sprintf("refusal(%d)", uint8(r))
}

var refusalNames = [refusals]string{"", "address", "busy", "message", "version", "key", "proof", "name", "question"}

// explain describes what a refusal means for the director that receives it.
func (r Refusal) explain() string {
	switch r {
	case RefusedAddress:
		return "it does not know this director's source address: check [[director]] address"
	case RefusedBusy:
		return "it has too many requests at once"
	case RefusedVersion:
		return "it uses another version of the protocol: run the same lvsd on both"
	case RefusedKey:
		return "its key file has no key with the number that this director uses"
	case RefusedSignature:
		return "its key file has a different secret with the same number"
	case RefusedName:
		return "its configuration has different names for the directors' addresses"
	case RefusedRequest:
		return "it does not support the request: run the same lvsd on both"
	}
	return "it could not decode the request"
}

// nonce is a number used once.
type nonce [nonceLen]byte

// head is the beginning of every message.
type head struct {
	version uint8
	kind    kind
	key     uint8 // number of the key; of a refusal the reason
	length  uint32
}

func (h head) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, h.version, byte(h.kind), h.key, 0)
	return binary.BigEndian.AppendUint32(b, h.length)
}

// parseHead parses the first headLen octets of a message.
func parseHead(b []byte) (head, bool) {
	if len(b) < headLen || string(b[:4]) != magic || b[7] != 0 {
		return head{}, false
	}
	return head{version: b[4], kind: kind(b[5]), key: b[6], length: binary.BigEndian.Uint32(b[8:])}, true
}

// greeting is the server's first message.
func greeting(server nonce) []byte {
	return append(head{version: version, kind: kindGreeting}.append(nil), server[:]...)
}

// request is a signed request.
func request(k Keys, server, client nonce, body []byte) []byte {
	h := head{version: version, kind: kindRequest, key: k.first, length: uint32(len(body))}
	b := append(h.append(nil), client[:]...)
	b = append(b, body...)
	return append(b, sign(k.keys[k.first], h, server, client, body)...)
}

// answer is a signed response, with the key of the request.
func answer(k Keys, key uint8, server, client nonce, body []byte) []byte {
	h := head{version: version, kind: kindResponse, key: key, length: uint32(len(body))}
	return append(append(h.append(nil), body...), sign(k.keys[key], h, server, client, body)...)
}

// refusal is what a server sends before it closes the connection.
func refusal(r Refusal) []byte {
	return head{version: version, kind: kindRefusal, key: uint8(r)}.append(nil)
}

// Keys are the keys with which two directors sign their messages.
type Keys struct {
	first uint8
	keys  map[uint8][]byte
}

// NewKeys derives the keys from the secrets of the VRRP instances, for this exchange
// only: its signatures are not valid for adverts, nor the reverse.
func NewKeys(first uint8, secrets map[uint8][]byte) Keys {
	k := Keys{first: first, keys: make(map[uint8][]byte, len(secrets))}
	for number, secret := range secrets {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte("lvsd pair exchange 1"))
		k.keys[number] = h.Sum(nil)
	}
	return k
}

// sign signs a message: its kind and length, its body, and the nonces of both sides,
// which make the signature valid for this conversation only.
func sign(key []byte, h head, server, client nonce, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(h.append(nil))
	m.Write(server[:])
	m.Write(client[:])
	m.Write(body)
	return m.Sum(nil)
}

// verify checks the signature of a message.
func (k Keys) verify(h head, server, client nonce, body, proof []byte) Refusal {
	key, known := k.keys[h.key]
	switch {
	case !known:
		return RefusedKey
	case !hmac.Equal(proof, sign(key, h, server, client, body)):
		return RefusedSignature
	}
	return 0
}
