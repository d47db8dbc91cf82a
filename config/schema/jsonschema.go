// The JSON Schema of lvsd.toml for editors. It describes each key by itself, so it
// accepts some files that Parse does not.

package schema

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"lvsd/config/values"
)

// schemaAddress is the $id of the schema.
const schemaAddress = "lvsd.schema.json"

// durationPattern matches what ParseDuration accepts, without signs.
const durationPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$`

// listEntries are the tables that a list of mixed kinds may hold.
var listEntries = map[string]*Table{"track_interfaces": TrackInterfaceTable, "addresses": AddressTable, "excluded_addresses": AddressTable}

// JSON returns the schema (draft 7, which every editor supports). describe returns
// the description of a key, or "".
func JSON(describe func(table, key string) string) []byte {
	w := &schemaWriter{describe: describe, definitions: map[string]any{}}
	root := w.table(RootTable)
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["$id"] = schemaAddress
	root["title"] = "lvsd.toml"
	root["definitions"] = w.definitions
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(root); err != nil {
		panic("config: " + err.Error()) // maps of plain values always encode
	}
	return []byte(b.String())
}

type schemaWriter struct {
	describe    func(table, key string) string
	definitions map[string]any
}

// reference returns a reference to a table, which is written once.
func (w *schemaWriter) reference(t *Table) map[string]any {
	if _, done := w.definitions[t.Name]; !done {
		w.definitions[t.Name] = nil // a table may contain itself
		w.definitions[t.Name] = w.table(t)
	}
	return map[string]any{"$ref": "#/definitions/" + t.Name}
}

// table writes a table: its keys and no others.
func (w *schemaWriter) table(t *Table) map[string]any {
	properties, required := map[string]any{}, []string{}
	for i := range t.Keys {
		k := &t.Keys[i]
		properties[k.Name] = w.key(t, k)
		if k.Required {
			required = append(required, k.Name)
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if all := checkTypeRules(t); len(all) > 0 {
		s["allOf"] = all
	}
	return s
}

// checkTypeRules restricts the keys of a check to those of its type.
func checkTypeRules(t *Table) []any {
	at, known := t.Index["type"]
	if !known || !slices.ContainsFunc(t.Keys, func(k Key) bool { return k.CheckTypes != nil }) {
		return nil
	}
	var all []any
	for _, kind := range t.Keys[at].Choices {
		var names []string
		for _, k := range t.Keys {
			if k.CheckTypes == nil || slices.Contains(k.CheckTypes, kind) {
				names = append(names, k.Name)
			}
		}
		all = append(all, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"type": map[string]any{"const": kind}}, "required": []string{"type"}},
			"then": map[string]any{"propertyNames": map[string]any{"enum": names}},
		})
	}
	return all
}

// key writes what a key may be, and what it is for.
func (w *schemaWriter) key(t *Table, k *Key) map[string]any {
	var text []string
	if s := w.describe(t.Name, k.Name); s != "" {
		text = append(text, s)
	}
	s := w.value(k)
	if k.PerDirector {
		text = append(text, "May differ between the directors.")
		s = map[string]any{"anyOf": []any{s, map[string]any{"type": "object", "minProperties": 1, "additionalProperties": maps.Clone(s)}}}
	}
	if k.Required {
		text = append(text, "Required.")
	} else if k.Default != nil {
		s["default"] = jsonValue(k.Default)
	} else if k.Computed != "" {
		text = append(text, "Default: "+k.Computed)
	}
	if len(text) > 0 && s["$ref"] == nil {
		s["description"] = strings.Join(text, "\n")
	} else if len(text) > 0 { // draft 7 ignores everything beside a reference
		s = map[string]any{"allOf": []any{s}, "description": strings.Join(text, "\n")}
	}
	return s
}

// value writes what a key's value looks like.
func (w *schemaWriter) value(k *Key) map[string]any {
	text := map[string]any{"type": "string"}
	if len(k.Choices) > 0 {
		text["enum"] = k.Choices
	}
	list := func(of any) map[string]any { return map[string]any{"type": "array", "items": of} }
	either := func(all ...any) map[string]any { return map[string]any{"anyOf": all} }
	switch k.Kind {
	case String:
		return text
	case Int:
		n := map[string]any{"type": "integer"}
		if k.Min != 0 || k.Max != 0 {
			n["minimum"], n["maximum"] = k.Min, k.Max
		}
		return n
	case Bool:
		return map[string]any{"type": "boolean"}
	case Time:
		return map[string]any{"type": "string", "format": "date-time"} // as editors see a TOML time
	case Duration:
		return map[string]any{"type": "string", "pattern": durationPattern}
	case Strings:
		return list(text)
	case StringMap:
		return map[string]any{"type": "object", "additionalProperties": text}
	case Netmask:
		return map[string]any{"type": []string{"string", "integer"}}
	case Ints:
		return list(map[string]any{"type": "integer"})
	case SubTable:
		return w.reference(k.Table)
	case Tables:
		return list(w.reference(k.Table))
	case TableOrTables:
		return either(w.reference(k.Table), list(w.reference(k.Table)))
	case StringOrTable:
		return either(text, w.reference(k.Table))
	case BoolOrTable:
		return either(map[string]any{"type": "boolean"}, w.reference(k.Table))
	case MixedList:
		if t := listEntries[k.Name]; t != nil {
			return list(either(map[string]any{"type": "string"}, w.reference(t)))
		}
		return map[string]any{"type": "array"}
	}
	return map[string]any{}
}

// jsonValue is a default as JSON has it.
func jsonValue(v any) any {
	if d, ok := v.(time.Duration); ok {
		return values.FormatDuration(d)
	}
	return v
}
