// Parsing a text that differs little from the one before. Where only settings inside
// some services differ, such as one weight among ten thousand, only those services
// are decoded. Anything that could matter elsewhere (an added line, a name, an
// address, a check, an error, a warning) has the whole text parsed, so that the
// result never depends on the way taken.

package config

import (
	"reflect"
	"slices"
	"strings"

	"lvsd/config/include"
	"lvsd/config/reader"
	"lvsd/config/tomlpos"
)

// ParseAfter is Parse for a text that follows another one of the same file; before is
// nil where there is none. The result is that of Parse.
func ParseAfter(before *File, name string, text []byte) (*File, error) {
	if f := before.reparse(name, text); f != nil {
		return f, nil
	}
	return Parse(name, text)
}

// reparse returns the file of the next text, or nil where the whole text must be
// parsed.
func (f *File) reparse(name string, next []byte) *File {
	if f == nil || name != f.Name || f.truncated || f.commonDigest == "" || len(next) > tomlpos.MaxText || f.announces() {
		return nil
	}
	text := string(next)
	sections := f.sectionsAt(text)
	if sections == nil || !slices.Equal(f.lines, include.LinesOf(text)) {
		return nil
	}
	common, each := tomlpos.Digests(text, sections)
	if common != f.commonDigest {
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
	built, ok := rebuild(name, text, sections, changed)
	if !ok || f.warnsIn(sections, changed) {
		return nil
	}
	if f.lines != nil {
		locateServices(built, f.Name, f.lines)
	}
	services := slices.Clone(f.services)
	for n, i := range changed {
		if !sameIdentity(built[n], services[i]) {
			return nil
		}
		services[i] = built[n]
		services[i].Digest = each[i]
	}
	return f.withServices(services, sections, textHash(next))
}

// announces reports whether the file has an [[announce]], whose warnings depend on
// settings of services.
func (f *File) announces() bool {
	for _, c := range f.configs {
		return len(c.Announces) > 0
	}
	return false
}

// sectionsAt cuts the text at the lines where the sections of the text before begin.
// Whether sections begin there is verified later.
func (f *File) sectionsAt(text string) []tomlpos.Section {
	sections := slices.Clone(f.sections)
	line, offset := 1, 0
	for i := range sections {
		c := &sections[i]
		if c.Position.Col != 1 || c.Mixed {
			return nil
		}
		for ; line < c.Position.Line; line++ {
			end := strings.IndexByte(text[offset:], '\n')
			if end < 0 {
				return nil
			}
			offset += end + 1
		}
		c.Offset = offset
	}
	return sections
}

// rebuild decodes everything but the unchanged services, in whose place it puts empty
// lines, and builds the changed ones. ok is false when there is any error or warning
// about them, or when the sections are not where they were.
//
// That the header of the next section is found where it was proves that nothing of a
// changed one, such as an open string, reaches into what was left out: empty lines
// close nothing.
func rebuild(name, text string, sections []tomlpos.Section, changed []int) (built []Service, ok bool) {
	var b strings.Builder
	var kept []tomlpos.Section
	b.WriteString(text[:sections[0].Offset])
	service := -1
	for i, c := range sections {
		t := tomlpos.SectionText(text, sections, i)
		if c.Service {
			service++
			if _, is := slices.BinarySearch(changed, service); !is {
				b.WriteString(strings.Repeat("\n", strings.Count(t, "\n")))
				continue
			}
		}
		kept = append(kept, c)
		b.WriteString(t)
	}
	r := reader.New(name)
	root, found, decoded := r.Root(b.String())
	if !decoded || !slices.EqualFunc(kept, found, func(a, b tomlpos.Section) bool {
		return a.Position == b.Position && a.Service == b.Service && !b.Mixed
	}) {
		return nil, false
	}
	built = buildServices(root)
	inside := func(w Error) bool { return lineInServices(sections, changed, w.Line) }
	warnings, incomplete := r.Warnings()
	ok = !r.Failed() && !incomplete && !slices.ContainsFunc(warnings, inside) && len(built) == len(changed)
	return built, ok
}

// warnsIn reports whether one of the warnings so far is about what changed.
func (f *File) warnsIn(sections []tomlpos.Section, changed []int) bool {
	return slices.ContainsFunc(f.joined, func(w Error) bool { return lineInServices(sections, changed, w.Line) })
}

// lineInServices reports whether the line is in one of the services with those numbers.
func lineInServices(sections []tomlpos.Section, services []int, line int) bool {
	service := -1
	for i, c := range sections {
		if c.Service {
			service++
		}
		if line < c.Position.Line || i+1 < len(sections) && line >= sections[i+1].Position.Line {
			continue
		}
		_, is := slices.BinarySearch(services, service)
		return c.Service && is
	}
	return false
}

// sameIdentity reports whether everything that is checked across services (names,
// addresses, checks with through, directors as real servers) is unchanged.
func sameIdentity(s, was Service) bool {
	return s.Name == was.Name && s.Protocol == was.Protocol && s.Address == was.Address && s.FWMark == was.FWMark && s.IPv6 == was.IPv6 &&
		slices.EqualFunc(s.RealServers, was.RealServers, func(a, b RealServer) bool {
			return a.Address == b.Address && a.Forward == b.Forward && reflect.DeepEqual(a.Checks, b.Checks)
		})
}

// withServices returns the file with these services in place of its own.
func (f *File) withServices(services []Service, sections []tomlpos.Section, hash string) *File {
	next := *f
	next.Hash, next.services, next.sections = hash, services, sections
	next.configs = make(map[string]*Config, len(f.configs))
	for name, c := range f.configs {
		d := *c
		d.Hash, d.Services = hash, services
		next.configs[name] = &d
	}
	return &next
}

// setDigests sets the digests of the file's services. Services that are not written as
// sections have none.
func (f *File) setDigests(text string, sections []tomlpos.Section) {
	common, each := tomlpos.Digests(text, sections)
	if len(each) != len(f.services) {
		return
	}
	for i := range each {
		f.services[i].Digest = each[i]
	}
	f.sections, f.commonDigest = sections, common
}
