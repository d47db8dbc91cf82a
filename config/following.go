// This file builds what an election heeds besides its peers: interfaces,
// services, programs, files, and the other elections of its sync group. It never looks at one.
//
// PURE.
package config

// following reads handover_limit, sync_hold, sync_group and what is tracked.
func (c *record) following(e *Instance, services []Service) {
	e.HandoverLimit, e.SyncGroup = c.duration("handover_limit"), c.str("sync_group")
	e.SyncHold = c.duration("sync_hold")
	// The successor comes within its skew, which is less than an advert, after the
	// resignation; that is told once more after an advert.
	if least := 2 * e.AdvertInterval; e.HandoverLimit > 0 && e.HandoverLimit < least && c.good("handover_limit") && c.good("advert_interval") {
		c.doubt("handover_limit", "%s is less than two adverts, %s: the addresses may be gone before the peer has them; make it longer, or 0s to give them up at once", short(e.HandoverLimit), short(least))
	}
	if e.SyncGroup != "" {
		if complaint := nameComplaint(e.SyncGroup); complaint != "" {
			c.complain("sync_group", "%s", complaint)
		}
	}
	c.trackedInterfaces(e)
	c.trackedServices(e, services)
	c.trackedFiles(e)
	for _, t := range c.records("track_scripts") {
		t = t.of(c.director)
		s := TrackedScript{
			Command: t.argv("command", `["/usr/local/bin/uplink-ok"]`), Interval: t.duration("interval"), Timeout: t.duration("timeout"),
			Rise: int(t.num("rise")), Fall: int(t.num("fall")), Weight: int(t.num("weight")),
		}
		if !t.set("timeout") {
			s.Timeout = s.Interval
		}
		if s.Timeout > s.Interval && t.good("timeout") && t.good("interval") {
			t.doubt("timeout", "is longer than interval, %s: a run that hangs delays the next", short(s.Interval))
		}
		e.TrackScripts = append(e.TrackScripts, s)
	}
}

// trackedInterfaces reads names, and tables with a name and a weight.
func (c *record) trackedInterfaces(e *Instance) {
	var elements []any
	switch v := c.get("track_interfaces").(type) {
	case []any:
		elements = v
	case []map[string]any:
		for _, t := range v {
			elements = append(elements, t)
		}
	}
	f, k := c.field("track_interfaces")
	seen := map[string]bool{e.Interface: true}
	for i, v := range elements {
		at, p := c.item(k.name, i)
		var t TrackedInterface
		switch v := v.(type) {
		case string:
			t.Name = v
		case map[string]any:
			r := c.interfaceTable(v, f, i, p)
			t.Name, t.Weight = r.str("name"), int(r.num("weight"))
			if !r.good("name") || !r.good("weight") {
				continue
			}
		default:
			c.fail(at, p, "must be the name of an interface or a table in braces, not %s", kindOf(v))
			continue
		}
		switch complaint := interfaceComplaint(t.Name); {
		case complaint != "":
			c.fail(at, p, "%s", complaint)
		case t.Name == e.Interface:
			c.fail(at, p, "%s is the election's own interface, which is heeded anyway", t.Name)
		case seen[t.Name]:
			c.fail(at, p, "%s is there twice", t.Name)
		default:
			seen[t.Name] = true
			e.TrackInterfaces = append(e.TrackInterfaces, t)
		}
	}
}

// interfaceTable reads one element of track_interfaces.
func (c *record) interfaceTable(v map[string]any, f *field, i int, p *path) *record {
	return c.reader.table(v, f.node.item(i), trackInterfaceTable, p)
}

// oneOrder refuses a sync group whose elections would want different masters.
func oneOrder(root *record, director string, all []Instance) {
	first := map[string]Instance{}
	for i, c := range root.records("vrrp") {
		if i >= len(all) || all[i].SyncGroup == "" {
			continue
		}
		e := all[i]
		f, known := first[e.SyncGroup]
		if !known {
			first[e.SyncGroup] = e
			continue
		}
		c = c.of(director)
		switch {
		case f.Priority != e.Priority && c.good("priority"):
			c.complain("priority", "is %d here and %d in %s of the same sync_group: they would pull each other to and fro, give them the same", e.Priority, f.Priority, quoted(f.Name))
		case f.Preempt != e.Preempt && c.good("preempt"):
			c.complain("preempt", "is %v here and %v in %s of the same sync_group: give them the same", e.Preempt, f.Preempt, quoted(f.Name))
		}
	}
}
