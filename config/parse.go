// This file is the way in: from text to File, and from File to the Config of
// one director. It never reads the file itself.
//
// PURE.
package config

import (
	"fmt"
	"strings"
)

// Parse reads the text of a configuration file. The name is for messages only.
// The error is Errors: every mistake of the file, sorted by position.
func Parse(name string, text []byte) (*File, error) {
	return nil, Errors{{File: name, Position: Position{1, 1}, Message: "not written yet"}}
}

// For gives the configuration of one director. A file that names no director
// is good for any. The error names the directors in the file.
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
