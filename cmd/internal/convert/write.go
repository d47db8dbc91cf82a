// This file writes a document as a person would: in the order of
// docs/lvsd.toml, one real server a line, and nothing that is as lvsd has it
// anyway.

package convert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sections is the order of the tables in the file.
var sections = []string{"director", "global", "ipvs", "vrrp", "virtual_service"}

// order is the order of keys in each table. One that is not in it comes last.
var order = map[string]int{}

func init() {
	for i, key := range strings.Fields(`
		director global ipvs vrrp virtual_service guard pair
		type name version address fwmark family protocol interface virtual_router_id id vrrp priority advert_interval preempt preempt_delay
		addresses excluded_addresses link_local_first path to via source table metric mark routes rules virtual_mac
		scheduler scheduler_flags forward port checksum persistence persistence_netmask persistence_engine one_packet quorum hysteresis on_failure fallback
		upper_threshold lower_threshold
		command user method host body status send send_hex expect expect_not expect_text expect_hex steps digest follow_redirects require_reply record rcode answer count helo
		tls verify server_name ca_file cert_file key_file
		interval fast_interval timeout rise fall weight
		unicast sync_group track_interfaces track_files track_scripts authentication notify check real_servers`) {
		order[key] = i + 1
	}
}

func (t *Table) ordered() []Entry {
	rank := func(e Entry) int {
		if r := order[e.Key]; r > 0 {
			return r
		}
		return len(order) + 1
	}
	all := slices.Clone(t.Entries)
	slices.SortStableFunc(all, func(a, b Entry) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

// write gives the text of the whole document.
func write(root *Table) string {
	var b strings.Builder
	for _, key := range sections {
		switch v := root.Get(key).(type) {
		case *Table:
			section(&b, "["+key+"]", key, v)
		case []*Table:
			for i, t := range v {
				if key == "director" && i > 0 { // these belong together
					text := strings.TrimSuffix(b.String(), "\n")
					b.Reset()
					b.WriteString(text)
				}
				section(&b, "[["+key+"]]", key, t)
			}
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// section writes a table with a head of its own, and after it the tables below
// that have one, too.
func section(b *strings.Builder, head, path string, t *Table) {
	var below []Entry
	lines := 0
	if len(t.Entries) == 0 {
		return
	}
	b.WriteString(head + "\n")
	for _, e := range t.ordered() {
		if _, isTable := e.Value.(*Table); isTable && path == "ipvs" {
			below = append(below, e)
			continue
		}
		lines++
		b.WriteString(bare(e.Key) + " = " + long(e) + "\n")
	}
	if lines == 0 && len(below) > 0 {
		text := strings.TrimSuffix(b.String(), head+"\n")
		b.Reset()
		b.WriteString(text)
	} else {
		b.WriteString("\n")
	}
	for _, e := range below {
		section(b, "["+path+"."+e.Key+"]", path+"."+e.Key, e.Value.(*Table))
	}
}

// width is where a list is broken into lines.
const width = 100

// long writes a value of a section, over several lines where it needs them.
func long(e Entry) string {
	short := Literal(e.Value)
	var items []string
	switch v := e.Value.(type) {
	case []*Table:
		for _, t := range v {
			items = append(items, Literal(t))
		}
		if e.Key == "real_servers" {
			items = aligned(v)
		} else if len(v) == 1 && len(short)+len(e.Key) < width {
			return short
		}
	case []string:
		if len(short)+len(e.Key) < width {
			return short
		}
		for _, s := range v {
			items = append(items, Literal(s))
		}
	default:
		return short
	}
	if len(items) == 0 {
		return "[]"
	}
	return "[\n  " + strings.Join(items, ",\n  ") + ",\n]"
}

// aligned writes real servers one a line: the address, the weight below each
// other, and the rest.
func aligned(all []*Table) []string {
	heads, widest := make([]string, len(all)), 0
	for i, t := range all {
		heads[i] = Literal(t.Get("address"))
		widest = max(widest, len(heads[i]))
	}
	lines := make([]string, len(all))
	for i, t := range all {
		rest := t.Clone()
		rest.Delete("address")
		rest.Delete("weight")
		var parts []string
		if t.Has("weight") {
			parts = append(parts, strings.Repeat(" ", widest-len(heads[i]))+"weight = "+Literal(t.Get("weight")))
		}
		if several, _ := rest.Get("check").([]*Table); len(several) > 1 {
			rest.Delete("check")
			text := "check = ["
			for _, c := range several {
				text += "\n    " + Literal(c) + ","
			}
			parts = append(parts, text+"\n  ]")
		}
		if body := inline(rest); body != "" {
			parts = slices.Insert(parts, min(1, len(parts)), body)
		}
		lines[i] = "{ address = " + strings.Join(append([]string{heads[i]}, parts...), ", ") + " }"
	}
	return lines
}

// inline writes the keys of a table on one line, without the braces.
func inline(t *Table) string {
	var parts []string
	for _, e := range t.ordered() {
		parts = append(parts, bare(e.Key)+" = "+Literal(e.Value))
	}
	return strings.Join(parts, ", ")
}

// Literal writes a value on one line.
func Literal(value any) string {
	var parts []string
	switch v := value.(type) {
	case string:
		return quote(v)
	case time.Duration:
		return quote(FormatDuration(v))
	case *Table:
		if body := inline(v); body != "" {
			return "{ " + body + " }"
		}
		return "{}"
	case ByDirector:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, bare(name)+" = "+Literal(v[name]))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	case []*Table:
		for _, t := range v {
			parts = append(parts, Literal(t))
		}
	case []string:
		for _, s := range v {
			parts = append(parts, quote(s))
		}
	case []any:
		for _, s := range v {
			parts = append(parts, Literal(s))
		}
	default:
		return fmt.Sprint(v)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// bare writes a key, in quotes where it needs them.
func bare(key string) string {
	if key != "" && strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == "" {
		return key
	}
	return quote(key)
}

// quote writes a string of TOML: in single quotes where that saves
// backslashes, as in a regular expression.
func quote(s string) string {
	s = strings.ToValidUTF8(s, "�")
	plain := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\'' })
	if plain && strings.ContainsAny(s, `\"`) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// FormatDuration writes "90s" or "500ms" or "2.5s", and "15m" for whole minutes.
func FormatDuration(d time.Duration) string {
	switch {
	case d == 0:
		return "0s"
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0 && d > time.Minute:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	case d%time.Second == 0:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return d.String()
}
