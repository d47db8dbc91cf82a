// Digests of everything that a service is made of, by which the services that did
// not change are recognised after a reload.

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
// next: its content can only concern what it opens, or what an earlier section
// opened.
type Section struct {
	Offset   int
	Position Position
	Service  bool // it opens a [[virtual_service]]
	// Mixed: a header in it adds to a service that the section does not open, or does
	// not belong to the service that it opens.
	Mixed bool
}

// openSection records a header of the first level.
func (s *scanner) openSection(offset int, at Position, service bool) {
	s.sections = append(s.sections, Section{Offset: offset, Position: at, Service: service})
}

// addToSection records a header of a lower level.
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

// SectionText returns the text of the i-th section.
func SectionText(text string, chunks []Section, i int) string {
	if i+1 < len(chunks) {
		return text[chunks[i].Offset:chunks[i+1].Offset]
	}
	return text[chunks[i].Offset:]
}

// Digests returns a digest for each section of a service, in their order, and one of
// everything else. A service depends on its own section and its position, and by
// references on all sections that are not services: each digest covers those too,
// with their positions among the services.
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
