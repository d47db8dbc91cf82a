// Programs, URLs and mail addresses that are notified of events. Whether they exist is not
// checked.

package config

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lvsd/config/reader"
	"lvsd/config/schema"
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

// notifyCommand reads a program that is notified; nil for an empty array.
func notifyCommand(t *reader.Table, name string) []string {
	if t.Valid(name) && len(t.Strings(name)) == 0 {
		return nil
	}
	return argvValue(t, name, `["/etc/lvsd/notify"]`)
}

// statePrograms reads the programs of the states of an instance or a sync group.
func statePrograms(t *reader.Table) StatePrograms {
	return StatePrograms{
		NotifyMaster: notifyCommand(t, "notify_master"),
		NotifyBackup: notifyCommand(t, "notify_backup"),
		NotifyFault:  notifyCommand(t, "notify_fault"),
		NotifyStop:   notifyCommand(t, "notify_stop"),
	}
}

// buildSyncGroups builds the groups, each of which an instance must be in.
func buildSyncGroups(root *reader.Table) []SyncGroup {
	var all []SyncGroup
	var used []string
	for _, t := range root.Tables("vrrp") {
		if name := t.Str("sync_group"); name != "" {
			used = append(used, name)
		}
	}
	names := map[string]Position{}
	for _, t := range root.Tables("sync_group") {
		g := SyncGroup{Name: t.Str("name"), StatePrograms: statePrograms(t), Position: t.Start}
		if t.Valid("name") {
			claimName(t, "sync_group", g.Name, names)
			if values.CheckName(g.Name) == "" && !slices.Contains(used, g.Name) {
				t.Errorf("name", "no [[vrrp]] has sync_group = %s%s", values.Quote(g.Name), schema.Suggest(g.Name, used))
			}
		}
		all = append(all, g)
	}
	return all
}

// buildEmail builds [email] for the table's director; nil without recipients.
func buildEmail(t *reader.Table) *Email {
	m := &Email{To: t.Strings("to"), From: t.Str("from"), Server: t.Str("server"), TLS: t.Str("tls"), User: t.Str("user"),
		PasswordFile: pathValue(t, "password_file"), Kinds: t.Strings("kinds")}
	for i, a := range m.To {
		if !isMailAddress(a) {
			at, p := t.LocateItem("to", i)
			t.ErrorAt(at, p, `must be a mail address such as "oncall@example.com", not %s`, values.Quote(a))
		}
	}
	switch {
	case !t.IsSet("from"):
		m.From = "lvsd@" + cmp.Or(t.Director, "localhost")
	case t.Valid("from") && !isMailAddress(m.From):
		t.Errorf("from", `must be a mail address such as "lvsd@example.com", not %s`, values.Quote(m.From))
	}
	if !isServerAddress(m.Server) {
		t.Errorf("server", `must be a host and a port, such as "mail.example.com:25" or "[2001:db8::25]:25", not %s`, values.Quote(m.Server))
	}
	switch {
	case m.User != "" && m.PasswordFile == "" && t.Valid("password_file"):
		t.Errorf("user", "needs password_file, a file with the user's password")
	case m.User == "" && m.PasswordFile != "":
		t.Errorf("password_file", "needs user, whose password it is")
	case m.User != "" && m.TLS == "none":
		t.Errorf("tls", `must not be "none" with a user: the password would cross the network in the clear`)
	}
	if t.Valid("kinds") && len(m.Kinds) == 0 {
		t.Errorf("kinds", `must hold one kind of event at least; for no mail at all leave "to" empty`)
	}
	if len(m.To) == 0 {
		return nil
	}
	return m
}

// isMailAddress accepts what needs no quotes in a command of SMTP (RFC 5321 §4.1.2), in
// ASCII.
func isMailAddress(s string) bool {
	local, domain, found := strings.Cut(s, "@")
	special := func(r rune) bool {
		return values.IsUnprintable(r) || r > 0x7f || strings.ContainsRune(`()<>[]:;@\,"`, r)
	}
	return found && local != "" && domain != "" && !strings.ContainsFunc(local, special) && !strings.ContainsFunc(domain, special)
}

// isServerAddress accepts HOST:PORT, IPv4:PORT and [IPv6]:PORT.
func isServerAddress(s string) bool {
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Port() != 0
	}
	host, port, found := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	return found && err == nil && n > 0 && !values.IsIP(host) && values.CheckHostName(host) == ""
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
