// [peers], the exchange of status between the directors, and [guard].

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/values"
)

// buildExchange builds [peers] for the table's director; nil when it is off.
func buildExchange(root *reader.Table, director string, directors []Director, instances []Instance) *Exchange {
	t := root.Table("peers").For(director)
	if t.Str("listen") == "" {
		switch {
		case director != "" && listensElsewhere(root, directors):
			t.Errorf("listen", `is off for %s and on for others: set it for all directors or for none`, director)
		case t.IsSet("key_file") && t.Str("key_file") != "":
			t.Warnf("key_file", "has no effect without listen")
		case t.Bool("edits"):
			t.Warnf("edits", "has no effect without listen")
		}
		if t.Bool("probe_share") {
			t.Warnf("probe_share", "has no effect without listen: every director makes all probes")
		}
		return nil
	}
	p := &Exchange{KeyFile: pathValue(t, "key_file"), Edits: t.Bool("edits"), ProbeShare: t.Bool("probe_share")}
	defaultExchangeKey(t, p, instances)
	if len(directors) < 2 {
		t.Errorf("listen", "needs at least two [[director]], each with its address")
		return nil
	}
	for _, d := range directors {
		at, ok := peerEndpoint(root.Table("peers").For(d.Name), d)
		switch {
		case !ok && d.Name == director:
			return nil
		case !ok:
		case d.Name == director:
			p.Listen, p.Address = t.Str("listen"), d.Address
		default:
			p.Peers = append(p.Peers, Peer{d.Name, at})
		}
	}
	return p
}

// listensElsewhere reports whether another director has the exchange enabled.
func listensElsewhere(root *reader.Table, directors []Director) bool {
	for _, d := range directors {
		if root.Table("peers").For(d.Name).Str("listen") != "" {
			return true
		}
	}
	return false
}

// defaultExchangeKey uses the key of the instances where key_file is not set.
func defaultExchangeKey(t *reader.Table, p *Exchange, instances []Instance) {
	if p.KeyFile != "" || !t.Valid("key_file") {
		return
	}
	for _, inst := range instances {
		if inst.Authentication.Type == "hmac" {
			p.KeyFile = inst.Authentication.KeyFile
			return
		}
	}
	if t.Valid("listen") {
		t.Errorf("listen", `needs a key_file: the directors authenticate each other, and no [[vrrp]] has a key of type "hmac" either`)
	}
}

// peerEndpoint validates where the table's director listens, and returns where the
// others reach it: at its [[director]] address.
func peerEndpoint(t *reader.Table, d Director) (netip.AddrPort, bool) {
	s := t.Str("listen")
	switch {
	case s == "": // reported for that director
		return netip.AddrPort{}, false
	case !values.IsListenAddress(s):
		t.Errorf("listen", `must be ":PORT", or IP:PORT with the director's own address, not %s`, values.Quote(s))
		return netip.AddrPort{}, false
	case !d.Address.IsValid():
		t.Errorf("listen", "the others reach a director at its address, and %s has none: give [[director]] address", d.Name)
		return netip.AddrPort{}, false
	}
	if port, all := strings.CutPrefix(s, ":"); all {
		n, _ := strconv.ParseUint(port, 10, 16) // listenable
		return netip.AddrPortFrom(d.Address, uint16(n)), true
	}
	at := netip.MustParseAddrPort(s)
	if at.Addr() != d.Address && !at.Addr().IsUnspecified() {
		t.Errorf("listen", "the others reach %s at its address, %s, and not at %s: write %s or %s", d.Name, d.Address, at.Addr(),
			values.Quote(netip.AddrPortFrom(d.Address, at.Port()).String()), values.Quote(":"+strconv.Itoa(int(at.Port()))))
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(d.Address, at.Port()), true
}

// buildGuard builds [guard]; nil without witnesses.
func buildGuard(t *reader.Table, instances instanceSet) *Guard {
	g := &Guard{Share: int(t.Int("share"))}
	for i, s := range t.Strings("witnesses") {
		a, problem := values.ParseIP(s)
		at, moves := instances.addresses[a]
		switch {
		case problem != "":
		case moves:
			problem = fmt.Sprintf("%s is an address of the [[vrrp]] at %s, and may be this host's: set a gateway or the peer's own address", a, t.Where(at))
		case a.IsLoopback():
			problem = a.String() + " replies even when this host is isolated: set a gateway or the peer"
		case slices.Contains(g.Witnesses, a):
			problem = a.String() + " is listed twice"
		}
		if problem != "" {
			at, p := t.LocateItem("witnesses", i)
			t.ErrorAt(at, p, "%s", problem)
			continue
		}
		g.Witnesses = append(g.Witnesses, a)
	}
	if len(t.Strings("witnesses")) == 0 {
		if t.IsSet("share") && t.Valid("share") && t.Valid("witnesses") && g.Share != schema.DefaultShare {
			t.Warnf("share", "has no effect without witnesses")
		}
		return nil
	}
	return g
}
