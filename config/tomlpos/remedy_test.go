package tomlpos

import (
	"strings"
	"testing"
)

// TestSyntaxErrorsNameTheRemedy: common mistakes are explained, and others keep the
// library's message.
func TestSyntaxErrorsNameTheRemedy(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1\n<<<<<<< HEAD\nb = 2\n=======\nb = 3\n>>>>>>> theirs\n": "merge conflict",
		"=======\n":                     "merge conflict",
		"// a remark\na = 1\n":          "begins with #",
		"a = \"x\" // a remark\n":       "begins with #",
		"; a remark\n":                  "begins with #",
		"a: \"x\"\n":                    "there is =",
		"a = “x”\n":                     "typographic",
		"a = yes\n":                     "true or false",
		"a = off # really\n":            "true or false",
		"a = True\n":                    "true or false",
		"a = 10.0.0.9:80\n":             "in quotes",
		"a = 2s\n":                      "in quotes",
		"a = info\n":                    "in quotes",
		"a = [2001:db8::9]:80\n":        "in quotes",
		"a = [10.0.0.9, 10.0.0.10]\n":   "in quotes",
		"a = { b = 10.0.0.9:80 }\n":     "in quotes",
		"a = /usr/bin/true\n":           "in quotes",
		"a = 010\n":                     "leading zeroes",
		"a = \"x\n":                     "",
		"a b = 1\n":                     "",
		"a = { b = \"x\" c = \"y\" }\n": "",
		"[a\n":                          "",
		"a = 2026-13-01\n":              "",
		"a = \"http://x\" b\n":          "",
	} {
		_, err := Decode(text)
		if err == nil {
			t.Errorf("%q is accepted", text)
			continue
		}
		explained := false
		for _, remedy := range []string{"merge conflict", "begins with #", "there is =", "typographic", "true or false", "in quotes"} {
			explained = explained || strings.Contains(err.Message, remedy)
		}
		if !strings.Contains(err.Message, want) || want == "" && explained {
			t.Errorf("%q: %s, want %q", text, err.Message, want)
		}
	}
}

// TestARemedyQuotesNothing: the text may be a secret.
func TestARemedyQuotesNothing(t *testing.T) {
	_, err := Decode("password = hunter2hunter2\n")
	if err == nil || strings.Contains(err.Message, "hunter2") {
		t.Errorf("%v", err)
	}
}
