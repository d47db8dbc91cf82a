package ipvsadm

import (
	"errors"
	"os"
	"strings"
	"testing"

	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/converttest"
)

// TestConvert compares conversions with reviewed results.
func TestConvert(t *testing.T) {
	for want, table := range map[string]string{"testdata/want.toml": "testdata/table.txt", "testdata/want-names.toml": "testdata/names.txt"} {
		t.Run(want, func(t *testing.T) {
			r, err := Convert(table, converttest.Env())
			converttest.Golden(t, want, r, err)
			if strings.Contains(r.TOML, "hush") {
				t.Error("a password is in the result")
			}
		})
	}
}

// TestNothing requires an error for a file without content, and for one that
// cannot be read.
func TestNothing(t *testing.T) {
	if _, err := Convert("f", converttest.File("# a comment\n")); !errors.Is(err, convert.ErrNothing) {
		t.Errorf("an empty file: %v", err)
	}
	env := convert.Env{Read: func(string) ([]byte, error) { return nil, os.ErrNotExist }}
	if _, err := Convert("f", env); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func FuzzConvert(f *testing.F) {
	converttest.Seeds(f, "testdata/*.txt")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Convert("a.txt", converttest.File(text))
		converttest.PassesOrFails(t, r, err)
	})
}
