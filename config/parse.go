// This file is the way in: from text to File, and from File to the Config of
// one director. It never reads the file itself.
//
// PURE.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxDirectors is far above the two that share a file.
const maxDirectors = 64

// Parse reads the text of a configuration file. The name is for messages only.
// The error is Errors: every mistake of the file, sorted by position. Where
// the text is no TOML that is the first mistake alone, since nothing after it
// can be trusted.
//
// Time and memory are bounded: texts over 16 MiB, or nested deeper than 64
// levels, are refused before they are parsed.
func Parse(name string, text []byte) (*File, error) {
	r := &reader{file: name, patterns: map[string]string{}}
	if len(text) > maxText {
		r.fail(Position{1, 1}, nil, "too large: %d bytes, at most %d MiB are read", len(text), maxText>>20)
		return nil, Errors(r.errors)
	}
	document, places, chunks := r.decode(string(text))
	if document == nil {
		return nil, Errors(r.errors)
	}
	r.directors = directorNames(document)
	root := r.table(document, places, rootTable, nil)
	f := r.build(root)
	if len(r.errors) > 0 {
		return nil, Errors(listed(r.errors, r.more, "mistakes"))
	}
	f.digested(string(text), chunks)
	f.Hash = hashOf(text)
	for _, c := range f.configs {
		c.Hash = f.Hash
	}
	f.Warnings, f.unlisted = listed(r.warnings, r.moreDoubt, "warnings"), r.moreDoubt > 0
	return f, nil
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:16]
}

// decode parses TOML into maps, and finds the place of everything in them. The
// map is nil when the text is refused, which has been noted then.
func (r *reader) decode(text string) (document map[string]any, places *node, chunks []chunk) {
	if at, complaint := unreadable(text); complaint != "" {
		r.fail(place(text, at), nil, "%s", complaint)
		return nil, nil, nil
	}
	places, s := scan(text)
	if s.limit != "" {
		r.fail(s.at, nil, "%s", s.limit)
		return nil, nil, nil
	}
	// The library panics on what it thinks impossible. A text must not end
	// the daemon.
	defer func() {
		if p := recover(); p != nil {
			r.fail(Position{1, 1}, nil, "not valid TOML: %s", longQuote.ReplaceAllString(fmt.Sprint(p), "…"))
			document = nil
		}
	}()
	if _, err := toml.Decode(text, &document); err != nil {
		r.syntax(text, err)
		return nil, nil, nil
	}
	if s.flaw != "" {
		r.fail(s.flawAt, (*path)(nil).key(s.flawKey), "%s", s.flaw)
		return nil, nil, nil
	}
	if document == nil {
		document = map[string]any{}
	}
	return document, places, s.chunks
}

// longQuote is how the library shows a stretch of the text, which may be a secret:
// messages go to the log and to the status.
var longQuote = regexp.MustCompile(`"[^"]{8,}"`)

// syntax notes the library's complaint. Its line is that of the end of a
// string of several lines, and its column counts bytes: only the offset is
// used.
func (r *reader) syntax(text string, err error) {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		r.fail(Position{1, 1}, nil, "not valid TOML: %v", err)
		return
	}
	at := place(text, pe.Position.Start+bom(text))
	message := "not valid TOML: " + longQuote.ReplaceAllString(pe.Message, "…")
	if strings.HasSuffix(pe.Message, "has already been defined.") {
		message = "defined twice: leave one out"
	}
	r.errors = append(r.errors, Error{r.file, at, pe.LastKey, message})
}

// build makes the File, with a Config for every director.
func (r *reader) build(root *record) *File {
	f := &File{Name: r.file, Directors: buildDirectors(root), configs: map[string]*Config{}}
	if len(f.Directors) > maxDirectors {
		root.complain("director", "%d directors are more than the %d that can share a file", len(f.Directors), maxDirectors)
		return f
	}
	if !root.set("vrrp") && !root.set("virtual_service") && len(r.errors) == 0 {
		// A file cut short by a full disk must not take every service away.
		r.fail(Position{1, 1}, nil, "has neither [[vrrp]] nor [[virtual_service]]: there is nothing to do")
	}
	services := buildServices(root)
	f.services = services
	selfServing(root, services, f.Directors)
	throughs(root, services)
	names := []string{""}
	if len(r.directors) > 0 {
		names = r.directors
	}
	for i, name := range names {
		c := &Config{
			Director:  name,
			Directors: f.Directors,
			File:      r.file,
			Global:    buildGlobal(root.child("global").of(name)),
			IPVS:      buildIPVS(root.child("ipvs").of(name), root),
			Services:  services,
		}
		var taken electionSet
		c.Instances, taken = buildElections(root, name, f.Directors, services)
		c.Guard = buildGuard(root.child("guard"), taken)
		c.Pair = buildPair(root, name, f.Directors, c.Instances)
		if i == 0 {
			uncovered(root, services, taken, len(f.Directors))
		}
		f.configs[name] = c
	}
	samePriority(root, f.Directors)
	lowered(root, f.Directors)
	return f
}

// For gives the configuration of one director, which is only to be read. A
// file that names no director is good for any. The error names the directors
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
