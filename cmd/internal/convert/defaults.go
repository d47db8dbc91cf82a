// Values that are the default are not written.

package convert

import (
	"slices"
	"time"

	"lvsd/config/schema"
)

// defaultOf returns a key's default in the types of a Table, nil where it has none
// or depends on other keys.
func defaultOf(k *schema.Key) any {
	if n, ok := k.Default.(int64); ok {
		return int(n)
	}
	return k.Default
}

// computedDefaults are the defaults that depend on other keys of a table, by the
// table's and the key's name.
var computedDefaults = map[string]func(t *Table) any{
	"check.timeout":              func(t *Table) any { return min(time.Second, duration(t, "interval", 2*time.Second)) },
	"check.fast_interval":        func(t *Table) any { return duration(t, "interval", 2*time.Second) },
	"vrrp.track_scripts.timeout": func(t *Table) any { return duration(t, "interval", time.Second) },
	"virtual_service.on_failure": onFailure,
	"virtual_service.check":      connectCheck,
}

func duration(t *Table, key string, otherwise time.Duration) time.Duration {
	if d, ok := t.Get(key).(time.Duration); ok {
		return d
	}
	return otherwise
}

// onFailure is "remove" where weight 0 would refuse clients.
func onFailure(t *Table) any {
	flags, _ := t.Get("scheduler_flags").([]string)
	if t.Str("protocol") == "udp" || t.Str("scheduler") == "dh" || slices.Contains(flags, schema.NoFallback) {
		return "remove"
	}
	return "quiesce"
}

// connectCheck is the check of a service of TCP.
func connectCheck(t *Table) any {
	if t.Has("fwmark") || t.Has("protocol") && t.Str("protocol") != "tcp" {
		return nil
	}
	c := &Table{}
	c.Set("type", "connect", Origin{})
	return c
}

// dropDefaults removes values that are the default, except the weights of real servers.
func dropDefaults(t *Table, s *schema.Table) {
	for _, e := range t.Entries {
		switch v := e.Value.(type) {
		case *Table:
			dropDefaults(v, subTable(s, e.Key))
		case []*Table:
			for _, one := range v {
				dropDefaults(one, subTable(s, e.Key))
			}
		}
	}
	t.Entries = slices.DeleteFunc(slices.Clone(t.Entries), func(e Entry) bool {
		k := schemaKey(s, e.Key)
		if k == nil || s == schema.RealServerTable && e.Key == "weight" {
			return false
		}
		otherwise := defaultOf(k)
		if computed := computedDefaults[s.Name+"."+e.Key]; computed != nil {
			otherwise = computed(t)
		}
		return otherwise != nil && Equal(e.Value, otherwise)
	})
}
