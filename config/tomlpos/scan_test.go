package tomlpos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// offset converts a position to an offset, slowly and simply.
func offset(text string, at Position) int {
	text, skipped := text[bom(text):], bom(text)
	for range at.Line - 1 {
		end := strings.IndexByte(text, '\n')
		if end < 0 {
			return -1
		}
		skipped += end + 1
		text = text[end+1:]
	}
	for range at.Col - 1 {
		size := 0
		for i := range text {
			if i > 0 {
				size = i
				break
			}
		}
		if size == 0 {
			size = len(text)
		}
		if size == 0 {
			return -1
		}
		skipped += size
		text = text[size:]
	}
	return skipped
}

// placed compares the positions found in an accepted text with the text there: every
// key's place must show that key, every value's place a value of its type.
func placed(text string) error {
	document, err := Decode(text)
	if err != nil {
		return nil
	}
	return placedTable(text, "", document.Values, document.Root)
}

func placedTable(text, path string, values map[string]any, n *Node) error {
	if len(n.Names) != len(values) {
		return fmt.Errorf("%s: the scanner saw the keys %q, the library %d of them", path, n.Names, len(values))
	}
	for name, v := range values {
		c, ok := n.Children[name]
		if !ok {
			return fmt.Errorf("%s: no place for key %q", path, name)
		}
		at := offset(text, c.Key)
		if at < 0 {
			return fmt.Errorf("%s.%s: key at %v is outside of the text", path, name, c.Key)
		}
		rest := text[at:]
		if !strings.HasPrefix(rest, `"`) && !strings.HasPrefix(rest, "'") && (name == "" || !strings.HasPrefix(rest, name)) {
			return fmt.Errorf("%s.%s: at the key's place %v stands %.20q", path, name, c.Key, rest)
		}
		if err := placedValue(text, path+"."+name, v, c); err != nil {
			return err
		}
	}
	return nil
}

func placedValue(text, path string, v any, n *Node) error {
	at := offset(text, n.Value)
	if is := OffsetOf(text, n.Value); is != at {
		return fmt.Errorf("%s: %v is offset %d, not %d", path, n.Value, is, at)
	}
	if at < 0 || at >= len(text) {
		return fmt.Errorf("%s: value at %v is outside of the text", path, n.Value)
	}
	begins := ""
	switch v := v.(type) {
	case map[string]any:
		// A table that only its own keys or sub-tables imply has the position of its name.
		if c := text[at]; c == '{' || c == '[' || n.Key == n.Value {
			return placedTable(text, path, v, n)
		}
		begins = "{["
	case []map[string]any:
		if len(n.Items) != len(v) {
			return fmt.Errorf("%s: %d places for %d elements", path, len(n.Items), len(v))
		}
		for i := range v {
			if err := placedValue(text, fmt.Sprintf("%s[%d]", path, i), v[i], n.Items[i]); err != nil {
				return err
			}
		}
		begins = "["
	case []any:
		if len(n.Items) != len(v) {
			return fmt.Errorf("%s: %d places for %d elements", path, len(n.Items), len(v))
		}
		for i := range v {
			if err := placedValue(text, fmt.Sprintf("%s[%d]", path, i), v[i], n.Items[i]); err != nil {
				return err
			}
		}
		begins = "["
	case string:
		begins = `"'`
	case bool:
		begins = "tf"
	default:
		begins = "+-0123456789in"
	}
	if strings.IndexByte(begins, text[at]) < 0 {
		return fmt.Errorf("%s: at the value's place %v stands %.20q, not one of %s", path, n.Value, text[at:], begins)
	}
	return nil
}

// texts that cover every branch of the scanner.
var scanTexts = []string{
	"",
	"a = 1\r\n[b]\r\nc = 'x'\r\n",
	"\xef\xbb\xbfa = 1",
	"a.b . c = 1 # a comment = 2\na.'b'.\"d\" = 2",
	"\"a\\u00e9\\x41\\t\" = {\"\" = 1, '' = 2}",
	"[a.b]\nc = 1\n[a]\nd = 2\n[a.e.f]",
	"[[a]]\nb = 1\n[a.c]\nd = 2\n[[a.e]]\nf = 3\n[[a.e]]\nf = 4\n[[a]]\n[a.c]\nd = 5",
	"a = [ { b = 1, c.d = 2 }, {\n  # here\n  b = [[1, 2], [], [{}]],\n} ,\n]",
	"a = \"\"\"\none \"two\" ''' \\\"\"\" # no comment\n[no.header]\n\"\"\"\"\"\nb = 1",
	"a = '''\n\"\"\" \\'''''\nb = ''\nc = \"\"\nd = \"\"\"\"\"\"\ne = ''''''",
	"a = 1979-05-27 07:32:00 # t\nb = [1979-05-27 07:32:00Z, 07:32:00]\nc = +inf\nd = 0x_f",
	"ä = 1", "\"ä\" = \"ö\" # ü\n\"é\".x = [ \"ö\", 'ü', 3 ]",
	"a = {b = {c = {}}}\n[d] # [e]\n  [ f . g ] \n [[ h . i ]]\nj = 1",
	"a = [\"\\\"] # \", { b = 1 }, '\\', { c = 2 }, \"\"\"x\"\"\"\"\", { d = 3 }, '''''x''''', { e = 4 }]",
	"a = [{'' = 1}, 2, {b = 3}, {c = 4}]",
	"a = \"\\\\\"\nb = \"\\\"\"\nc = '\\'\n",
}

func TestPlaces(t *testing.T) {
	for _, text := range scanTexts {
		if err := placed(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	files, err := filepath.Glob("../testdata/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, "../../docs/lvsd.toml") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := placed(string(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzScan: the scanner never panics, and in a text that the library accepts all
// positions are right.
func FuzzScan(f *testing.F) {
	for _, text := range scanTexts {
		f.Add(text)
	}
	files, err := filepath.Glob("../testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		scan(text)
		if err := placed(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// TestDepth: the limit itself is allowed.
func TestDepth(t *testing.T) {
	for _, text := range []string{
		"a = " + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1),
		strings.Repeat("a.", maxDepth-1) + "a = 1",
		"a = " + strings.Repeat("{a=", maxDepth-1) + "1" + strings.Repeat("}", maxDepth-1),
	} {
		if _, s := scan(text); s.limit != "" {
			t.Errorf("%s: %s", text, s.limit)
		}
		if err := placed(text); err != nil {
			t.Error(err)
		}
	}
}
