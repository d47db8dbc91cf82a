// This file finds and reads the files that the configuration file includes.

package configfile

import (
	"fmt"
	"path/filepath"
	"strings"

	"lvsd/config"
	"lvsd/config/include"
)

// maxIncluded bounds the number of files, so that a pattern such as "/*/*/*" ends.
const maxIncluded = 1000

// join returns the text of the file with those that it includes. The error is
// config.Errors where a file is wrong.
func (s *Source) join(text []byte) ([]byte, error) {
	patterns := include.Patterns(string(text))
	if len(patterns) == 0 {
		return text, nil
	}
	names, err := s.included(patterns)
	if err != nil {
		return nil, err
	}
	var pieces []include.Piece
	size := len(text)
	for _, name := range names {
		piece, err := Read(include.Path(s.Path, name))
		if err != nil {
			return nil, err
		}
		if size += len(piece); size > sizeLimit {
			return nil, fmt.Errorf("%s and the files that it includes have more than %d MiB", s.Path, sizeLimit>>20)
		}
		pieces = append(pieces, include.Piece{Name: name, Text: string(piece)})
	}
	joined, err := include.Join(s.Path, string(text), pieces)
	return []byte(joined), err
}

// included returns the names of the files that match the patterns, in their order, each
// once. A name without wildcards must exist. The error is config.Errors.
func (s *Source) included(patterns []include.Pattern) ([]string, error) {
	var all []string
	read := map[string]bool{filepath.Clean(s.Path): true}
	folder := filepath.Dir(s.Path)
	for i, p := range patterns {
		refuse := func(format string, args ...any) error {
			return config.Errors{{File: s.Path, Position: p.Position, Path: fmt.Sprintf("include[%d]", i), Message: fmt.Sprintf(format, args...)}}
		}
		pattern := include.Path(s.Path, p.Text)
		found, err := filepath.Glob(pattern)
		switch {
		case err != nil:
			return nil, refuse("%q is not a pattern: %v", p.Text, err)
		case len(found) == 0 && !strings.ContainsAny(p.Text, `*?[\`):
			return nil, refuse("there is no file %q: write a pattern such as \"conf.d/*.toml\", which may match none", p.Text)
		}
		for _, path := range found {
			name := path
			if !filepath.IsAbs(p.Text) {
				if name, err = filepath.Rel(folder, path); err != nil {
					return nil, refuse("%v", err)
				}
			}
			if !read[path] && !hidden(pattern, path) {
				all, read[path] = append(all, name), true
			}
		}
		if len(all) > maxIncluded {
			return nil, refuse("more than %d files match", maxIncluded)
		}
	}
	return all, nil
}

// hidden reports whether a wildcard of the pattern matched a name that begins with a dot,
// which those of a shell do not: editors and Ansible keep their unfinished files so.
func hidden(pattern, path string) bool {
	names := strings.Split(path, "/")
	for i, p := range strings.Split(pattern, "/") {
		if strings.HasPrefix(names[i], ".") && !strings.HasPrefix(p, ".") {
			return true
		}
	}
	return false
}

// Watched returns the paths whose changes may change the configuration: the file, and the
// patterns of those that it includes.
func (s *Source) Watched() []string {
	all := []string{s.Path}
	text, err := Read(s.Path)
	if err != nil {
		return all
	}
	for _, pattern := range include.Patterns(string(text)) {
		all = append(all, include.Path(s.Path, pattern.Text))
		found, _ := filepath.Glob(include.Path(s.Path, pattern.Text)) // links lead elsewhere
		all = append(all, found...)
	}
	return all
}
