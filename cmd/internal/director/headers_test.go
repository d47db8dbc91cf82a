package director

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"lvsd/checker/probe"
	"lvsd/config"
)

func TestParseHeaders(t *testing.T) {
	for text, want := range map[string]string{
		"Authorization: Bearer abc\n":           "map[Authorization:Bearer abc]",
		"# of the check\n\nA: b: c\r\n X-D :\n": "line 4",
		"A: b\nC:d":                             "map[A:b C:d]",
		"":                                      "no header",
		"# nothing":                             "no header",
		"secretvalue":                           "line 1 is not a header",
		"A: b\nA: c":                            "line 2: duplicate header A",
		"A: b\na: c":                            "line 2: duplicate header A",
		"A:\nA: c":                              "line 2: duplicate header A",
		"host: x":                               "use the key host",
		"A: a\x00b":                             "line 1 is not a header",
	} {
		got, err := parseHeaders(text)
		said := fmt.Sprint(got)
		if err != nil {
			said = err.Error()
		}
		if !strings.Contains(said, want) {
			t.Errorf("%.40q: %s, want %s", text, said, want)
		}
		if strings.Contains(said, "secretvalue") {
			t.Errorf("shows what may be a secret: %s", said)
		}
	}
}

// TestHeadersFromAFile: they are added to the file's own, are secrets, and another
// text of them is another check.
func TestHeadersFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "headers")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf("[[virtual_service]]\nname = \"web\"\naddress = \"10.0.0.88:80\"\nreal_servers = [{ address = \"10.0.0.9:80\" }]\ncheck = { type = \"http\", headers = { A = \"1\" }, headers_file = %q }\n", file)
	f, err := config.Parse("lvsd.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	ts := targets{}
	if _, err := ts.read(c)(nil, c); err == nil || !strings.Contains(err.Error(), "lvsd.toml:5:") || !strings.Contains(err.Error(), "headers_file") {
		t.Errorf("a file that is not there: %v", err)
	}
	write(strings.Repeat("A", headersLimit) + ": b\n")
	if _, err := ts.read(c)(nil, c); err == nil || !strings.Contains(err.Error(), "larger than 16 KiB") {
		t.Errorf("a file that is too large: %v", err)
	}
	var before probe.Check
	for _, token := range []string{"first", "second"} {
		write("Authorization: Bearer " + token + "\n")
		change, err := ts.read(c)(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		change.Commit()
		targets, _ := ts.service(c.Services[0], nil)
		got := targets[0].Checks[0]
		if want := map[string]string{"A": "1", "Authorization": "Bearer " + token}; !reflect.DeepEqual(got.Headers, want) || !reflect.DeepEqual(got.Secrets, []string{"Bearer " + token, token}) {
			t.Errorf("%v, secrets %q", got.Headers, got.Secrets)
		}
		if reflect.DeepEqual(got, before) || ts.unchanged(c) {
			t.Error("the same check as before")
		}
		before = got
	}
}

// TestUserThatThereIsNot: the configuration is refused at its place; otherwise the
// check would never run.
func TestUserThatThereIsNot(t *testing.T) {
	for name, want := range map[string]string{"root": "", "no-such-user": "lvsd.toml:5:"} {
		text := "[[virtual_service]]\nname = \"web\"\naddress = \"10.0.0.88:80\"\nreal_servers = [{ address = \"10.0.0.9:80\" }, { address = \"10.0.0.20:80\" }]\ncheck = { type = \"exec\", command = [\"/bin/true\"], user = \"" + name + "\" }\n"
		f, err := config.Parse("lvsd.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c, err := f.For("lb1")
		if err != nil {
			t.Fatal(err)
		}
		_, err = new(targets).read(c)(nil, c)
		if (err == nil) != (want == "") || err != nil && (strings.Count(err.Error(), want) != 1 || !strings.Contains(err.Error(), name)) {
			t.Errorf("user %s: %v", name, err)
		}
	}
}

// FuzzHeaders: never a panic, no value in an error, and what is accepted is a header that
// a request can carry.
func FuzzHeaders(f *testing.F) {
	for _, text := range []string{"Authorization: Bearer 0123456789abcdef\n", "# a\n\nA:b\r\n", "Host: x", "no colon here at all", "A: 0123456789\nA: 0123456789", "A: \x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseHeaders(text)
		for name, value := range all {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) || strings.EqualFold(name, "host") {
				t.Errorf("%q: %q", name, value)
			}
		}
		if err == nil {
			return
		}
		for line := range strings.Lines(text) {
			_, value, _ := strings.Cut(line, ":")
			if value = strings.TrimSpace(value); len(value) > 16 && strings.Contains(err.Error(), value) {
				t.Errorf("a value is in the error %v", err)
			}
		}
	})
}
