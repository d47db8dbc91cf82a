// From the text to a File, and from a File to the Config of one director.

package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"lvsd/config/include"
	"lvsd/config/reader"
)

// Parse reads the text of a configuration file. The name is used in messages only.
// The error is Errors: every error of the file, sorted by position. Where
// the text is not valid TOML, it is the first error alone: the rest cannot be
// interpreted.
//
// Time and memory are bounded: texts over 16 MiB, or nested deeper than 64
// levels, are refused before they are parsed.
func Parse(name string, text []byte) (*File, error) { return parse(reader.New(name), text) }

// ParseAll is Parse, and its error lists every error of the file; that of Parse ends
// after a thousand.
func ParseAll(name string, text []byte) (*File, error) {
	return parse(reader.New(name).Unlimited(), text)
}

func parse(r *reader.Reader, text []byte) (*File, error) {
	lines := include.LinesOf(string(text))
	if lines != nil {
		r.FileOf = func(line int) (string, int) {
			file, local := lines.At(line)
			if file == "" {
				return "", line
			}
			return include.Path(r.File(), file), local
		}
	}
	root, sections, ok := r.Root(string(text))
	if !ok {
		return nil, r.Errors()
	}
	f := build(root)
	if r.Failed() {
		return nil, r.Errors()
	}
	f.setDigests(string(text), sections)
	f.Hash = textHash(text)
	for _, c := range f.configs {
		c.Hash = f.Hash
	}
	f.lines = lines
	f.joined, f.truncated = r.Warnings()
	f.Warnings = r.Located(f.joined)
	f.locate()
	return f, nil
}

// locate sets the files and lines of what was built from included files.
func (f *File) locate() {
	if f.lines == nil {
		return
	}
	locateServices(f.services, f.Name, f.lines)
	for _, c := range f.configs {
		for i := range c.Instances {
			name, line := f.lines.At(c.Instances[i].Line)
			c.Instances[i].Line = line
			if name != "" {
				c.Instances[i].File = include.Path(f.Name, name)
			}
		}
	}
}

// locateServices is locate of services that were built just now.
func locateServices(services []Service, first string, lines include.Lines) {
	move := func(p *Position) {
		if p.Line > 0 {
			_, p.Line = lines.At(p.Line)
		}
	}
	for i := range services {
		s := &services[i]
		if name, _ := lines.At(s.Line); name != "" {
			s.File = include.Path(first, name)
		}
		move(&s.Position)
		for j := range s.RealServers {
			r := &s.RealServers[j]
			for _, p := range []*Position{&r.Position, &r.WeightPosition, &r.DrainUntilPosition} {
				move(p)
			}
			for k := range r.Checks {
				move(&r.Checks[k].Position)
			}
		}
	}
}

func textHash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:16]
}

// build builds the File, with a Config for every director.
func build(root *reader.Table) *File {
	f := &File{Name: root.File(), Directors: buildDirectors(root), configs: map[string]*Config{}}
	if len(f.Directors) > reader.MaxDirectors {
		root.Errorf("director", "%d directors are more than the %d that can share a file", len(f.Directors), reader.MaxDirectors)
		return f
	}
	if !root.IsSet("vrrp") && !root.IsSet("virtual_service") && !root.Failed() {
		// A file truncated by a full disk must not remove every service.
		root.ErrorAt(Position{Line: 1, Col: 1}, nil, "has neither [[vrrp]] nor [[virtual_service]]: there is nothing to do")
	}
	services, groups := buildServices(root), buildSyncGroups(root)
	f.services = services
	refuseDirectorAsServer(root, services, f.Directors)
	checkMarkProbes(root, services)
	names := []string{""}
	if len(root.Directors()) > 0 {
		names = root.Directors()
	}
	for i, name := range names {
		c := &Config{
			Director:  name,
			Directors: f.Directors,
			File:      root.File(),
			Global:    buildGlobal(root.Table("global").For(name)),
			IPVS:      buildIPVS(root.Table("ipvs").For(name), root),
			Checker:   Checker{ExecParallel: int(root.Table("checker").For(name).Int("exec_parallel"))},
			Services:  services,

			Email:      buildEmail(root.Table("email").For(name)),
			SyncGroups: groups,
		}
		var taken instanceSet
		c.Instances, taken = buildInstances(root, name, f.Directors, services)
		c.Announces = buildAnnounces(root, name, services, &taken)
		c.Guard = buildGuard(root.Table("guard"), taken)
		c.Exchange = buildExchange(root, name, f.Directors, c.Instances)
		if i == 0 {
			warnPrograms(root, services, c.Checker.ExecParallel)
			warnWithoutInstance(root, services, taken, len(f.Directors))
			warnAnnounces(root, c)
		}
		f.configs[name] = c
	}
	warnEqualPriorities(root, f.Directors)
	warnIneffectiveWeights(root, f.Directors)
	return f
}

// For returns the configuration of one director, which is read-only. A
// file without [[director]] is valid for any. The error names the directors
// in the file.
func (f *File) For(director string) (*Config, error) {
	if len(f.Directors) == 0 {
		c := *f.configs[""]
		c.Director = director
		return &c, nil
	}
	if c, ok := f.configs[director]; ok {
		return c, nil
	}
	names := make([]string, len(f.Directors))
	for i, d := range f.Directors {
		names[i] = d.Name
	}
	return nil, fmt.Errorf("director %q is not in %s, which has %s: choose one of them with --director, or add a [[director]] of this name",
		director, f.Name, strings.Join(names, ", "))
}
