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
)

// chunk is a stretch of the text from one header of the first level to the
// next: what is written in it can only concern what it opens, or what another
// chunk opened before it.
type chunk struct {
	offset  int
	at      Position
	service bool // it opens a [[virtual_service]]
}

// opened notes a header of the first level.
func (s *scanner) opened(offset int, at Position, service bool) {
	s.chunks = append(s.chunks, chunk{offset, at, service})
}

// digestServices gives the services their digests. A service is made of its own
// chunk, of where that stands, and, by way of names, of the families that the
// directors have and the like, of all chunks that are no services: so each
// digest has those in it too, with where among the services they stand.
func digestServices(text string, chunks []chunk, services []Service) {
	end := func(i int) int {
		if i+1 < len(chunks) {
			return chunks[i+1].offset
		}
		return len(text)
	}
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
		number(rest, seen, c.at.Line, c.at.Col, end(i)-c.offset)
		rest.Write([]byte(text[c.offset:end(i)]))
	}
	if seen != len(services) {
		return // they are written in another form: no digest is equal to none
	}
	var common [sha256.Size]byte
	rest.Sum(common[:0])
	next := 0
	for i, c := range chunks {
		if !c.service {
			continue
		}
		h := sha256.New()
		h.Write(common[:])
		number(h, c.at.Line, c.at.Col)
		h.Write([]byte(text[c.offset:end(i)]))
		services[next].Digest = hex.EncodeToString(h.Sum(nil)[:16])
		next++
	}
}

func number(h hash.Hash, numbers ...int) {
	var b [8]byte
	for _, n := range numbers {
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
}
