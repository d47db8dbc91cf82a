package preview

import (
	"net/netip"
	"slices"

	"lvsd/config"
)

// Announce is what would change of an [[announce]].
type Announce struct {
	Name    string   `json:"name"`
	Action  string   `json:"action"` // start, change, end
	Changes []Change `json:"changes"`
	// Announced: this director announces it now.
	Announced bool `json:"announced"`
	// Added and Removed are addresses. Those removed are withdrawn at once; this host
	// accepts packets to them for a few seconds more.
	Added   []string `json:"addresses_added"`
	Removed []string `json:"addresses_removed"`
}

func (b *builder) announces() {
	var before []config.Announce
	if b.Running != nil {
		before = b.Running.Announces
	}
	announced := map[string]bool{}
	for _, a := range b.Announced {
		announced[a.Name] = a.Announced
	}
	find := func(list []config.Announce, name string) (config.Announce, bool) {
		i := slices.IndexFunc(list, func(a config.Announce) bool { return a.Name == name })
		if i < 0 {
			return config.Announce{}, false
		}
		return list[i], true
	}
	add := func(action, name string, was, is []netip.Addr, changes []Change) {
		b.out.Announces = append(b.out.Announces, Announce{Name: name, Action: action, Announced: announced[name],
			Changes: append([]Change{}, changes...), Added: missing(is, was), Removed: missing(was, is)})
	}
	for _, is := range b.Next.Announces {
		was, known := find(before, is.Name)
		if !known {
			add(Start, is.Name, nil, is.Addresses, nil)
			continue
		}
		if changes := fields("", was, is, nil); len(changes) > 0 {
			add(Edit, is.Name, was.Addresses, is.Addresses, changes)
		}
	}
	for _, was := range before {
		if _, stays := find(b.Next.Announces, was.Name); !stays {
			add(End, was.Name, was.Addresses, nil, nil)
		}
	}
}

// missing returns those of a that are not in b.
func missing(a, b []netip.Addr) []string {
	out := []string{}
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x.String())
		}
	}
	return out
}

// announce prints one announcement of all that change.
func (p *page) announce(a Announce, all []Announce) {
	what := map[string]string{Start: "added", Edit: "updated in place", End: "removed"}[a.Action]
	now := ""
	if a.Announced {
		now = ", announced now"
	}
	p.line("\n%s: %s%s", p.mark(bold, "ANNOUNCE "+a.Name), p.mark(signs[a.Action].colour, what), now)
	for _, c := range a.Changes {
		p.line("  %s %s", p.sign(Edit), c)
	}
	for _, address := range a.Added {
		p.line("  %s address %s", p.sign(Add), address)
	}
	for _, address := range a.Removed {
		switch to := slices.IndexFunc(all, func(o Announce) bool { return slices.Contains(o.Added, address) }); {
		case to >= 0:
			p.line("  %s address %s, moves to announcement %s", p.sign(Remove), address, all[to].Name)
		case a.Announced:
			p.line("  %s address %s, withdrawn at once", p.sign(Remove), address)
		default:
			p.line("  %s address %s", p.sign(Remove), address)
		}
	}
}
