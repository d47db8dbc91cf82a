// The conversion of a file: its blocks, global_defs, and the files of a pair.

package keepalived

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/cmd/internal/convert"
)

// Source is a file and the director that it is of.
type Source struct{ Director, File string }

// keepalived is the conversion of one director's file.
type keepalived struct {
	notes    *convert.Notes
	director string
	root     *convert.Table

	version    int   // of VRRP, of instances without one
	strict     bool  // vrrp_strict
	startup    *node // vrrp_startup_delay
	scriptUser *node // script_user
	scripts    map[string]*node
	files      map[string]*node // track_file
	instances  map[string]*node
	groups     []*node           // vrrp_sync_group
	addresses  map[string]*node  // virtual_server_group
	certs      []convert.Entry   // keys of TLS, from the block SSL
	names      map[string]string // in the result, by those in the file
	used       convert.Namer     // names of instances
	services   convert.Namer
	unicast    map[string]unicastAddresses // by the name of an instance
	sync       *node                       // lvs_sync_daemon
}

// unicastAddresses are those of unicast advertisements.
type unicastAddresses struct {
	source netip.Addr
	peers  []netip.Addr
	from   convert.Origin
	sent   *node // unicast_ttl
	lowest int   // min_ttl, the lowest of the peers; -1 = not said
}

// hops returns how many routers lvsd must allow between the directors for adverts that
// keepalived accepts: lvsd sends with a TTL of 255.
func (u unicastAddresses) hops() int {
	switch {
	case u.lowest >= 0:
		return min(maxTTL-u.lowest, maxTTL-1)
	case u.sent != nil:
		return min(maxTTL-number(u.sent.arg(0), maxTTL), maxTTL-1)
	}
	return 0
}

const maxTTL = 255

// Convert converts the files of a pair, or of one director.
func Convert(sources []Source, w convert.Env) (convert.Result, error) {
	if len(sources) == 0 {
		return convert.Result{}, errors.New("no file is named")
	}
	n := &convert.Notes{}
	var directors, files []string
	for _, s := range sources {
		if slices.Contains(directors, s.Director) {
			return convert.Result{}, fmt.Errorf("duplicate director %s", s.Director)
		}
		directors = append(directors, s.Director)
		if !slices.Contains(files, s.File) {
			files = append(files, s.File)
		}
	}
	var documents []*convert.Table
	speaks := map[string]map[string]unicastAddresses{}
	for _, s := range sources {
		lines, err := keepalivedLines(s.File, s.Director, directors, w, n)
		if err != nil {
			return convert.Result{}, err
		}
		k := &keepalived{notes: n, director: s.Director, root: &convert.Table{From: convert.Origin{File: s.File}}, version: 2,
			scripts: map[string]*node{}, files: map[string]*node{}, instances: map[string]*node{}, addresses: map[string]*node{},
			names: map[string]string{}, used: convert.Namer{}, services: convert.Namer{}, unicast: map[string]unicastAddresses{}}
		for _, name := range directors {
			one := &convert.Table{}
			one.Set("name", name, convert.Origin{})
			k.root.Append("director", one)
		}
		k.convert(blocks(lines, n))
		if len(documents) > 0 {
			k.rename(documents[0])
		}
		documents = append(documents, k.root)
		for name, sp := range k.unicast {
			if speaks[name] == nil {
				speaks[name] = map[string]unicastAddresses{}
			}
			speaks[name][s.Director] = sp
		}
	}
	root := convert.Merge(directors, documents, n)
	unicast(root, directors, speaks, n)
	keepalivedHints(root, n)
	return convert.Finish("keepalived", files, root, n)
}

// rename gives an instance the name that it has on the first director, which is the one
// with its virtual router ID and first address.
func (k *keepalived) rename(first *convert.Table) {
	id := func(e *convert.Table) [2]any {
		var address any
		switch all := e.Get("addresses").(type) {
		case []string:
			if len(all) > 0 {
				address = all[0]
			}
		case []any:
			address = all[0]
			if t, elsewhere := address.(*convert.Table); elsewhere {
				address = t.Str("address")
			}
		}
		return [2]any{e.Get("virtual_router_id"), address}
	}
	there := map[[2]any]string{}
	for _, e := range first.Tables("vrrp") {
		there[id(e)] = e.Str("name")
	}
	names, taken := map[string]string{}, map[string]bool{}
	for _, e := range k.root.Tables("vrrp") {
		if name := there[id(e)]; name != "" && !taken[name] {
			names[e.Str("name")], taken[name] = name, true
		}
	}
	unicast := map[string]unicastAddresses{}
	for name, addresses := range k.unicast {
		unicast[cmp.Or(names[name], name)] = addresses
	}
	k.unicast = unicast
	for _, e := range k.root.Tables("vrrp") {
		old := e.Str("name")
		name := names[old]
		if name == "" && taken[old] {
			name = convert.Namer(map[string]int{old: 1}).Unique(old, "instance")
		}
		if name == "" || name == old {
			continue
		}
		k.notes.Add(convert.NotNeeded, e.From, "is called "+name+" here, as on the other director")
		e.Set("name", name, e.Entry("name").From)
		if a, ok := e.Get("authentication").(*convert.Table); ok {
			a.Set("key_file", passwordFile(name), a.From)
		}
	}
	ipvs, _ := k.root.Get("ipvs").(*convert.Table)
	if ipvs == nil {
		return
	}
	if sync, ok := ipvs.Get("sync").(*convert.Table); ok && names[sync.Str("vrrp")] != "" {
		sync.Set("vrrp", names[sync.Str("vrrp")], sync.From)
	}
}

// passwordFile is where the password of an instance is to be written.
func passwordFile(instance string) string { return "/etc/lvsd/" + instance + ".pass" }

// convert goes through the blocks: first those that others refer to.
func (k *keepalived) convert(all []*node) {
	for _, b := range all {
		switch b.keyword() {
		case "global_defs":
			for _, n := range b.block {
				k.global(n)
			}
		case "vrrp_script":
			k.scripts[b.arg(0)] = b
		case "track_file", "vrrp_track_file":
			k.files[b.arg(0)] = b
		case "vrrp_instance":
			if k.instances[b.arg(0)] != nil {
				k.note(convert.Adjusted, b, "an instance before has this name, and keepalived ignores this one")
				b.ignored = true
				continue
			}
			k.instances[b.arg(0)] = b
			k.names[b.arg(0)] = k.used.Unique(b.arg(0), "instance")
		case "vrrp_sync_group":
			k.groups = append(k.groups, b)
		case "virtual_server_group":
			k.addresses[b.arg(0)] = b
		case "SSL":
			k.tls(b)
		}
	}
	k.validate(all)
	for _, b := range all {
		if b.ignored {
			continue
		}
		switch b.keyword() {
		case "global_defs", "vrrp_script", "track_file", "vrrp_track_file", "vrrp_sync_group", "virtual_server_group", "SSL":
		case "vrrp_instance":
			k.instance(b)
		case "virtual_server":
			k.virtualServer(b)
		default:
			k.leaveOut(b, topLevelKeywords, "is not a block that keepalived.conf(5) describes")
		}
	}
	k.syncGroups()
	k.syncDaemon()
	k.mailKinds(all)
	for _, b := range all {
		switch b.keyword() {
		case "vrrp_script", "track_file", "vrrp_track_file", "virtual_server_group":
			if !b.used {
				k.notes.Add(convert.NotNeeded, b.whole(), "nothing that is carried over refers to it")
			}
		}
	}
}

// leaveOut notes a keyword after a table of reasons.
func (k *keepalived) leaveOut(n *node, reasons map[string]convert.Reason, otherwise string) {
	r, known := reasons[n.keyword()]
	if !known {
		r = convert.Unsupported(otherwise)
	}
	if r.Kind == "" {
		return
	}
	k.notes.Add(r.Kind, n.whole(), r.Why)
}

func (k *keepalived) note(kind convert.Kind, n *node, format string, args ...any) {
	k.notes.Add(kind, n.from, fmt.Sprintf(format, args...))
}

// global reads a keyword of global_defs.
func (k *keepalived) global(n *node) {
	switch word := n.keyword(); word {
	case "vrrp_version":
		if v, ok := convert.ParseInt(n.arg(0), 2, 3); ok {
			k.version = v
			return
		}
		k.note(convert.LeftOut, n, "is neither 2 nor 3")
	case "vrrp_startup_delay":
		if _, ok := convert.ParseSeconds(n.arg(0)); ok {
			k.startup = n
			return
		}
		k.note(convert.LeftOut, n, "%q is not understood", n.arg(0))
	case "script_user":
		k.scriptUser = n
	case "vrrp_strict":
		k.strict = true
		k.leaveOut(n, globalKeywords, "")
	case "lvs_sync_daemon":
		k.sync = n
	case "lvs_timeouts":
		k.timeouts(n)
	case "lvs_flush_on_stop":
		k.root.Child("ipvs").Set("on_stop", "remove", n.from)
	case "vrrp_mcast_group4", "vrrp_mcast_group6":
		if n.arg(0) != "224.0.0.18" && n.arg(0) != "ff02::12" {
			k.note(convert.LeftOut, n, "lvsd uses the group that RFC 9568 assigns, or unicast")
		}
	case "vrrp_garp_master_refresh":
		if n.arg(0) != "0" {
			k.leaveOut(n, vrrpKeywords, "")
		}
	default:
		if k.mail(n) {
			return
		}
		if _, known := globalKeywords[word]; !known {
			if r, of := vrrpKeywords[strings.TrimPrefix(word, "vrrp_")]; of {
				k.notes.Add(r.Kind, n.from, r.Why)
				return
			}
		}
		k.leaveOut(n, globalKeywords, "is not a setting that keepalived.conf(5) describes")
	}
}

// timeouts reads lvs_timeouts tcp 900 tcpfin 120 udp 300.
func (k *keepalived) timeouts(n *node) {
	keys := map[string]string{"tcp": "timeout_tcp", "tcpfin": "timeout_tcp_fin", "tcp_fin": "timeout_tcp_fin", "udp": "timeout_udp"}
	for i := 0; i < len(n.args()); i += 2 {
		d, ok := convert.ParseSeconds(n.arg(i + 1))
		key := keys[n.arg(i)]
		if key == "" || !ok {
			k.note(convert.LeftOut, n, "%q is not understood", n.arg(i))
			continue
		}
		k.root.Child("ipvs").Set(key, d, n.from)
	}
}

// syncDaemon reads lvs_sync_daemon IFACE [[inst] NAME] [id N] [maxlen N] ….
func (k *keepalived) syncDaemon() {
	n := k.sync
	if n == nil {
		return
	}
	t := &convert.Table{From: n.from}
	t.Set("interface", n.arg(0), n.from)
	for i := 1; i < len(n.args()); i++ {
		word := n.arg(i)
		switch {
		case word == "id" || word == "syncid":
			i++
			if id, ok := convert.ParseInt(n.arg(i), 0, 255); ok {
				t.Set("id", id, n.from)
			}
		case slices.Contains([]string{"maxlen", "port", "ttl"}, word):
			i++
			if v, ok := convert.ParseInt(n.arg(i), 0, 65535); ok {
				t.Set(word, v, n.from)
			}
		case word == "group":
			i++
			t.Set("group", n.arg(i), n.from)
		default:
			if word == "inst" {
				i++
			}
			k.syncFor(t, n.arg(i), n)
		}
	}
	if !t.Has("id") {
		k.note(convert.LeftOut, n, "has no id from 1 to 255, which distinguishes pairs on the network")
		return
	}
	k.root.Child("ipvs").Set("sync", t, n.from)
}

// syncFor names the instance whose mastership the synchronisation shows.
func (k *keepalived) syncFor(t *convert.Table, instance string, n *node) {
	vrrp, known := k.instances[instance]
	if !known {
		k.note(convert.LeftOut, n, "there is no vrrp_instance %s", instance)
		return
	}
	t.Set("vrrp", k.names[instance], n.from)
	for _, c := range vrrp.block {
		if id, ok := convert.ParseInt(c.arg(0), 1, 255); ok && c.keyword() == "virtual_router_id" && !t.Has("id") {
			t.Set("id", id, n.from)
		}
	}
}

// user returns the line with the user that a script of b runs as: its own, or script_user;
// nil where neither is said.
func (k *keepalived) user(b *node) *node {
	n := cmp.Or(b.find("user"), k.scriptUser)
	if n == nil {
		k.notes.Add(convert.ToDo, b.from, otherUser)
		return nil
	}
	k.notes.Add(convert.ToDo, n.from, needsRights)
	return n
}

const otherUser = "without script_user, keepalived runs programs as the user keepalived_script if there is one, or else as root; lvsd runs them as its own user, which in the unit of its packages is lvsd, with CAP_NET_ADMIN and CAP_NET_RAW and no other right: see that the program needs no more"

const needsRights = "programs run as this user, for which lvsd needs CAP_SETUID and CAP_SETGID; or take user, notify_user and setpriv out of the result, and let lvsd's own user run them"

// asUser returns a command that runs as another user, whose group has the user's name
// unless another is said.
func asUser(argv []string, user *node) []string {
	if user == nil || len(argv) == 0 {
		return argv
	}
	return append([]string{"/usr/bin/setpriv", "--reuid=" + user.arg(0), "--regid=" + cmp.Or(user.arg(1), user.arg(0)), "--init-groups"}, argv...)
}

// tls reads the block SSL, which is of every SSL_GET.
func (k *keepalived) tls(b *node) {
	for _, n := range b.block {
		switch n.keyword() {
		case "certificate":
			k.certs = append(k.certs, convert.Entry{Key: "cert_file", Value: n.arg(0), From: n.from})
		case "key":
			k.certs = append(k.certs, convert.Entry{Key: "key_file", Value: n.arg(0), From: n.from})
		case "ca":
			k.note(convert.LeftOut, n, "keepalived does not judge a server's certificate by it; in lvsd, ca_file and verify = true in a check do")
		case "password":
			k.note(convert.LeftOut, n, "lvsd reads keys without a password only")
		default:
			k.note(convert.LeftOut, n, "is not a setting of SSL that keepalived.conf(5) describes")
		}
	}
}

// unicast returns each instance the addresses of its directors: what each says of
// itself, or else what the others say of it.
func unicast(root *convert.Table, directors []string, speaks map[string]map[string]unicastAddresses, n *convert.Notes) {
	for _, e := range root.Tables("vrrp") {
		by := speaks[e.Str("name")]
		if len(by) == 0 {
			continue
		}
		var from convert.Origin
		own := convert.ByDirector{}
		for _, d := range directors {
			sp := by[d]
			if sp.from.Line > 0 && (from.Line == 0 || sp.from.File == from.File) {
				from = sp.from
			}
			a := sp.source
			for _, other := range directors {
				if o := by[other]; !a.IsValid() && other != d && len(o.peers) == 1 && len(directors) == 2 {
					a = o.peers[0]
				}
			}
			if a.IsValid() {
				own[d] = a.String()
			}
		}
		if same := sameAddress(own, directors); same != "" {
			n.Add(convert.ToDo, from, "both directors have the unicast address "+same+": write each one's own")
			continue
		}
		if len(own) < len(directors) || len(own) < 2 {
			n.Add(convert.ToDo, from, "unicast needs the address of every director: convert the files of both together, as lb1=FILE lb2=FILE, or add them to the [[director]]")
			continue
		}
		e.Set("unicast", own, from)
		for _, d := range directors {
			if by[d].from.Line > 0 {
				e.Extend("unicast", own, by[d].from)
			}
		}
		for _, d := range directors {
			for _, peer := range by[d].peers {
				if !slices.ContainsFunc(directors, func(d string) bool { return own[d] == peer.String() }) {
					n.Add(convert.ToDo, by[d].from, fmt.Sprintf("the peer %s is not among the converted directors, and lvsd communicates only with these: convert the file of each director, as lb3=FILE, or take it out of the old pair", peer))
				}
			}
		}
		unicastHops(e, directors, by, n)
		for _, d := range root.Tables("director") {
			if !d.Has("address") {
				d.Set("address", own[d.Str("name")], from)
			}
		}
	}
}

// unicastHops writes how many routers may be between the directors.
func unicastHops(e *convert.Table, directors []string, by map[string]unicastAddresses, n *convert.Notes) {
	hops, all := 0, []netip.Addr(nil)
	for _, d := range directors {
		hops = max(hops, by[d].hops())
		all = append(all, append([]netip.Addr{by[d].source}, by[d].peers...)...)
	}
	from := e.Entry("unicast").From
	if hops > 0 {
		e.Set("unicast_hops", hops, from)
		n.Hint("unicast_hops is made of min_ttl and unicast_ttl: lvsd sends with a TTL of 255, as RFC 9568 says. Once both directors run lvsd, set it to the number of routers between them.")
		return
	}
	for _, a := range all {
		bits := 24
		if a.Is6() {
			bits = 64
		}
		if p, err := a.Prefix(bits); err == nil && all[0].IsValid() && !p.Contains(all[0]) {
			n.Add(convert.ToDo, from, fmt.Sprintf("lvsd refuses adverts from beyond a router, which keepalived does not: if there are routers between %s and %s, set unicast_hops to their number", all[0], a))
			return
		}
	}
}

// sameAddress returns an address that two directors have, or "".
func sameAddress(own convert.ByDirector, directors []string) string {
	seen := map[any]bool{}
	for _, d := range directors {
		if a := own[d]; a != nil && seen[a] {
			return a.(string)
		}
		seen[own[d]] = true
	}
	return ""
}

// keepalivedHints adds differences between the programs that no line shows.
func keepalivedHints(root *convert.Table, n *convert.Notes) {
	if len(root.Tables("virtual_service")) > 0 {
		n.Hint("keepalived counts a new server as up until it has been checked; lvsd sends it clients after its first successful check.")
		if t, _ := root.Get("ipvs").(*convert.Table); t == nil || !t.Has("on_stop") {
			n.Hint(`keepalived removes its services from the kernel when it stops; lvsd keeps them for its next start. on_stop = "remove" in [ipvs] removes them.`)
		}
	}
	for _, e := range root.Tables("vrrp") {
		if e.Get("version") == 2 {
			n.Hint("version = 2 is keepalived's default, so that the directors can be replaced one by one. Once both run lvsd, version 3 notices a dead master faster and can be authenticated.")
			break
		}
	}
	if len(root.Tables("director")) == 1 && len(root.Tables("vrrp")) > 0 {
		n.Hint("this is one director's file alone. The file of both: lvsd convert keepalived lb1=FILE lb2=FILE.")
	}
}

// seconds is a time that a keyword says in seconds.
func (k *keepalived) seconds(n *node, word string) (time.Duration, bool) {
	d, ok := convert.ParseSeconds(word)
	if !ok {
		k.note(convert.LeftOut, n, "%q is not a time in seconds", word)
	}
	return d, ok
}

// atMost returns a time, or the longest that lvsd takes, with a note.
func (k *keepalived) atMost(from convert.Origin, d, most time.Duration) time.Duration {
	if d > most {
		k.notes.Add(convert.LeftOut, from, fmt.Sprintf("lvsd takes %s at most: that is used", convert.FormatDuration(most)))
		return most
	}
	return d
}
