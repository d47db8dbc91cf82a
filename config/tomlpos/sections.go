// This file gives every service a digest of all that it was made of, so that
// after a reload the services that nobody touched are known without comparing
// them key by key. It never looks at what a text means.

package tomlpos

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"
)

const servicesKey = "virtual_service"

// Section is a stretch of the text from one header of the first level to the
// next: what is written in it can only concern what it opens, or what another
// chunk opened before it.
type Section struct {
	Offset   int
	Position Position
	Service  bool // it opens a [[virtual_service]]
	// Mixed: a header in it adds to a service that it does not open, or is none of
	// the service that it does.
	Mixed bool
}

// openSection notes a header of the first level.
func (s *scanner) openSection(offset int, at Position, service bool) {
	s.sections = append(s.sections, Section{Offset: offset, Position: at, Service: service})
}

// addToSection notes a header of a lower level.
func (s *scanner) addToSection(offset int) {
	if len(s.sections) == 0 {
		return
	}
	c := &s.sections[len(s.sections)-1]
	rest, of := strings.CutPrefix(strings.TrimLeft(s.text[offset:], "[ \t"), servicesKey)
	of = of && strings.IndexAny(rest, ". \t") == 0
	quoted := strings.HasPrefix(rest, "\"") || strings.HasPrefix(rest, "'")
	c.Mixed = c.Mixed || quoted || of != c.Service
}

// SectionText is the text of the i-th chunk.
func SectionText(text string, chunks []Section, i int) string {
	if i+1 < len(chunks) {
		return text[chunks[i].Offset:chunks[i+1].Offset]
	}
	return text[chunks[i].Offset:]
}

// Digests answers one for each chunk that is a service's, in their order, and the
// one of all the rest. A service is made of its own chunk, of where that stands,
// and, by way of names, of the families that the directors have and the like, of
// all chunks that are no services: so each digest has those in it too, with where
// among the services they stand.
func Digests(text string, chunks []Section) (common string, each []string) {
	rest := sha256.New()
	if len(chunks) > 0 {
		rest.Write([]byte(text[:chunks[0].Offset]))
	}
	seen := 0
	for i, c := range chunks {
		if c.Service {
			seen++
			continue
		}
		t := SectionText(text, chunks, i)
		writeInts(rest, seen, c.Position.Line, c.Position.Col, len(t))
		rest.Write([]byte(t))
	}
	sum := rest.Sum(nil)
	each = make([]string, 0, seen)
	h := sha256.New()
	var room [sha256.Size]byte
	for i, c := range chunks {
		if !c.Service {
			continue
		}
		h.Reset()
		h.Write(sum)
		writeInts(h, c.Position.Line, c.Position.Col)
		h.Write([]byte(SectionText(text, chunks, i)))
		each = append(each, hex.EncodeToString(h.Sum(room[:0])[:16]))
	}
	return string(sum), each
}

func writeInts(h hash.Hash, numbers ...int) {
	var b [8]byte
	for _, n := range numbers {
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
}
