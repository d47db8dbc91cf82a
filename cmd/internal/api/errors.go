package api

import (
	"errors"
	"strings"

	"lvsd/config"
)

// Lines splits an error into its single errors, each with its place.
func Lines(err error) []string {
	if err == nil {
		return nil
	}
	// Only errors.Join lists; fmt.Errorf with several %w is one text.
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var lines, texts []string
		for _, e := range joined.Unwrap() {
			lines = append(lines, Lines(e)...)
			texts = append(texts, e.Error())
		}
		if strings.Join(texts, "\n") == err.Error() {
			return lines
		}
		return []string{err.Error()}
	}
	var mistakes config.Errors
	if errors.As(err, &mistakes) {
		var lines []string
		for _, m := range mistakes {
			lines = append(lines, m.Error())
		}
		return lines
	}
	return []string{err.Error()}
}
