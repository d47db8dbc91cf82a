// Common mistakes in the syntax, which the library reports by what it met instead of by
// what to write.

package tomlpos

import (
	"regexp"
	"slices"
	"strings"
)

var (
	mergeMarker = regexp.MustCompile(`^(<{7}|={7}|>{7}|\|{7})( |$)`)
	foreignNote = regexp.MustCompile(`^(//|;|/\*)|^[^#"']*=\s*("[^"]*"|'[^']*'|[^\s"'/]+)\s+(//|/\*)`)
	colonPair   = regexp.MustCompile(`^[A-Za-z0-9_-]+\s*:(\s|$)`)
	numeric     = regexp.MustCompile(`^([+-]?[0-9_]+(\.[0-9_]+)?([eE][+-]?[0-9]+)?|0[xob][0-9a-fA-F_]+|\d{4}-\d\d?-\d\d?.*)$`)
	booleans    = []string{"yes", "no", "on", "off", "true", "false"}
)

// remedy returns what to write in place of a line that the library refused at this
// offset; "" where it shows no common mistake. It quotes nothing of the line, which may
// hold a secret.
func remedy(text string, offset int) string {
	offset = min(max(offset, 0), len(text))
	begin := strings.LastIndexByte(text[:offset], '\n') + 1
	line, _, _ := strings.Cut(text[begin:], "\n")
	trimmed := strings.TrimSpace(line)
	switch {
	case mergeMarker.MatchString(trimmed):
		return "an unresolved merge conflict: keep one side, and remove the lines with <<<<<<<, ======= and >>>>>>>"
	case foreignNote.MatchString(trimmed):
		return "a comment begins with #"
	case colonPair.MatchString(trimmed):
		return "between a key and its value there is =, not :"
	case strings.ContainsAny(line, "“”„‘’"):
		return `quotes are " or ', not typographic ones`
	}
	before := line[:min(offset-begin, len(line))]
	start := strings.LastIndexAny(before, "=[,{") + 1
	if !strings.Contains(before, "=") {
		return "" // the mistake is not in a value
	}
	word := strings.TrimLeft(line[start:], " \t")
	if end := strings.IndexAny(word, " \t\r,]}#"); end >= 0 {
		word = word[:end]
	}
	switch {
	case word == "", strings.ContainsAny(word[:1], `"'[{=`), numeric.MatchString(word), word == "true", word == "false":
		return ""
	case slices.Contains(booleans, strings.ToLower(word)):
		return "write true or false; a text, such as a type of check, must be in quotes"
	}
	return `a text must be in quotes, such as "10.0.0.88:80" or "2s"`
}
