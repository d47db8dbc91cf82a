// This file proves that an advert comes from somebody who has a key, and that it
// is new: the format of docs/vrrp-authentication.md. It never reads a clock or a
// file, and never decides what becomes of an advert that is not proven.
//
// PURE.
package vrrp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

const (
	sealMagic   = "LVSA"
	sealVersion = 1
	sealHead    = 16 // magic, version, key, reserved, sequence
	sealLen     = sealHead + sha256.Size
	minSecret   = 16 // octets of a key

	// maxClockError is how far the clocks of two directors may differ; within it
	// a recorded advert can fool a director that has just started, and only once.
	maxClockError = 30 * time.Second
)

// Keyring is what adverts are sealed with and checked by.
type Keyring struct {
	keys       map[uint8][]byte
	sealWith   uint8
	permissive bool // what is not proven is counted, and accepted
}

// parseKeys reads a key file: a line "ID SECRET" for each key, the first of them
// the one to send with; empty lines and lines that begin with # mean nothing.
func parseKeys(text []byte, permissive bool) (*Keyring, error) {
	k := &Keyring{keys: map[uint8][]byte{}, permissive: permissive}
	for number, line := range bytes.Split(text, []byte("\n")) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		// The line is not repeated in an error: it may be a key.
		id, err := strconv.ParseUint(string(fields[0]), 10, 8)
		switch {
		case err != nil || len(fields) != 2:
			return nil, fmt.Errorf("line %d is not a key: write a number from 0 to 255, a space and the secret", number+1)
		case len(fields[1]) < minSecret:
			return nil, fmt.Errorf("the secret in line %d is shorter than %d characters (head -c 32 /dev/urandom | base64 makes one)", number+1, minSecret)
		case k.keys[uint8(id)] != nil:
			return nil, fmt.Errorf("line %d has the key number %d again", number+1, id)
		}
		if len(k.keys) == 0 {
			k.sealWith = uint8(id)
		}
		k.keys[uint8(id)] = bytes.Clone(fields[1])
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("there is no key in it: write a line such as \"1 SECRET\"")
	}
	return k, nil
}

// seal appends the proof to a message that leaves from source to destination.
func (k *Keyring) seal(message []byte, source, destination netip.Addr, sequence uint64) []byte {
	body := len(message)
	b := append(message, sealMagic...)
	b = append(b, sealVersion, k.sealWith, 0, 0)
	b = binary.BigEndian.AppendUint64(b, sequence)
	return append(b, mac(k.keys[k.sealWith], b[:body+sealHead], source, destination)...)
}

// mac covers the addresses too, or an advert could be sent back to its sender, or
// in somebody else's name.
func mac(key, sealed []byte, source, destination netip.Addr) []byte {
	h := hmac.New(sha256.New, key)
	s, d := source.As16(), destination.As16()
	h.Write(s[:])
	h.Write(d[:])
	h.Write(sealed)
	return h.Sum(nil)
}

// isSealed reports whether a message that is longer than its addresses, from size
// on, has a proof behind them.
func isSealed(message []byte, size int) bool {
	return len(message) == size+sealLen && string(message[size:size+len(sealMagic)]) == sealMagic
}

// prove checks the proof of a message. last is the newest sequence that was
// accepted from its source; what it returns is to be noted when all is well.
func (k *Keyring) prove(h Header, message []byte, last uint64, now time.Time) (sequence uint64, d Drop) {
	size := len(message) - sealLen
	if size < headerLen || !isSealed(message, size) {
		return 0, DropUnauthenticated
	}
	seal := message[size:]
	key, known := k.keys[seal[5]]
	if seal[4] != sealVersion || !known {
		return 0, DropKey
	}
	if !hmac.Equal(seal[sealHead:], mac(key, message[:size+sealHead], h.Source, h.Destination)) {
		return 0, DropAuth
	}
	sequence = binary.BigEndian.Uint64(seal[8:])
	const far = uint64(maxClockError / time.Microsecond)
	here := uint64(now.UnixMicro())
	switch {
	case sequence+far < here || sequence > here+far || sequence > 1<<62:
		return 0, DropClock
	case sequence <= last:
		return 0, DropReplay
	}
	return sequence, DropNone
}
