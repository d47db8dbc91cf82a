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

// TestThePortOfAMark: masquerading sends to the server's port, which lvsd does not.
func TestThePortOfAMark(t *testing.T) {
	for text, noted := range map[string]bool{
		"-A -f 7 -s rr\n-a -f 7 -r 10.0.0.9:8080 -m -w 1\n":       true,
		"-A -f 7 -s rr\n-a -f 7 -r 10.0.0.9:8080 -g -w 1\n":       false,
		"-A -f 7 -s rr\n-a -f 7 -r 10.0.0.9:0 -m -w 1\n":          false,
		"-A -f 7 -s rr -p 60\n-a -f 7 -r 10.0.0.9:8080 -m -w 1\n": false,
	} {
		r, err := Convert("f", converttest.File(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(r.TOML, "to do") || !r.Complete(); got != noted {
			t.Errorf("%s: noted %v, want %v: %v", text, got, noted, r.Notes)
		}
	}
}

// TestAServiceWithoutItsServersIsLost: all lines -a are left out.
func TestAServiceWithoutItsServersIsLost(t *testing.T) {
	r, err := Convert("f", converttest.File("-A -t 10.0.0.88:80 -s rr\n-a -t 10.0.0.88:80 -r nowhere.example.net:80 -m\n-A -t 10.0.0.89:80 -s rr\n"))
	if err != nil || !r.Lost() || strings.Contains(r.TOML, `"10.0.0.88:80"`) || !strings.Contains(r.TOML, `"10.0.0.89:80"`) {
		t.Errorf("%v\n%s", err, r.TOML)
	}
}

// TestDiffShowsTheLine: what a line says is no default.
func TestDiffShowsTheLine(t *testing.T) {
	r, err := Convert("f", converttest.File("-A -t 10.0.0.88:80 -s rr -p 60\n-a -t 10.0.0.88:80 -r 10.0.0.9:80 -g -w 7\n"))
	if err != nil {
		t.Fatal(err)
	}
	converttest.GoldenText(t, "testdata/table.diff", r.Diff())
}

func FuzzConvert(f *testing.F) {
	converttest.Seeds(f, "testdata/*.txt")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Convert("a.txt", converttest.File(text))
		converttest.PassesOrFails(t, r, err)
	})
}
