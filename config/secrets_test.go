package config

import (
	"fmt"
	"strings"
	"testing"
)

// secretFile has a secret in each place where a file may have one itself; keys and
// passwords of VRRP, the exchange and http_listen are in files of their own.
const secretFile = `[global]
webhook = "https://hook:%[1]s@alerts.example.com/%[1]s?token=%[1]s"

[[virtual_service]]
name = "web"
address = "10.0.0.88:80"
check = [
  { type = "http", path = "/?key=%[1]s", headers = { Authorization = "Bearer %[1]s" }, method = "POST", body = "%[1]s" },
  { type = "tcp", steps = [{ send = "AUTH %[1]s\r\n", expect_text = "%[1]s" }] },
]
real_servers = [{ address = "10.0.0.9:80" }]
`

// TestNoSecretInAMistake: messages go to the log, the status, the events and the
// page, so whatever is wrong with a value that may be a secret, the message does not
// show it.
func TestNoSecretInAMistake(t *testing.T) {
	const secret = "Xq7Zt0Lw4Kp9Vn2Rb8Jd"
	good := fmt.Sprintf(secretFile, secret)
	if f, err := Parse("x", []byte(good)); err != nil {
		t.Fatal(err)
	} else if len(f.Warnings) > 0 {
		t.Fatal(f.Warnings)
	}
	refused, seen := 0, 0
	look := func(text string) {
		seen++
		f, err := Parse("x", []byte(text))
		if err == nil && f != nil {
			for _, w := range f.Warnings {
				if leak(w.Error(), secret) {
					t.Errorf("a warning shows it: %v", w)
				}
			}
			return
		}
		refused++
		if leak(err.Error(), secret) {
			t.Errorf("shown: %v", err)
		}
	}
	for i := 0; i <= len(good) && !t.Failed(); i++ {
		for _, put := range []string{"\"", "\\", "\n", "}", "]", "=", "\x00", "'", ",", " "} {
			look(good[:i] + put + good[i:])
		}
		if i < len(good) {
			look(good[:i] + good[i+1:])
			look(good[:i])
		}
	}
	// The value of each is refused for itself.
	for _, change := range [][2]string{
		{"https://hook", "ftp://hook"}, {"https://hook", "https://ho ok"}, {`"https://hook:`, `"https://%zz:`}, {"@alerts.example.com/", "@:/"},
		{"Authorization = \"Bearer ", "Authorization = \"Bearer \\n"}, {"Authorization", "\"Auth orization\""}, {"{ Authorization = \"Bearer " + secret + "\" }", "\"" + secret + "\""},
		{"body = \"", "body = \"\\u0000"}, {"body = \"" + secret + "\"", "body = 1"}, {"path = \"/?key=", "path = \"?key="}, {"path = \"/?key=", "path = \"/ ?key="},
		{"method = \"POST\"", "method = \"GET\""}, {"send = \"AUTH", "send_hex = \"AUTH"}, {"send = ", "sendd = "}, {"body = ", "boody = "}, {"expect_text = \"", "expect_hex = \""}, {"expect_text = \"", "expect = \"("},
		{"type = \"tcp\"", "type = \"udp\""}, {"webhook", "webhok"}, {"headers = ", "host = "},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if text == good {
			t.Fatalf("%q is not in the file", change[0])
		}
		look(text)
	}
	if refused < seen/2 {
		t.Errorf("only %d of %d texts were refused", refused, seen)
	}
}

// leak reports whether a text contains a part of a secret.
func leak(text, secret string) bool {
	for i := 0; i+8 <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+8]) {
			return true
		}
	}
	return false
}
