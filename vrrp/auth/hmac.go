// The HMAC trailer: it proves that an advert was sent by a holder of a key and
// was not seen before.

package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	magic       = "LVSA"
	trailerHead = 32 // magic, version, key number, reserved, run, counter, time
	macLen      = 16 // octets of the HMAC that are sent: half of it, RFC 2104 §5
	minSecret   = 16 // octets of a key
	headerLen   = 8  // of a VRRP message, RFC 9568 §5.1
	maxRuns     = 16 // runs of a peer that are remembered

	// Version is the version of the trailer.
	Version = 2

	// TrailerLen is the length of the trailer in octets. Version 1 had the same, so
	// that a director with either version can be permissive towards the other.
	TrailerLen = trailerHead + macLen

	// MaxClockError is how far the clocks of two directors may differ when one of
	// them receives the first advert of the other. Later the clocks do not matter.
	MaxClockError = 30 * time.Second
)

// Why [Keyring.Verify] refuses a message.
var (
	ErrUnauthenticated = errors.New("no HMAC trailer")
	ErrVersion         = errors.New("unsupported version of the trailer")
	ErrKey             = errors.New("unknown key number")
	ErrMAC             = errors.New("wrong HMAC")
	ErrClock           = errors.New("first advert of a run, and its time differs too much from the clock")
	ErrReplay          = errors.New("counter not greater than the last one of its run, or its run was replaced by another one")
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
			return nil, fmt.Errorf("line %d: duplicate key number %d", number+1, id)
		}
		if len(k.keys) == 0 {
			k.signWith = uint8(id)
		}
		k.keys[uint8(id)] = bytes.Clone(fields[1])
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("it contains no key: write a line such as \"1 SECRET\"")
	}
	return k, nil
}

// Permissive reports whether unauthenticated adverts are accepted and counted.
func (k *Keyring) Permissive() bool { return k.permissive }

// Context is what an advert is bound to besides its content. It is not valid in
// any other: an advert of one LAN cannot decide the election of another one that
// has the same virtual router ID and key.
type Context struct {
	Instance            string // name of the instance, the same on all directors
	Source, Destination netip.Addr
}

// Stamp is the position of an advert among all adverts of its sender.
type Stamp struct {
	Run     uint64 // of the sender's process: Unix time of its start in microseconds
	Counter uint64 // of adverts in this run, from 1
	Time    uint64 // Unix time in microseconds
}

// Sign appends the trailer to a message. The counter of the stamp must grow with
// every call of a run.
func (k *Keyring) Sign(message []byte, c Context, at Stamp) []byte {
	body := len(message)
	b := append(message, magic...)
	b = append(b, Version, k.signWith, 0, 0)
	b = binary.BigEndian.AppendUint64(b, at.Run)
	b = binary.BigEndian.AppendUint64(b, at.Counter)
	b = binary.BigEndian.AppendUint64(b, at.Time)
	return append(b, mac(k.keys[k.signWith], b[:body+trailerHead], c)...)
}

// mac covers the IP addresses too. Otherwise an advert could be reflected to its
// sender or repeated from another source address.
func mac(key, signed []byte, c Context) []byte {
	h := hmac.New(sha256.New, key)
	s, d := c.Source.As16(), c.Destination.As16()
	h.Write(s[:])
	h.Write(d[:])
	h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(c.Instance))))
	h.Write([]byte(c.Instance))
	h.Write(signed)
	return h.Sum(nil)[:macLen]
}

// HasTrailer reports whether a message of size octets is followed by a trailer.
func HasTrailer(message []byte, size int) bool {
	return len(message) == size+TrailerLen && string(message[size:size+len(magic)]) == magic
}

// KeyNumber returns the key number of a message with a trailer.
func KeyNumber(message []byte) uint8 { return message[len(message)-TrailerLen+5] }

// TrailerVersion returns the version of the trailer of a message that has one.
func TrailerVersion(message []byte) uint8 { return message[len(message)-TrailerLen+4] }

// SentAt returns the second at which a message with a trailer was sent, by its sender's
// clock.
func SentAt(message []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(message[len(message)-TrailerLen+24:])/1e6), 0).UTC()
}

// Peer is what is remembered of one sender. The zero value has received nothing.
type Peer struct {
	runs []run // the one received last first
}

// run is one run of a sender.
type run struct {
	id, counter uint64    // of its last advert
	at          time.Time // when we received that
}

// Verify checks the trailer of a message and, if it is valid, updates p, the peer
// it came from. The error is one of the Err values of this package. interval is the
// advertisement interval of the message.
//
// Within a run the counter must grow, whatever the clocks say: a clock that is set
// makes no difference. A later run is a restart of the sender. An earlier one is a
// restart with a clock that was set back, or a replay: it must wait until the present
// run has been silent for two intervals, and its time must be close to ours. No run is
// refused for ever, as one replayed advert would be enough to refuse the sender's own.
func (k *Keyring) Verify(c Context, message []byte, p *Peer, now time.Time, interval time.Duration) error {
	size := len(message) - TrailerLen
	if size < headerLen || !HasTrailer(message, size) {
		return ErrUnauthenticated
	}
	trailer := message[size:]
	if trailer[4] != Version {
		return ErrVersion
	}
	key, known := k.keys[trailer[5]]
	if !known {
		return ErrKey
	}
	if !hmac.Equal(trailer[trailerHead:], mac(key, message[:size+trailerHead], c)) {
		return ErrMAC
	}
	at := Stamp{binary.BigEndian.Uint64(trailer[8:]), binary.BigEndian.Uint64(trailer[16:]), binary.BigEndian.Uint64(trailer[24:])}
	i := slices.IndexFunc(p.runs, func(r run) bool { return r.id == at.Run })
	switch {
	case at.Run == 0 || i >= 0 && at.Counter <= p.runs[i].counter:
		return ErrReplay
	case i == 0 || i < 0 && len(p.runs) > 0 && at.Run > p.runs[0].id:
	case len(p.runs) > 0 && within(p.runs[0].at, now, 2*interval):
		return ErrReplay
	case i > 0 && within(p.runs[i].at, now, MaxClockError): // it never ended
	case !near(at.Time, now):
		return ErrClock
	}
	if i < 0 {
		i = min(len(p.runs), maxRuns-1)
		p.runs = append(p.runs[:i], run{})
	}
	copy(p.runs[1:], p.runs[:i])
	p.runs[0] = run{at.Run, at.Counter, now}
	return nil
}

// within reports whether less than limit has passed since a moment.
func within(since, now time.Time, limit time.Duration) bool {
	passed := now.Sub(since)
	return passed >= 0 && passed < limit
}

// near reports whether a time in microseconds is within MaxClockError of now.
func near(micros uint64, now time.Time) bool {
	const far = uint64(MaxClockError / time.Microsecond)
	here := uint64(now.UnixMicro())
	return micros < 1<<62 && micros+far >= here && micros <= here+far
}
