// Sync groups and tracking: interfaces, services, scripts and files that change an
// instance's priority or put it in fault.

package config

import (
	"slices"
	"strings"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/values"
)

// buildTracking reads handover_limit, sync_hold, sync_group and the track_ keys.
func buildTracking(parent *reader.Table, inst *Instance, services []Service) {
	inst.HandoverLimit, inst.SyncGroup = parent.Duration("handover_limit"), parent.Str("sync_group")
	inst.SyncHold = parent.Duration("sync_hold")
	// The successor takes over within its skew time, less than one interval, after the
	// resignation, which is repeated once after an interval.
	if least := 2 * inst.AdvertInterval; inst.HandoverLimit > 0 && inst.HandoverLimit < least && parent.Valid("handover_limit") && parent.Valid("advert_interval") {
		parent.Warnf("handover_limit", "%s is less than two adverts, %s: the addresses may be removed before the peer has them; use a longer time, or 0s to release them at once", values.FormatDuration(inst.HandoverLimit), values.FormatDuration(least))
	}
	if inst.SyncGroup != "" {
		if problem := values.CheckName(inst.SyncGroup); problem != "" {
			parent.Errorf("sync_group", "%s", problem)
		}
	}
	trackInterfaces(parent, inst)
	trackServices(parent, inst, services)
	trackFiles(parent, inst)
	for _, t := range parent.Tables("track_scripts") {
		t = t.For(parent.Director)
		s := TrackedScript{
			Command: argvValue(t, "command", `["/usr/local/bin/uplink-ok"]`), Interval: t.Duration("interval"), Timeout: t.Duration("timeout"),
			Rise: int(t.Int("rise")), Fall: int(t.Int("fall")), Weight: int(t.Int("weight")),
		}
		if !t.IsSet("timeout") {
			s.Timeout = s.Interval
		}
		if s.Timeout > s.Interval && t.Valid("timeout") && t.Valid("interval") {
			t.Warnf("timeout", "is longer than interval, %s: a run that hangs delays the next", values.FormatDuration(s.Interval))
		}
		inst.TrackScripts = append(inst.TrackScripts, s)
	}
}

// trackInterfaces reads names, and tables with a name and a weight.
func trackInterfaces(parent *reader.Table, inst *Instance) {
	f, k := parent.Field("track_interfaces")
	seen := map[string]bool{inst.Interface: true}
	for i, v := range parent.Elements("track_interfaces") {
		at, p := parent.LocateItem(k.Name, i)
		var t TrackedInterface
		switch v := v.(type) {
		case string:
			t.Name = v
		case map[string]any:
			r := trackInterfaceEntry(parent, v, f, i, p)
			t.Name, t.Weight = r.Str("name"), int(r.Int("weight"))
			if !r.Valid("name") || !r.Valid("weight") {
				continue
			}
		default:
			parent.ErrorAt(at, p, "must be the name of an interface or a table in braces, not %s", schema.DescribeValue(v))
			continue
		}
		switch problem := values.CheckInterface(t.Name); {
		case problem != "":
			parent.ErrorAt(at, p, "%s", problem)
		case t.Name == inst.Interface:
			parent.ErrorAt(at, p, "%s is the instance's own interface, which is tracked anyway", t.Name)
		case seen[t.Name]:
			parent.ErrorAt(at, p, "%s is listed twice", t.Name)
		default:
			seen[t.Name] = true
			inst.TrackInterfaces = append(inst.TrackInterfaces, t)
		}
	}
}

// trackInterfaceEntry reads one element of track_interfaces.
func trackInterfaceEntry(t *reader.Table, v map[string]any, f *reader.Field, i int, p *reader.Path) *reader.Table {
	return t.Reader.ReadTable(v, f.Node.Item(i), schema.TrackInterfaceTable, p)
}

// requireEqualInGroup refuses a sync group whose instances would elect different masters.
func requireEqualInGroup(root *reader.Table, director string, all []Instance) {
	first := map[string]Instance{}
	for i, t := range root.Tables("vrrp") {
		if i >= len(all) || all[i].SyncGroup == "" {
			continue
		}
		inst := all[i]
		f, known := first[inst.SyncGroup]
		if !known {
			first[inst.SyncGroup] = inst
			continue
		}
		t = t.For(director)
		switch {
		case f.Priority != inst.Priority && t.Valid("priority"):
			t.Errorf("priority", "is %d here and %d in %s of the same sync_group: they would move each other back and forth; use the same", inst.Priority, f.Priority, values.Quote(f.Name))
		case f.Preempt != inst.Preempt && t.Valid("preempt"):
			t.Errorf("preempt", "is %v here and %v in %s of the same sync_group: use the same", inst.Preempt, f.Preempt, values.Quote(f.Name))
		}
	}
}

// trackServices reads the services whose quorum an instance tracks.
func trackServices(parent *reader.Table, inst *Instance, services []Service) {
	seen := map[string]bool{}
	for _, t := range parent.Tables("track_services") {
		t = t.For(parent.Director)
		s := TrackedService{Name: t.Str("name"), Weight: int(t.Int("weight")), Fault: t.Bool("fault")}
		known := slices.ContainsFunc(services, func(svc Service) bool { return svc.Name == s.Name })
		switch {
		case !t.Valid("name"):
			continue
		case !known:
			t.Errorf("name", "there is no [[virtual_service]] %s", values.Quote(s.Name))
			continue
		case seen[s.Name]:
			t.Errorf("name", "%s is listed twice", s.Name)
			continue
		case s.Fault && t.IsSet("weight"):
			t.Errorf("weight", "needs fault = false: in fault there is no priority to lower")
		case s.Fault:
			s.Weight = 0
			t.Warnf("fault", "when its servers fail for all directors, all release the addresses and none has them: with a weight one keeps them")
		}
		seen[s.Name] = true
		inst.TrackServices = append(inst.TrackServices, s)
	}
}

// trackFiles reads the files that an instance tracks.
func trackFiles(parent *reader.Table, inst *Instance) {
	seen := map[string]bool{}
	for _, t := range parent.Tables("track_files") {
		t = t.For(parent.Director)
		f := TrackedFile{Path: t.Str("path"), Weight: int(t.Int("weight"))}
		switch {
		case !t.Valid("path"):
			continue
		case !strings.HasPrefix(f.Path, "/"):
			t.Errorf("path", "must be an absolute path, not %s", values.Quote(f.Path))
		case seen[f.Path]:
			t.Errorf("path", "%s is listed twice", f.Path)
		default:
			seen[f.Path] = true
			inst.TrackFiles = append(inst.TrackFiles, f)
		}
	}
}

// warnIneffectiveWeights warns of weights that could never make another director master.
func warnIneffectiveWeights(root *reader.Table, directors []Director) {
	for _, parent := range root.Tables("vrrp") {
		if !parent.Valid("priority") {
			continue
		}
		for _, key := range []string{"track_interfaces", "track_files", "track_scripts"} {
			owner := slices.IndexFunc(directors, func(d Director) bool { return parent.For(d.Name).Int("priority") == 255 })
			if owner >= 0 && hasWeight(parent, key) {
				parent.Warnf(key, "a weight has no effect for %s: the priority of an address owner, 255, is never changed", directors[owner].Name)
			}
		}
		for _, t := range parent.Tables("track_services") {
			if !t.Valid("weight") || t.Bool("fault") {
				continue
			}
			for _, d := range directors {
				own := parent.For(d.Name).Int("priority")
				if own == 255 {
					t.Warnf("weight", "has no effect for %s: the priority of an address owner, 255, is never lowered", d.Name)
					break
				}
				best, other := int64(0), ""
				for _, o := range directors {
					if p := parent.For(o.Name).Int("priority"); o.Name != d.Name && p < own && p > best {
						best, other = p, o.Name
					}
				}
				if left := max(own+t.Int("weight"), 1); other != "" && left >= best {
					t.Warnf("weight", "has no effect: %s has %d with it, and %s at most %d", d.Name, left, other, best)
					break
				}
			}
		}
	}
}

// hasWeight reports whether a tracked object of the key changes the priority.
func hasWeight(parent *reader.Table, key string) bool {
	for _, v := range parent.Elements(key) {
		if entry, ok := v.(map[string]any); ok && entry["weight"] != nil && entry["weight"] != int64(0) {
			return true
		}
	}
	return slices.ContainsFunc(parent.Tables(key), func(t *reader.Table) bool { return t.Int("weight") != 0 })
}
