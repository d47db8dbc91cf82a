// Reading the lines of keepalived.conf as described in keepalived.conf(5): comments,
// included files, conditional lines (@), definitions ($) and repetitions (~SEQ, ~LST).

package keepalived

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lvsd/cmd/internal/convert"
)

// Bounds for nested and recursive files.
const (
	maxInclude   = 32      // files within files
	maxLines     = 200_000 // after all repetitions
	maxWork      = 1 << 20 // lines read and generated; long ones count more
	maxLineBytes = 1 << 20 // after definitions
	maxBraces    = 1_000   // patterns of one include
)

// line is one line of configuration.
type line struct {
	text string
	from convert.Origin
}

// lineReader reads a file and what it includes.
type lineReader struct {
	world convert.Env
	id    string   // the director's name, which conditions are compared with
	ids   []string // the names of all directors
	notes *convert.Notes

	defined map[string]string
	read    map[string]bool // files, by name
	lines   []line
	depth   int // of files within files
	budget  int // of maxWork
	err     error
}

// keepalivedLines returns all lines of a file for one director.
func keepalivedLines(file, id string, ids []string, w convert.Env, n *convert.Notes) ([]line, error) {
	r := &lineReader{world: w, id: id, ids: ids, notes: n, defined: map[string]string{}, read: map[string]bool{}, budget: maxWork}
	text, err := w.Read(file)
	if err != nil {
		return nil, err
	}
	r.file(file, string(text))
	return r.lines, r.err
}

// file reads the text of one file.
func (r *lineReader) file(name, text string) {
	r.depth++
	defer func() { r.depth-- }()
	again := r.read[name] // the first reading of a file is free
	r.read[name] = true
	var definition []string // of several lines
	number := 0
	for raw := range strings.Lines(text) {
		number++
		from := convert.Origin{File: name, Line: number}
		if again {
			r.addCost(1+len(raw)/256, from)
		}
		if r.err != nil {
			return
		}
		text := strings.TrimSpace(uncomment(raw))
		if text == "" {
			continue
		}
		if definition != nil {
			more, goesOn := strings.CutSuffix(text, `\`)
			definition = append(definition, strings.TrimSpace(more))
			if !goesOn {
				r.define(strings.Join(definition, "\n"))
				definition = nil
			}
			continue
		}
		if first, goesOn := strings.CutSuffix(text, `\`); goesOn && assignment.MatchString(r.condition(text, from)) {
			definition = []string{strings.TrimSpace(r.condition(first, from))}
			continue
		}
		r.expand(text, from, path.Dir(name), 0)
	}
	if definition != nil {
		r.define(strings.Join(definition, "\n"))
	}
}

var includes = []string{"include", "includer", "includem", "includew", "includeb", "includea"}

// include reads the files that match a pattern, which is relative to the folder of the
// including file.
func (r *lineReader) include(pattern string, from convert.Origin) {
	from.Text = "include " + pattern
	if r.depth >= maxInclude {
		r.err = fmt.Errorf("%s:%d: %d files include each other: does one include itself?", from.File, from.Line, maxInclude)
		return
	}
	if !path.IsAbs(pattern) {
		pattern = path.Join(path.Dir(from.File), pattern)
	}
	found := 0
	for _, p := range braces(pattern) {
		names, err := r.world.Glob(p)
		if err != nil {
			r.notes.Add(convert.Lost, from, "cannot be read: "+err.Error())
		}
		for _, name := range names {
			found++
			if r.addCost(1, from); r.err != nil {
				return
			}
			text, err := r.world.Read(name)
			if err != nil {
				r.notes.Add(convert.Lost, from, "cannot be read: "+err.Error())
				continue
			}
			if r.file(name, string(text)); r.err != nil {
				return
			}
		}
	}
	switch {
	case found > 0:
	case strings.ContainsAny(pattern, "*?["):
		r.notes.Add(convert.LeftOut, from, "no file matches: copy what it includes, too, if there is any")
	default:
		r.notes.Add(convert.Lost, from, "there is no such file, and what it has is missing: copy it, too, to the place that the line says")
	}
}

// braces expands {a,b} in a pattern.
func braces(pattern string) []string {
	all := []string{pattern}
	for i := 0; i < len(all) && len(all) < maxBraces; {
		p := all[i]
		open := strings.LastIndexByte(p, '{')
		length := -1
		if open >= 0 {
			length = strings.IndexByte(p[open:], '}')
		}
		if length < 0 {
			i++
			continue
		}
		var spelt []string
		for choice := range strings.SplitSeq(p[open+1:open+length], ",") {
			spelt = append(spelt, p[:open]+choice+p[open+length+1:])
		}
		all = slices.Replace(all, i, i+1, spelt...)
	}
	return all
}

// uncomment removes a comment, which begins with # or ! outside of quotes.
func uncomment(s string) string {
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quote != 0 && i+1 < len(s):
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#' || c == '!':
			return s[:i]
		}
	}
	return s
}

// condition removes a condition from a line, and returns "" for a line that is not for
// this director.
func (r *lineReader) condition(text string, from convert.Origin) string {
	for strings.HasPrefix(text, "@") {
		word, rest, _ := strings.Cut(strings.ReplaceAll(text, "\t", " "), " ")
		id, negative := strings.CutPrefix(word[1:], "^")
		if !slices.Contains(r.ids, id) {
			from.Text = word
			r.notes.Add(convert.ToDo, from, fmt.Sprintf("the line is for a director called %s, and these are %s: name the directors in the command as keepalived does with --config-id",
				id, strings.Join(r.ids, ", ")))
		}
		if (id == r.id) == negative {
			return ""
		}
		text = strings.TrimSpace(rest)
	}
	return text
}

var (
	assignment = regexp.MustCompile(`^\$[A-Za-z_][A-Za-z0-9_]*=`)
	reference  = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}|\$[A-Za-z_][A-Za-z0-9_]*(?:[\s,)]|$)`)
	repetition = regexp.MustCompile(`^~(SEQx?|LST)\(`)
)

// addCost accounts for what is done, so that no file takes forever.
func (r *lineReader) addCost(cost int, from convert.Origin) {
	if r.budget -= cost; r.budget < 0 && r.err == nil {
		r.err = fmt.Errorf("%s:%d: too much: do definitions, repetitions or included files never end?", from.File, from.Line)
	}
}

// define reads $NAME=VALUE.
func (r *lineReader) define(text string) {
	name, value, _ := strings.Cut(text, "=")
	name = strings.TrimPrefix(name, "$")
	r.defined[name] = strings.TrimPrefix(strings.TrimSpace(value), "\n")
}

// expand substitutes definitions, expands repetitions, and appends the resulting lines.
func (r *lineReader) expand(text string, from convert.Origin, folder string, depth int) {
	if depth > 100 {
		r.budget = 0
	}
	if depth > 0 {
		r.addCost(1+len(text)/256, from)
	}
	if r.err != nil {
		return
	}
	text = r.condition(strings.TrimSpace(text), from)
	switch {
	case text == "":
		return
	case assignment.MatchString(text):
		r.define(text)
		return
	case repetition.MatchString(text):
		r.repeat(text, from, folder, depth)
		return
	}
	filled := r.substitute(text, folder)
	if len(filled) > maxLineBytes {
		r.err = fmt.Errorf("%s:%d: definitions that grow without end", from.File, from.Line)
		return
	}
	if filled != text {
		for part := range strings.SplitSeq(filled, "\n") {
			r.expand(part, from, folder, depth+1)
		}
		return
	}
	if word, rest, _ := strings.Cut(strings.ReplaceAll(text, "\t", " "), " "); slices.Contains(includes, word) {
		r.include(strings.Trim(strings.TrimSpace(rest), `"'`), from)
		return
	}
	if strings.Contains(text, "${_RANDOM") {
		from.Text = convert.Abbreviate(text)
		r.notes.Add(convert.LeftOut, from, "a random number is put in here: write one")
	}
	if len(r.lines) == maxLines {
		r.err = fmt.Errorf("%s:%d: more than %d lines", from.File, from.Line, maxLines)
		return
	}
	text = strings.NewReplacer("${_HASH}", "#", "${_BANG}", "!").Replace(text)
	r.lines = append(r.lines, line{text, from})
}

// substitute substitutes definitions once; expand repeats it for those within.
func (r *lineReader) substitute(text, folder string) string {
	return reference.ReplaceAllStringFunc(text, func(found string) string {
		name := strings.Trim(found, "${},) \t\n\v\f\r")
		end := ""
		if !strings.HasPrefix(found, "${") {
			end = found[1+len(name):]
		}
		switch value, known := r.defined[name]; {
		case known:
			return value + end
		case name == "_PWD":
			return folder + end
		case name == "_INSTANCE":
			return r.id + end
		}
		return found
	})
}

// repeat expands ~SEQ(var, start, step, end) and ~LST(var, a, b, …).
func (r *lineReader) repeat(text string, from convert.Origin, folder string, depth int) {
	kind := repetition.FindStringSubmatch(text)[1]
	start := len(kind) + 2
	end, level := -1, 0
	for i := start; i < len(text) && end < 0; i++ {
		switch {
		case text[i] == '{':
			level++
		case text[i] == '}':
			level--
		case text[i] == ')' && level <= 0:
			end = i
		}
	}
	from.Text = convert.Abbreviate(text)
	if end < 0 {
		r.notes.Add(convert.LeftOut, from, "the closing parenthesis is missing")
		return
	}
	inside := r.substitute(text[start:end], folder)
	rest := text[end+1:]
	names, rounds, complaint := splitCommas(inside), [][]string(nil), ""
	if len(names) < 2 {
		complaint = "needs a name and values"
	} else if kind == "LST" {
		rounds = valueLists(names[1:])
	} else {
		rounds, complaint = sequence(names[1:], kind == "SEQx")
	}
	if complaint != "" {
		r.notes.Add(convert.LeftOut, from, complaint)
		return
	}
	r.addCost(len(rounds), from)
	variables := valueLists(names[:1])[0]
	for _, values := range rounds {
		for i, v := range variables {
			if i < len(values) {
				r.defined[v] = values[i]
			}
		}
		if r.expand(rest, from, folder, depth+1); r.err != nil {
			return
		}
	}
	for _, v := range variables {
		delete(r.defined, v)
	}
}

// splitCommas splits at commas that are not in braces.
func splitCommas(s string) []string {
	var all []string
	level, begin := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			level++
		case '}':
			level--
		case ',':
			if level == 0 {
				all = append(all, strings.TrimSpace(s[begin:i]))
				begin = i + 1
			}
		}
	}
	return append(all, strings.TrimSpace(s[begin:]))
}

// valueLists removes the braces: {a,b} is two values, a is one.
func valueLists(all []string) [][]string {
	var out [][]string
	for _, s := range all {
		inner, braced := strings.CutPrefix(s, "{")
		if braced {
			out = append(out, splitCommas(strings.TrimSuffix(inner, "}")))
			continue
		}
		out = append(out, []string{s})
	}
	return out
}

// sequence counts from start to end.
func sequence(args []string, hex bool) (rounds [][]string, complaint string) {
	numbers := make([]int64, len(args))
	for i, a := range args {
		n, err := strconv.ParseInt(a, 0, 32)
		if err != nil {
			return nil, "needs numbers"
		}
		numbers[i] = n
	}
	start, step, end := int64(1), int64(0), numbers[len(numbers)-1]
	if end < 0 {
		start = -1
	}
	switch len(numbers) {
	case 1:
	case 2:
		start = numbers[0]
	case 3:
		start, step = numbers[0], numbers[1]
	default:
		return nil, "needs at most a start, a step and an end"
	}
	if step == 0 {
		step = 1
		if end < start {
			step = -1
		}
	}
	for n := start; step > 0 && n <= end || step < 0 && n >= end; n += step {
		if len(rounds) == maxWork {
			return nil, fmt.Sprintf("has more than %d steps", maxWork)
		}
		base := 10
		if hex {
			base = 16
		}
		rounds = append(rounds, []string{strconv.FormatInt(n, base)})
	}
	return rounds, ""
}
