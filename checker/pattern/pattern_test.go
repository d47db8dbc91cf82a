package pattern

import (
	"errors"
	"regexp/syntax"
	"testing"
)

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          int // the end of the match; -1: none
	}{
		{`^\+OK$`, "+OK\r\n", 4}, {`^\+OK$`, "+OK\n", 3}, {`^\+OK$`, "+OK", 3},
		{`^OK$`, "OK\n", 2}, {`^OK$`, "a\nOK\nb", 4}, {`^OK$`, "NOK", -1}, {`^OK$`, "OK \n", -1},
		{`^$`, "", 0}, {`^$`, "a\r\n\r\n", 4}, {`^$`, "a", -1},
		{`OK\r\n$`, "OK\r\n", 4}, {`^250 [^\r\n]+$`, "250-a\r\n250 b\r\n", 13},
		{`(a$)+\n`, "a\r\n", 3}, {`(?:x|a$)\s*b`, "a\r\nb", 4}, {`(?-m:^b$)`, "a\nb", -1}, {`(?-m:^b$)`, "b", 1},
		{`\Ab`, "a\nb", -1}, {`b\z`, "b\n", -1}, {`b\z`, "a\nb", 3},
		{`(?i)ok$`, "OK\r\n", 3}, {`a.c`, "a\nc", -1}, {`(?s)a.c`, "a\nc", 3}, {`a{2,3}?$`, "aaaa\r\n", 5},
		{`\xff\xfe`, "\x00\xff\xfe", 3}, {`\xff`, "ÿ", -1}, {`\377`, "\xff", 1}, {`[\x80-\xff]{2}`, "a\xe9\xff", 3},
		{`^\x00\x02(?s:.{2})\xce$`, "\x00\x02\xc3\xa9\xce", 5}, {`é\x80`, "é\x80", 3}, {`\\x80`, `\x80`, 4}, {`\\x80`, "\x80", -1},
		{`é`, "caf\u00e9", 5}, {`\x{e9}`, "\u00e9", 2}, {`[^a]`, "\xff", 1}, {`\pL`, "\u00e9", 2},
		{`a\x80$`, "a\x80\r\n", 3},
	} {
		p, err := Compile(tt.pattern)
		if err != nil {
			t.Errorf("%q: %v", tt.pattern, err)
			continue
		}
		if got := p.Find([]byte(tt.text)); got != tt.want {
			t.Errorf("%q in %q ends at %d, want %d", tt.pattern, tt.text, got, tt.want)
		}
	}
}

func TestCompile(t *testing.T) {
	for _, text := range []string{"(", `\8`, "a**", `[\xff-\x80]`} {
		var syntaxError *syntax.Error
		if _, err := Compile(text); !errors.As(err, &syntaxError) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzCompile: what RE2 accepts is compiled, and finds no match beyond the text.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`^\+OK$`, `(?i)a|b$`, `\xff[^\x80]`, `(a|$)*?`, `\Q$\E`, `é$`} {
		f.Add(s, []byte("+OK\r\n\xff"))
	}
	f.Fuzz(func(t *testing.T, text string, b []byte) {
		if _, err := syntax.Parse(text, syntax.Perl); err != nil {
			return
		}
		p, err := Compile(text)
		if err != nil {
			return // the size is limited
		}
		if end := p.Find(b); end < -1 || end > len(b) {
			t.Fatalf("%q in %q ends at %d", text, b, end)
		}
	})
}
