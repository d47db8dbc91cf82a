// Programs and mail at a change of state.

package keepalived

import (
	"slices"

	"lvsd/cmd/internal/convert"
)

// notifyKeys are the programs of one state, which have the same names in keepalived.
var notifyKeys = []string{"notify_master", "notify_backup", "notify_fault", "notify_stop"}

// notify reads a program of an instance or of a sync group, and reports whether the line
// names one. notify is for all states.
func (k *keepalived) notify(t *convert.Table, n *node) bool {
	keys := []string{n.keyword()}
	switch {
	case n.keyword() == "notify":
		keys = notifyKeys
	case !slices.Contains(notifyKeys, n.keyword()):
		return false
	}
	argv := convert.Argv(n.words[1:min(len(n.words), 2)])
	if len(argv) == 0 {
		k.note(convert.LeftOut, n, "names no program")
		return true
	}
	if n.keyword() != "notify" {
		k.note(convert.ToDo, n, "lvsd appends four arguments, which keepalived appends to those of notify only: INSTANCE or GROUP, the name, the state and the priority: see that the program does not mind them")
	}
	k.notifyUser(n)
	for _, key := range keys {
		if other := t.Entry(key); other != nil && !convert.Equal(other.Value, argv) {
			k.note(convert.ToDo, n, "keepalived runs this program and that of %s at the same change, and lvsd one: let that call this one, too", other.From.Text)
			continue
		}
		t.Set(key, argv, n.from)
	}
	return true
}

// serviceProgram reads a program of a virtual_server or a real_server.
func (k *keepalived) serviceProgram(t *convert.Table, n *node) {
	argv := convert.Argv(n.words[1:min(len(n.words), 2)])
	if len(argv) == 0 {
		k.note(convert.LeftOut, n, "names no program")
		return
	}
	k.notifyUser(n)
	t.Set(n.keyword(), argv, n.from)
	if n.keyword() == "notify_up" {
		k.notes.Hint("keepalived runs notify_up at its own start with alpha or rs_init_notifies only; lvsd runs it after a server's first successful check.")
	}
}

// notifyUser notes the user of a program, which lvsd has one of for all: script_user. A line
// never changes that.
func (k *keepalived) notifyUser(n *node) {
	common := ""
	if k.scriptUser != nil {
		common = k.scriptUser.arg(0)
		k.root.Child("global").Set("notify_user", common, k.scriptUser.from)
		k.notes.Add(convert.ToDo, k.scriptUser.from, needsRights)
	}
	user := n.arg(1)
	how := "keepalived runs the program as " + user
	if !n.quoted {
		how = "keepalived reads the word after the program, " + user + ", as a user and not as an argument"
	}
	switch {
	case user == "" && common == "":
		k.notes.Add(convert.ToDo, n.from, otherUser)
	case user == "" || user == common:
	case common == "":
		k.note(convert.ToDo, n, "%s; lvsd runs all these programs as its own user, or as notify_user in [global]", how)
	default:
		k.note(convert.ToDo, n, "%s; lvsd runs all these programs as one user, %s", how, common)
	}
}

// mail reads a keyword of global_defs about mail, and reports whether it is one.
func (k *keepalived) mail(n *node) bool {
	switch n.keyword() {
	case "notification_email":
		var to []string
		for _, c := range n.block {
			to = append(to, c.words...)
		}
		if len(to) > 0 {
			k.root.Child("email").Set("to", to, n.from)
		}
	case "notification_email_from":
		k.root.Child("email").Set("from", n.arg(0), n.from)
	case "smtp_server":
		k.root.Child("email").Set("server", convert.MailServer(n.arg(0), n.arg(1)), n.from)
	default:
		return false
	}
	return true
}

// mailKinds writes what mail is sent of. Unless smtp_alert says otherwise, keepalived sends
// mail of real servers alone.
func (k *keepalived) mailKinds(all []*node) {
	m, ok := k.root.Get("email").(*convert.Table)
	if !ok || !m.Has("to") {
		return
	}
	to := m.Entry("to")
	if !m.Has("server") {
		k.notes.Add(convert.Adjusted, to.From, "without smtp_server keepalived sends no mail: [email] is left out")
		k.root.Delete("email")
		return
	}
	global := &node{}
	for _, b := range all {
		if b.keyword() == "global_defs" {
			global.block = append(global.block, b.block...)
		}
	}
	every := alerts(global, "smtp_alert", false)
	ofVRRP, ofServices := alerts(global, "smtp_alert_vrrp", every), alerts(global, "smtp_alert_checker", every)
	ofServers := ofServices || global.find("smtp_alert") == nil && global.find("smtp_alert_checker") == nil
	sent := map[string]bool{}
	for _, b := range all {
		switch b.keyword() {
		case "vrrp_instance", "vrrp_sync_group":
			sent["vrrp"] = sent["vrrp"] || alerts(b, "smtp_alert", ofVRRP)
		case "virtual_server":
			sent["quorum"] = sent["quorum"] || alerts(b, "smtp_alert", ofServices)
			for _, rs := range b.block {
				sent["health"] = sent["health"] || rs.keyword() == "real_server" && alerts(rs, "smtp_alert", ofServers)
			}
		}
	}
	var kinds []string
	for _, kind := range []string{"vrrp", "health", "quorum"} {
		if sent[kind] {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		k.notes.Add(convert.Adjusted, to.From, "without smtp_alert keepalived sends mail of real servers alone, and here of none: [email] is left out")
		k.root.Delete("email")
		return
	}
	m.Set("kinds", kinds, to.From)
}

// alerts reports whether a block says that mail is sent.
func alerts(b *node, keyword string, otherwise bool) bool {
	n := b.find(keyword)
	if n == nil {
		return otherwise
	}
	return n.arg(0) == "" || yes(n.arg(0))
}
