// This file builds [pair], by which the directors tell each other how they are.
// It never reads the key.
//
// PURE.
package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// buildPair makes [pair] for the record's director; nil when it is off.
func buildPair(root *record, director string, directors []Director, elections []Instance) *Pair {
	c := root.child("pair").of(director)
	if c.str("listen") == "" {
		switch {
		case director != "" && listensElsewhere(root, directors):
			c.complain("listen", `is off for %s and on for others: give every director a place to listen at, or none`, director)
		case c.set("key_file") && c.str("key_file") != "":
			c.doubt("key_file", "does nothing without listen")
		}
		return nil
	}
	p := &Pair{KeyFile: c.file("key_file")}
	c.pairKey(p, elections)
	if len(directors) < 2 {
		c.complain("listen", "needs two [[director]] at least, each with its address")
		return nil
	}
	for _, d := range directors {
		at, ok := root.child("pair").of(d.Name).listens(d)
		switch {
		case !ok && d.Name == director:
			return nil
		case !ok:
		case d.Name == director:
			p.Listen, p.Address = c.str("listen"), d.Address
		default:
			p.Peers = append(p.Peers, Peer{d.Name, at})
		}
	}
	return p
}

// listensElsewhere says that another director has the exchange on.
func listensElsewhere(root *record, directors []Director) bool {
	for _, d := range directors {
		if root.child("pair").of(d.Name).str("listen") != "" {
			return true
		}
	}
	return false
}

// pairKey finds the key when none is named: that of the elections.
func (c *record) pairKey(p *Pair, elections []Instance) {
	if p.KeyFile != "" || !c.good("key_file") {
		return
	}
	for _, e := range elections {
		if e.Authentication.Type == "hmac" {
			p.KeyFile = e.Authentication.KeyFile
			return
		}
	}
	if c.good("listen") {
		c.complain("listen", `needs a key_file: the directors prove to each other who they are, and no [[vrrp]] has a key of type "hmac" either`)
	}
}

// listens judges where the record's director listens, and answers where the others
// reach it: at the address by which they know it.
func (c *record) listens(d Director) (netip.AddrPort, bool) {
	s := c.str("listen")
	switch {
	case s == "": // said when it is that director's turn
		return netip.AddrPort{}, false
	case !listenable(s):
		c.complain("listen", `must be ":PORT", or IP:PORT with the director's own address, not %s`, quoted(s))
		return netip.AddrPort{}, false
	case !d.Address.IsValid():
		c.complain("listen", "the others reach a director at its address, and %s has none: give [[director]] address", d.Name)
		return netip.AddrPort{}, false
	}
	if port, all := strings.CutPrefix(s, ":"); all {
		n, _ := strconv.ParseUint(port, 10, 16) // listenable
		return netip.AddrPortFrom(d.Address, uint16(n)), true
	}
	at := netip.MustParseAddrPort(s)
	if at.Addr() != d.Address && !at.Addr().IsUnspecified() {
		c.complain("listen", "the others reach %s at its address, %s, and not at %s: write %s or %s", d.Name, d.Address, at.Addr(),
			quoted(netip.AddrPortFrom(d.Address, at.Port()).String()), quoted(":"+strconv.Itoa(int(at.Port()))))
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(d.Address, at.Port()), true
}
