package preview

import (
	"fmt"
	"lvsd/cmd/internal/instances"
	"net/netip"
	"slices"

	"lvsd/vrrp"
)

func (b *builder) instances() {
	for _, c := range b.Instances {
		e := Instance{Name: c.Name, Replaces: c.Replaces, Changes: []Change{}, State: string(c.Status.State), HasVIPs: c.Status.HasVIPs, Added: []string{}, Removed: []string{}}
		var had, has []netip.Prefix
		if c.Old != nil {
			had = addressesOf(*c.Old)
		}
		if c.New != nil {
			has = addressesOf(*c.New)
		}
		switch {
		case c.Old == nil:
			e.Action, e.Added = Start, texts(has)
			e.Changes = append(e.Changes, Change{"interface", "none", c.New.Interface},
				Change{"virtual_router_id", "none", fmt.Sprint(c.New.VRID)}, Change{"priority", "none", fmt.Sprint(c.New.Priority)})
		case c.New == nil:
			e.Action, e.Removed = End, texts(had)
			if c.Status.HasVIPs {
				e.Takeover = "this director is master and releases the addresses"
			}
		case c.Restarts:
			e.Action, e.Removed, e.Added = Restart, texts(had), texts(has)
			e.Changes = append(e.Changes, b.inFiles(c.Name)...)
			if c.Status.HasVIPs {
				e.Takeover = "this director is master: it releases the addresses and takes part again"
				if c.Old.Version != c.New.Version {
					e.Takeover += "; directors with another version refuse its adverts: until all have reloaded, there are two masters or, for four adverts, none"
				}
			}
		default:
			e.Action, e.Changes = Edit, append(e.Changes, b.inFiles(c.Name)...)
			e.Removed, e.Added = texts(without(had, has)), texts(without(has, had))
			e.Takeover = moves(c)
			if len(e.Changes) == 0 {
				continue
			}
		}
		b.out.Instances = append(b.out.Instances, e)
	}
}

// inFiles lists the differences of an instance between the two files.
func (b *builder) inFiles(name string) []Change {
	if b.Running == nil {
		return nil
	}
	for _, was := range b.Running.Instances {
		for _, is := range b.Next.Instances {
			if was.Name == name && is.Name == name {
				return fields("", was, is, map[string]bool{"File": true})
			}
		}
	}
	return nil
}

// moves is how an update would move mastership; "": not at all.
func moves(c instances.Change) string {
	s, is, was := c.Status, c.New, c.Old
	switch {
	case s.State == vrrp.Backup && is.Preempt && s.Master.IsValid() && s.MasterPriority < is.Priority && (s.MasterPriority >= was.Priority || !was.Preempt):
		return fmt.Sprintf("this director takes over from %s, whose priority is %d", s.Master, s.MasterPriority)
	case s.State == vrrp.Master && is.Priority < was.Priority:
		return fmt.Sprintf("a peer that preempts with a priority above %d takes over", is.Priority)
	}
	return ""
}

func addressesOf(c vrrp.Config) []netip.Prefix { return slices.Concat(c.Addresses, c.Excluded) }

// without returns those of a that are not in b.
func without(a, b []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(a), func(p netip.Prefix) bool { return slices.Contains(b, p) })
}

func texts(all []netip.Prefix) []string {
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.String()
	}
	return out
}
