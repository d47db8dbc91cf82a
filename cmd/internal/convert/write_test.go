package convert

import (
	"strings"
	"testing"
	"testing/quick"

	"github.com/BurntSushi/toml"
)

// TestAnyStringIsWrittenSoThatItReadsTheSame holds quote against the reader of
// TOML.
func TestAnyStringIsWrittenSoThatItReadsTheSame(t *testing.T) {
	same := func(s string) bool {
		s = strings.ToValidUTF8(s, "�")
		root := &Table{}
		v := &Table{}
		v.Set("type", "tcp", Origin{})
		v.Set("send", s, Origin{})
		root.Set("check", v, Origin{})
		back, err := decoded(Literal(v))
		return err == nil && back["send"] == s
	}
	for _, s := range []string{"", `a\b`, `"`, `'`, `\'"`, "a\r\nb\x00\x7f\u2028", "it's \\ \"both\"", "#", "\ufeff"} {
		if !same(s) {
			t.Errorf("%q is not read back", s)
		}
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}

// decoded reads an inline table.
func decoded(inline string) (map[string]any, error) {
	var v struct{ V map[string]any }
	_, err := toml.Decode("V = "+inline, &v)
	return v.V, err
}
