// Programs and URLs that are notified of events. Whether they exist is not checked.

package config

import (
	"net/url"
	"slices"
	"strings"

	"lvsd/config/reader"
	"lvsd/config/values"
)

// argvValue reads a program and its arguments.
func argvValue(t *reader.Table, name, example string) []string {
	command := t.Strings(name)
	switch {
	case !t.Valid(name) || !t.IsSet(name):
	case len(command) == 0:
		t.Errorf(name, `must hold a program at least, such as %s`, example)
	case !strings.HasPrefix(command[0], "/"):
		at, p := t.LocateItem(name, 0)
		t.ErrorAt(at, p, "must be an absolute path, not %s: no shell and no PATH is asked; for a shell's line write [\"/bin/sh\", \"-c\", \"…\"]", values.Quote(command[0]))
	case slices.ContainsFunc(command, func(s string) bool { return strings.ContainsRune(s, 0) }):
		t.Errorf(name, "must not contain a NUL byte")
	}
	return command
}

// notifyCommand reads the program that gets events; nil for an empty array.
func notifyCommand(t *reader.Table) []string {
	if t.Valid("notify") && len(t.Strings("notify")) == 0 {
		return nil
	}
	return argvValue(t, "notify", `["/etc/lvsd/notify"]`)
}

// webhookURL reads the URL that events are posted to.
func webhookURL(t *reader.Table) string {
	text := t.Str("webhook")
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsFunc(text, values.IsUnprintable) {
		t.Errorf("webhook", `must be a URL such as "https://alerts.example.com/lvsd", or "" for none, not %s`, values.Redact(text))
	}
	return text
}
