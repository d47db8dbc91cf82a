// This file builds what an election tracks of services and files, and finds the
// weights that could never change who is master. It never looks at either.
//
// PURE.
package config

import (
	"slices"
	"strings"
)

// trackedServices reads the services whose lost quorum an election heeds.
func (c *record) trackedServices(e *Instance, services []Service) {
	seen := map[string]bool{}
	for _, t := range c.records("track_services") {
		t = t.of(c.director)
		s := TrackedService{Name: t.str("name"), Weight: int(t.num("weight")), Fault: t.flag("fault")}
		known := slices.ContainsFunc(services, func(svc Service) bool { return svc.Name == s.Name })
		switch {
		case !t.good("name"):
			continue
		case !known:
			t.complain("name", "no [[virtual_service]] is called %s", quoted(s.Name))
			continue
		case seen[s.Name]:
			t.complain("name", "%s is there twice", s.Name)
			continue
		case s.Fault && t.set("weight"):
			t.complain("weight", "goes with fault = false: with a fault there is no priority to lower")
		case s.Fault:
			s.Weight = 0
			t.doubt("fault", "when its servers fail for all directors, all give the addresses up and nobody has them: a weight leaves them to one")
		}
		seen[s.Name] = true
		e.TrackServices = append(e.TrackServices, s)
	}
}

// trackedFiles reads the files whose number an election heeds.
func (c *record) trackedFiles(e *Instance) {
	seen := map[string]bool{}
	for _, t := range c.records("track_files") {
		t = t.of(c.director)
		f := TrackedFile{Path: t.str("path"), Weight: int(t.num("weight"))}
		switch {
		case !t.good("path"):
			continue
		case !strings.HasPrefix(f.Path, "/"):
			t.complain("path", "must be an absolute path, not %s", quoted(f.Path))
		case seen[f.Path]:
			t.complain("path", "%s is there twice", f.Path)
		default:
			seen[f.Path] = true
			e.TrackFiles = append(e.TrackFiles, f)
		}
	}
}

// lowered warns of services whose weight could never make another director
// master.
func lowered(root *record, directors []Director) {
	for _, c := range root.records("vrrp") {
		if !c.good("priority") {
			continue
		}
		for _, t := range c.records("track_services") {
			if !t.good("weight") || t.flag("fault") {
				continue
			}
			for _, d := range directors {
				own := c.of(d.Name).num("priority")
				if own == 255 {
					t.doubt("weight", "changes nothing for %s: the priority of an owner, 255, is never lowered", d.Name)
					break
				}
				best, other := int64(0), ""
				for _, o := range directors {
					if p := c.of(o.Name).num("priority"); o.Name != d.Name && p < own && p > best {
						best, other = p, o.Name
					}
				}
				if left := max(own+t.num("weight"), 1); other != "" && left >= best {
					t.doubt("weight", "changes nothing: %s has %d with it, and %s no more than %d", d.Name, left, other, best)
					break
				}
			}
		}
	}
}
