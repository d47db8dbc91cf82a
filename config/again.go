// This file parses a text that is nearly the one before: where only settings
// inside some services differ, such as a weight among ten thousand, nothing but
// those services is decoded. Everything that could make a difference elsewhere
// (another line more, a name, an address, a check, a mistake, a warning) has the
// whole text parsed, so that nobody can tell which way was taken.
//
// PURE.
package config

import (
	"reflect"
	"slices"
	"strings"
)

// ParseAfter is Parse of a text that comes after another one of the same file,
// nil where there was none. It answers what Parse does.
func ParseAfter(before *File, name string, text []byte) (*File, error) {
	if f := before.again(name, text); f != nil {
		return f, nil
	}
	return Parse(name, text)
}

// again answers the file of the next text, or nil where the whole of it must be
// parsed.
func (f *File) again(name string, next []byte) *File {
	if f == nil || name != f.Name || f.unlisted || f.common == "" || len(next) > maxText {
		return nil
	}
	text := string(next)
	chunks := f.placed(text)
	if chunks == nil {
		return nil
	}
	common, each := digests(text, chunks)
	if common != f.common {
		return nil
	}
	var changed []int // of the services
	for i, d := range each {
		if d != f.services[i].Digest {
			changed = append(changed, i)
		}
	}
	if len(changed) > len(each)/2 {
		return nil
	}
	built, ok := rebuild(name, text, chunks, changed)
	if !ok || f.warned(chunks, changed) {
		return nil
	}
	services := slices.Clone(f.services)
	for n, i := range changed {
		if !replaces(built[n], services[i]) {
			return nil
		}
		services[i] = built[n]
		services[i].Digest = each[i]
	}
	return f.with(services, chunks, hashOf(next))
}

// placed cuts the text at the lines at which the one before has its parts. Whether
// parts begin there is seen later.
func (f *File) placed(text string) []chunk {
	chunks := slices.Clone(f.chunks)
	line, offset := 1, 0
	for i := range chunks {
		c := &chunks[i]
		if c.at.Col != 1 || c.mixed {
			return nil
		}
		for ; line < c.at.Line; line++ {
			end := strings.IndexByte(text[offset:], '\n')
			if end < 0 {
				return nil
			}
			offset += end + 1
		}
		c.offset = offset
	}
	return chunks
}

// rebuild decodes what is no service and the changed services, with empty lines
// for all others, and makes the changed ones. It is not ok when anything at all is
// said of them, or when the parts are not where they were.
//
// That the next part's header is found where it was proves that nothing of a
// changed one, an open string say, reaches into what was left out: empty lines
// close nothing.
func rebuild(name, text string, chunks []chunk, changed []int) (built []Service, ok bool) {
	var b strings.Builder
	var kept []chunk
	b.WriteString(text[:chunks[0].offset])
	service := -1
	for i, c := range chunks {
		t := part(text, chunks, i)
		if c.service {
			service++
			if _, is := slices.BinarySearch(changed, service); !is {
				b.WriteString(strings.Repeat("\n", strings.Count(t, "\n")))
				continue
			}
		}
		kept = append(kept, c)
		b.WriteString(t)
	}
	r := &reader{file: name, patterns: map[string]string{}}
	document, places, found := r.decode(b.String())
	if document == nil || !slices.EqualFunc(kept, found, func(a, b chunk) bool {
		return a.at == b.at && a.service == b.service && !b.mixed
	}) {
		return nil, false
	}
	r.directors = directorNames(document)
	built = buildServices(r.table(document, places, rootTable, nil))
	inside := func(w Error) bool { return inServices(chunks, changed, w.Line) }
	ok = len(r.errors) == 0 && r.moreDoubt == 0 && !slices.ContainsFunc(r.warnings, inside) && len(built) == len(changed)
	return built, ok
}

// warned says whether one of the warnings of before is about what changed.
func (f *File) warned(chunks []chunk, changed []int) bool {
	return slices.ContainsFunc(f.Warnings, func(w Error) bool { return inServices(chunks, changed, w.Line) })
}

// inServices says whether the line is in one of the services with those numbers.
func inServices(chunks []chunk, services []int, line int) bool {
	service := -1
	for i, c := range chunks {
		if c.service {
			service++
		}
		if line < c.at.Line || i+1 < len(chunks) && line >= chunks[i+1].at.Line {
			continue
		}
		_, is := slices.BinarySearch(services, service)
		return c.service && is
	}
	return false
}

// replaces says whether all that is judged beyond one service (who has which name
// and address, which checks go through the kernel, who is a director) is as it was.
func replaces(s, was Service) bool {
	return s.Name == was.Name && s.Protocol == was.Protocol && s.Address == was.Address && s.FWMark == was.FWMark && s.IPv6 == was.IPv6 &&
		slices.EqualFunc(s.RealServers, was.RealServers, func(a, b RealServer) bool {
			return a.Address == b.Address && a.Forward == b.Forward && reflect.DeepEqual(a.Checks, b.Checks)
		})
}

// with is the file with these services instead of its own.
func (f *File) with(services []Service, chunks []chunk, hash string) *File {
	next := *f
	next.Hash, next.services, next.chunks = hash, services, chunks
	next.configs = make(map[string]*Config, len(f.configs))
	for name, c := range f.configs {
		d := *c
		d.Hash, d.Services = hash, services
		next.configs[name] = &d
	}
	return &next
}
