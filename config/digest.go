// This file gives every service a digest of all that it was made of, so that
// after a reload the services that nobody touched are known without comparing
// them key by key. It never looks at what a text means.
//
// PURE.
package config

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"
)

const servicesKey = "virtual_service"

// chunk is a stretch of the text from one header of the first level to the
// next: what is written in it can only concern what it opens, or what another
// chunk opened before it.
type chunk struct {
	offset  int
	at      Position
	service bool // it opens a [[virtual_service]]
	// mixed: a header in it adds to a service that it does not open, or is none of
	// the service that it does.
	mixed bool
}

// opened notes a header of the first level.
func (s *scanner) opened(offset int, at Position, service bool) {
	s.chunks = append(s.chunks, chunk{offset: offset, at: at, service: service})
}

// below notes a header of a lower level.
func (s *scanner) below(offset int) {
	if len(s.chunks) == 0 {
		return
	}
	c := &s.chunks[len(s.chunks)-1]
	rest, of := strings.CutPrefix(strings.TrimLeft(s.text[offset:], "[ \t"), servicesKey)
	of = of && strings.IndexAny(rest, ". \t") == 0
	quoted := strings.HasPrefix(rest, "\"") || strings.HasPrefix(rest, "'")
	c.mixed = c.mixed || quoted || of != c.service
}

// part is the text of the i-th chunk.
func part(text string, chunks []chunk, i int) string {
	if i+1 < len(chunks) {
		return text[chunks[i].offset:chunks[i+1].offset]
	}
	return text[chunks[i].offset:]
}

// digests answers one for each chunk that is a service's, in their order, and the
// one of all the rest. A service is made of its own chunk, of where that stands,
// and, by way of names, of the families that the directors have and the like, of
// all chunks that are no services: so each digest has those in it too, with where
// among the services they stand.
func digests(text string, chunks []chunk) (common string, each []string) {
	rest := sha256.New()
	if len(chunks) > 0 {
		rest.Write([]byte(text[:chunks[0].offset]))
	}
	seen := 0
	for i, c := range chunks {
		if c.service {
			seen++
			continue
		}
		t := part(text, chunks, i)
		number(rest, seen, c.at.Line, c.at.Col, len(t))
		rest.Write([]byte(t))
	}
	sum := rest.Sum(nil)
	each = make([]string, 0, seen)
	h := sha256.New()
	var room [sha256.Size]byte
	for i, c := range chunks {
		if !c.service {
			continue
		}
		h.Reset()
		h.Write(sum)
		number(h, c.at.Line, c.at.Col)
		h.Write([]byte(part(text, chunks, i)))
		each = append(each, hex.EncodeToString(h.Sum(room[:0])[:16]))
	}
	return string(sum), each
}

// digested gives the file's services their digests. Where they are written in
// another form there are none: no digest is equal to none.
func (f *File) digested(text string, chunks []chunk) {
	common, each := digests(text, chunks)
	if len(each) != len(f.services) {
		return
	}
	for i := range each {
		f.services[i].Digest = each[i]
	}
	f.chunks, f.common = chunks, common
}

func number(h hash.Hash, numbers ...int) {
	var b [8]byte
	for _, n := range numbers {
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
}
