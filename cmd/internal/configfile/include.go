// This file finds and reads the files that the configuration file includes.

package configfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"lvsd/cmd/internal/disk"
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
	pieces, err := s.included(patterns, len(text))
	if err != nil {
		return nil, err
	}
	joined, err := include.Join(s.Path, string(text), pieces)
	return []byte(joined), err
}

// included returns the files that match the patterns, in their order, each once. A name
// without wildcards must exist. size is that of the first file. The error is config.Errors.
func (s *Source) included(patterns []include.Pattern, size int) ([]include.Piece, error) {
	var all []include.Piece
	read := map[string]bool{filepath.Clean(s.Path): true}
	folder := filepath.Dir(s.Path)
	for i, p := range patterns {
		refuse := func(format string, args ...any) error {
			return config.Errors{{File: s.Path, Position: p.Position, Path: fmt.Sprintf("include[%d]", i), Message: fmt.Sprintf(format, args...)}}
		}
		pattern := include.Path(s.Path, p.Text)
		found, err := glob(pattern)
		switch {
		case errors.Is(err, disk.ErrHangs):
			return nil, refuse("%v", err)
		case err != nil:
			return nil, refuse("%q is not a pattern: %v", p.Text, err)
		case len(found) == 0 && !strings.ContainsAny(p.Text, `*?[\`):
			return nil, refuse("file %q does not exist: use a pattern such as \"conf.d/*.toml\", which may match no file", p.Text)
		}
		for _, path := range found {
			if read[path] || hidden(pattern, path) {
				continue
			}
			read[path] = true
			name := path
			if !filepath.IsAbs(p.Text) {
				if name, err = filepath.Rel(folder, path); err != nil {
					return nil, refuse("%v", err)
				}
			}
			text, err := Read(path)
			if err != nil {
				return nil, refuse("%v", err)
			}
			all = append(all, include.Piece{Name: name, Text: string(text)})
			switch size += len(text); {
			case len(all) > maxIncluded:
				return nil, refuse("more than %d files match", maxIncluded)
			case size > sizeLimit:
				return nil, refuse("the files have more than %d MiB", sizeLimit>>20)
			}
		}
	}
	return all, nil
}

// glob returns the paths that match a pattern, before the disk's deadline.
func glob(pattern string) ([]string, error) {
	return disk.Within(filepath.Dir(pattern), func() ([]string, error) { return filepath.Glob(pattern) })
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
		path := include.Path(s.Path, pattern.Text)
		found, _ := glob(path) // links lead elsewhere
		all = append(append(all, path), found...)
	}
	return all
}
