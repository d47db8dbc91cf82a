// The HMAC trailer: it proves that an advert was sent by a holder of a key and
// was not seen before.
//
// PURE.

package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

const (
	magic       = "LVSA"
	version     = 1
	trailerHead = 16 // magic, version, key number, reserved, sequence
	minSecret   = 16 // octets of a key
	headerLen   = 8  // of a VRRP message, RFC 9568 §5.1

	// TrailerLen is the length of the trailer in octets.
	TrailerLen = trailerHead + sha256.Size

	// MaxClockError is how far the clocks of two directors may differ. Within it
	// an advert that was recorded earlier is accepted once by a director that has
	// just started.
	MaxClockError = 30 * time.Second
)

// Why [Keyring.Verify] refuses a message.
var (
	ErrUnauthenticated = errors.New("no HMAC trailer")
	ErrKey             = errors.New("unknown key number or trailer version")
	ErrMAC             = errors.New("wrong HMAC")
	ErrClock           = errors.New("sequence too far from the clock")
	ErrReplay          = errors.New("sequence not newer than the last one")
)

// Keyring is the set of keys of one key file. The first key signs, all verify.
type Keyring struct {
	keys       map[uint8][]byte
	signWith   uint8
	permissive bool
}

// ParseKeys parses a key file: one line "ID SECRET" for each key, where ID is 0 to
// 255 and SECRET has at least 16 octets. Empty lines and lines that begin with #
// are ignored. With permissive, the caller accepts and counts unauthenticated
// adverts.
func ParseKeys(text []byte, permissive bool) (*Keyring, error) {
	k := &Keyring{keys: map[uint8][]byte{}, permissive: permissive}
	for number, line := range bytes.Split(text, []byte("\n")) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		// The error does not quote the line: it may be a key.
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
			k.signWith = uint8(id)
		}
		k.keys[uint8(id)] = bytes.Clone(fields[1])
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("there is no key in it: write a line such as \"1 SECRET\"")
	}
	return k, nil
}

// Permissive reports whether unauthenticated adverts are accepted and counted.
func (k *Keyring) Permissive() bool { return k.permissive }

// Sign appends the trailer to a message sent from source to destination. The
// sequence must grow with every call; [Keyring.Verify] compares it with Unix time
// in microseconds.
func (k *Keyring) Sign(message []byte, source, destination netip.Addr, sequence uint64) []byte {
	body := len(message)
	b := append(message, magic...)
	b = append(b, version, k.signWith, 0, 0)
	b = binary.BigEndian.AppendUint64(b, sequence)
	return append(b, mac(k.keys[k.signWith], b[:body+trailerHead], source, destination)...)
}

// mac covers the IP addresses too. Otherwise an advert could be reflected to its
// sender or repeated from another source address.
func mac(key, signed []byte, source, destination netip.Addr) []byte {
	h := hmac.New(sha256.New, key)
	s, d := source.As16(), destination.As16()
	h.Write(s[:])
	h.Write(d[:])
	h.Write(signed)
	return h.Sum(nil)
}

// HasTrailer reports whether a message of size octets is followed by a trailer.
func HasTrailer(message []byte, size int) bool {
	return len(message) == size+TrailerLen && string(message[size:size+len(magic)]) == magic
}

// KeyNumber returns the key number of a message with a trailer.
func KeyNumber(message []byte) uint8 { return message[len(message)-TrailerLen+5] }

// Verify checks the trailer of a message. last is the newest sequence accepted
// from this source, or 0; the caller remembers the one returned. The error is one
// of the Err values of this package.
func (k *Keyring) Verify(source, destination netip.Addr, message []byte, last uint64, now time.Time) (sequence uint64, err error) {
	size := len(message) - TrailerLen
	if size < headerLen || !HasTrailer(message, size) {
		return 0, ErrUnauthenticated
	}
	trailer := message[size:]
	key, known := k.keys[trailer[5]]
	if trailer[4] != version || !known {
		return 0, ErrKey
	}
	if !hmac.Equal(trailer[trailerHead:], mac(key, message[:size+trailerHead], source, destination)) {
		return 0, ErrMAC
	}
	sequence = binary.BigEndian.Uint64(trailer[8:])
	const far = uint64(MaxClockError / time.Microsecond)
	here := uint64(now.UnixMicro())
	switch {
	case sequence+far < here || sequence > here+far || sequence > 1<<62:
		return 0, ErrClock
	case sequence <= last:
		return 0, ErrReplay
	}
	return sequence, nil
}
