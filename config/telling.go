// This file reads whom the daemon tells of what happens: programs and a URL.
// Whether they are there is seen when there is something to tell.
//
// PURE.
package config

import (
	"net/url"
	"slices"
	"strings"
)

// argv reads a program and its arguments.
func (c *record) argv(name, example string) []string {
	command := c.words(name)
	switch {
	case !c.good(name) || !c.set(name):
	case len(command) == 0:
		c.complain(name, `must hold a program at least, such as %s`, example)
	case !strings.HasPrefix(command[0], "/"):
		at, p := c.item(name, 0)
		c.fail(at, p, "must be an absolute path, not %s: no shell and no PATH is asked; for a shell's line write [\"/bin/sh\", \"-c\", \"…\"]", quoted(command[0]))
	case slices.ContainsFunc(command, func(s string) bool { return strings.ContainsRune(s, 0) }):
		c.complain(name, "must not contain a NUL byte")
	}
	return command
}

// notify reads a program that gets events; an empty array is none.
func (c *record) notify() []string {
	if c.good("notify") && len(c.words("notify")) == 0 {
		return nil
	}
	return c.argv("notify", `["/etc/lvsd/notify"]`)
}

// webhook reads where events are posted to.
func (c *record) webhook() string {
	text := c.str("webhook")
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsFunc(text, unprintable) {
		c.complain("webhook", `must be a URL such as "https://alerts.example.com/lvsd", or "" for none, not %s`, veiled(text))
	}
	return text
}
