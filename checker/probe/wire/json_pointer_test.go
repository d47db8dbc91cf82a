package wire

import (
	"strings"
	"testing"
)

// TestJSONAt has the document and the pointers of RFC 6901 §5.
func TestJSONAt(t *testing.T) {
	const document = `{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8, "o": {"p": null}, "q": 1.0}`
	for pointer, want := range map[string]string{
		"/foo": `["bar","baz"]`, "/foo/0": "bar", "/": "0", "/a~1b": "1", "/c%d": "2", "/e^f": "3", "/g|h": "4", `/i\j`: "5", `/k"l`: "6", "/ ": "7", "/m~0n": "8",
		"/o/p": "null", "/q": "1.0",
	} {
		if got, err := JSONAt([]byte(document), pointer); got != want || err != nil {
			t.Errorf("%q: %q, %v", pointer, got, err)
		}
	}
	if got, err := JSONAt([]byte(" true\n"), ""); got != "true" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, pointer := range []string{"/none", "/foo/2", "/foo/-1", "/foo/x", "/o/p/q", "/q/0"} {
		if got, err := JSONAt([]byte(document), pointer); err == nil || !strings.Contains(err.Error(), "nothing at "+pointer) {
			t.Errorf("%q: %q, %v", pointer, got, err)
		}
	}
	for _, bad := range []string{"", "{", "ok", "<html>"} {
		if _, err := JSONAt([]byte(bad), "/a"); err == nil {
			t.Errorf("%q is JSON", bad)
		}
	}
}
