package keepalived

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/converttest"
)

// withoutEffect are keywords that lvsd does not need in any form, without a note.
var withoutEffect = map[string]bool{"state": true, "native_ipv6": true, "accept": true, "alpha": true, "enable_sni": true}

// withoutEffectHere are lines that are without effect because of other lines of their file.
var withoutEffectHere = map[string]string{
	"mail.conf:9":           "the only instance says it itself",
	"no-check.conf:2":       "a delay of no check",
	"unicast.conf:8":        "unicast is left to do, for want of a second director",
	"pair-condition.conf:8": "of the other director, with the value that the first one has",
	"keywords/lb1.conf:16":  "of the other director, with the value that the first one has",
	"track-script.conf:7":   "the instance has a weight of its own for the script",
	"file-check.conf:5":     "a delay of no check that is carried over",
}

// TestNoLineIsWithoutEffect: without any one line of a file, or with another value in it,
// the result is another one, in its text or in its notes: nothing is lost without a note.
func TestNoLineIsWithoutEffect(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, converttest.Samples(t, "usr/share/doc/keepalived/samples/keepalived.conf.*")...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		whole, notes := convertLines(file, lines)
		for i, line := range lines {
			word := strings.TrimSpace(uncomment(line))
			place := filepath.Base(file) + ":" + strconv.Itoa(i+1)
			if word == "" || strings.ContainsAny(word, "{}") || withoutEffect[strings.Fields(word)[0]] || withoutEffectHere[place] != "" || covered(notes, file, i+1) {
				continue
			}
			accounted := false
			for _, other := range variants(word) {
				changed := append([]string{}, lines...)
				changed[i] = other
				got, _ := convertLines(file, changed)
				if accounted = got != whole; accounted {
					break
				}
			}
			if !accounted {
				t.Errorf("%s: %s", place, word)
			}
		}
	}
}

// convertLines converts a file with other lines, for a pair.
func convertLines(file string, lines []string) (string, []convert.Note) {
	env := converttest.Env()
	env.Read = func(name string) ([]byte, error) {
		if name == file {
			return []byte(strings.Join(lines, "\n")), nil
		}
		return os.ReadFile(name)
	}
	r, err := Convert([]Source{{"lb1", file}, {"lb2", file}}, env)
	if err != nil {
		return err.Error(), nil
	}
	return r.TOML, r.Notes
}

// variants are a line without anything, and with another value.
func variants(line string) []string {
	words := strings.Fields(line)
	last := len(words) - 1
	other := words[last] + "x"
	if n, err := strconv.Atoi(words[last]); err == nil {
		other = strconv.Itoa(n + 7)
	}
	return []string{"", strings.Join(words[:last], " ") + " " + other}
}

var toLine = regexp.MustCompile(`… to line (\d+)$`)

// covered reports whether a line is within a block that a note is about as a whole.
func covered(notes []convert.Note, file string, line int) bool {
	for _, n := range notes {
		if m := toLine.FindStringSubmatch(n.Text); m != nil && n.File == file && n.Line <= line {
			if last, _ := strconv.Atoi(m[1]); line <= last {
				return true
			}
		}
	}
	return false
}
