package config

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// sameFile reports whether two files are equal in everything visible of them, or
// could see after another text.
func sameFile(t *testing.T, what string, got, want *File) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: parsed after another text it is\n%+v\nalone\n%+v", what, got, want)
	}
}

// TestParseAfterIsParse cuts, pastes and changes lines of good files: whatever the
// text before was, the file and the mistakes are those of the text alone.
func TestParseAfterIsParse(t *testing.T) {
	files, err := filepath.Glob("testdata/good-*.toml")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	short := 0
	for _, base := range append(files, "", "", "") {
		text := farm(100)
		if base != "" {
			b, err := os.ReadFile(base)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		before, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", base, err)
		}
		for range 60 {
			next := edited(r, text)
			want, wantErr := Parse("f", []byte(next))
			got, gotErr := ParseAfter(before, "f", []byte(next))
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Fatalf("%s: parsed after another text: %v\nalone: %v\nin\n%s", base, gotErr, wantErr, next)
			}
			sameFile(t, base, got, want)
			if before.reparse("f", []byte(next)) != nil {
				short++
			}
			if wantErr == nil && r.IntN(4) > 0 {
				text, before = next, want
			}
		}
	}
	if short < 50 {
		t.Errorf("the short way was taken %d times: this test shows nothing", short)
	}
}

// edited changes a line or two.
func edited(r *rand.Rand, text string) string {
	lines := strings.SplitAfter(text, "\n")
	for range 1 + r.IntN(2) {
		i, j := r.IntN(len(lines)), r.IntN(len(lines))
		switch r.IntN(8) {
		case 0:
			lines[i], lines[j] = lines[j], lines[i]
		case 1:
			lines[i] = ""
		case 2:
			lines[i] += []string{"\n", "# x\n", "[ipvs.sync]\n", "x = '''\n", "[virtual_service.check]\n", "quorum = [\n", "]\n", "real_servers = []\n"}[r.IntN(8)]
		default: // a digit, most often of a weight
			if at := strings.IndexAny(lines[i], "123456789"); at >= 0 {
				if w := strings.Index(lines[i], "weight = "); w >= 0 {
					at = w + len("weight = ")
				}
				lines[i] = lines[i][:at] + string('0'+byte(r.IntN(10))) + lines[i][at+1:]
			}
		}
	}
	return strings.Join(lines, "")
}

// TestParseAfterDecodesWhatChanged: a changed weight is parsed incrementally, and what
// could make a difference elsewhere is not.
func TestParseAfterDecodesWhatChanged(t *testing.T) {
	base := farm(100)
	before, err := Parse("f", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	server := `{ address = "10.1.0.25", weight = 7 }`
	for name, c := range map[string]struct {
		old, new string
		short    bool
	}{
		"nothing":                      {"", "", true},
		"a weight":                     {server, `{ address = "10.1.0.25", weight = 8 }`, true},
		"a server drained":             {server, `{ address = "10.1.0.25", weight = 0 }`, true},
		"thresholds":                   {server, `{ address = "10.1.0.25", weight = 7, upper_threshold = 9 }`, true},
		"a comment":                    {server + ",", server + ", # why", true},
		"a mistake":                    {server, `{ address = "10.1.0.25", wieght = 8 }`, false},
		"a wrong value":                {server, `{ address = "10.1.0.25", weight = -8 }`, false},
		"a warning":                    {server, `{ address = "10.1.0.25", weight = 0, drain_until = "2030-01-01T00:00:00Z" }`, false},
		"no TOML":                      {server, `{ address = "10.1.0.25", weight = 8 `, false},
		"another server":               {server, `{ address = "10.1.0.250", weight = 7 }`, false},
		"another forward":              {server, `{ address = "10.1.0.25", weight = 7, forward = "nat" }`, false},
		"another name":                 {`name = "s1"`, `name = "t1"`, false},
		"another address":              {"10.0.0.88:1001", "10.0.0.88:1099", false},
		"another check":                {`"10.0.0.88:1001"` + "\nscheduler = \"wrr\"\ncheck = { type = \"http\"", `"10.0.0.88:1001"` + "\nscheduler = \"wrr\"\ncheck = { type = \"https\"", false},
		"a line more":                  {server + ",\n", server + ",\n\n", false},
		"an election's setting":        {"virtual_router_id = 51", "virtual_router_id = 52", false},
		"a string that reaches beyond": {server, `{ address = """10.1.0.25 }`, false},
		"a table of elsewhere":         {server + ",", server + "]\n[ipvs.sync]\nx = [", false},
	} {
		text := strings.Replace(base, c.old, c.new, 1)
		if c.old != "" && text == base {
			t.Fatalf("%s: nothing was replaced", name)
		}
		f := before.reparse("f", []byte(text))
		if (f != nil) != c.short {
			t.Errorf("%s: the short way was taken: %v", name, f != nil)
		}
		if f == nil {
			continue
		}
		want, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sameFile(t, name, f, want)
	}
	if before.reparse("g", []byte(base)) != nil {
		t.Error("a file of another name is parsed after this one")
	}
}

func BenchmarkParseAfter(b *testing.B) {
	for _, n := range []int{2000, 10_000, 37_205} {
		text := []byte(farm(n))
		next := []byte(strings.Replace(string(text), "10.1.0.25\", weight = 7", "10.1.0.25\", weight = 8", 1))
		before, err := Parse("f", text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint("servers=", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if before.reparse("f", next) == nil {
					b.Fatal("the whole was parsed")
				}
			}
		})
	}
}

// FuzzParseAfter: whatever the text before was, the file and the errors are those of the
// text alone. The second text is the first with a part replaced, as an editor does it.
func FuzzParseAfter(f *testing.F) {
	text := farm(5)
	weight := strings.Index(text, "weight = ") + len("weight = ")
	for _, insert := range []string{"7", "'''", "[[virtual_service]]\n", "\n", "]", ""} {
		f.Add(text, uint(weight), uint(1), insert)
	}
	files, err := filepath.Glob("testdata/good-*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), uint(len(text)/2), uint(1), "1")
	}
	f.Fuzz(func(t *testing.T, text string, at, cut uint, insert string) {
		before, err := Parse("f", []byte(text))
		if err != nil {
			return
		}
		from := min(int(at%(1<<20)), len(text))
		next := text[:from] + insert + text[min(from+int(cut%(1<<20)), len(text)):]
		want, wantErr := Parse("f", []byte(next))
		got, gotErr := ParseAfter(before, "f", []byte(next))
		if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Fatalf("parsed after another text: %v\nalone: %v\nin\n%s", gotErr, wantErr, next)
		}
		sameFile(t, next, got, want)
	})
}
