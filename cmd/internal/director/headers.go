package director

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"lvsd/cmd/internal/disk"
)

// headersLimit bounds the size of a headers_file, which has secrets that do not belong in
// the configuration. No message shows a value.
const headersLimit = 16 << 10

// addHeaders reads a headers_file that was not read yet.
func (f files) addHeaders(file string) error {
	if _, done := f.headers[file]; done || file == "" {
		return nil
	}
	text, err := disk.Read(file, headersLimit)
	if err != nil {
		return fmt.Errorf("failed to read headers_file: %w", err)
	}
	if f.headers[file], err = parseHeaders(string(text)); err != nil {
		return fmt.Errorf("headers_file %s: %w", file, err)
	}
	return nil
}

// parseHeaders reads "Name: value" lines. Empty ones and those that begin with # are
// skipped.
func parseHeaders(text string) (map[string]string, error) {
	all := map[string]string{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case !found || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value):
			return nil, fmt.Errorf(`line %d is not a header: write "Name: value"`, n)
		case strings.EqualFold(name, "Host"):
			return nil, fmt.Errorf("line %d: use the key host of the check for the Host header", n)
		}
		name = http.CanonicalHeaderKey(name)
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("line %d: duplicate header %s", n, name)
		}
		all[name] = value
	}
	if len(all) == 0 {
		return nil, fmt.Errorf(`contains no header: write one "Name: value" per line`)
	}
	return all, nil
}

// secretsOf returns the values, and of "Bearer abc" also the second word.
func secretsOf(headers map[string]string) (all []string) {
	for _, value := range slices.Sorted(maps.Values(headers)) {
		all = append(all, value)
		if i := strings.LastIndexByte(value, ' '); i >= 0 {
			all = append(all, value[i+1:])
		}
	}
	return all
}
