// This file tells an editor of lvsd.toml which keys there are: a JSON Schema
// made of the tables in keys.go, so that a key is still named in one place only.
// A schema says less than Parse: it knows each key, and nothing of what two of
// them mean together.
//
// PURE.
package config

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// schemaAddress is where the schema is found, as its identity.
const schemaAddress = "lvsd.schema.json"

// durationPattern is what duration takes, less the signs.
const durationPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$`

// entries are the tables that a list of mixed kinds may hold.
var entries = map[string]*table{"track_interfaces": trackInterfaceTable}

// JSONSchema gives the schema (draft 7, which every editor knows). What a key is
// for is asked of describe, by the name of its table and its own; it may answer
// nothing.
func JSONSchema(describe func(table, key string) string) []byte {
	w := &schemaWriter{describe: describe, definitions: map[string]any{}}
	root := w.table(rootTable)
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

// refer gives a reference to a table, which is written down once.
func (w *schemaWriter) refer(t *table) map[string]any {
	if _, done := w.definitions[t.name]; !done {
		w.definitions[t.name] = nil // a table may hold itself
		w.definitions[t.name] = w.table(t)
	}
	return map[string]any{"$ref": "#/definitions/" + t.name}
}

// table writes a table: its keys and no others.
func (w *schemaWriter) table(t *table) map[string]any {
	properties, required := map[string]any{}, []string{}
	for i := range t.keys {
		k := &t.keys[i]
		properties[k.name] = w.key(t, k)
		if k.required {
			required = append(required, k.name)
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if all := kinds(t); len(all) > 0 {
		s["allOf"] = all
	}
	return s
}

// kinds says which keys a check of each type may have.
func kinds(t *table) []any {
	at, known := t.index["type"]
	if !known || !slices.ContainsFunc(t.keys, func(k key) bool { return k.types != nil }) {
		return nil
	}
	var all []any
	for _, kind := range t.keys[at].choices {
		var names []string
		for _, k := range t.keys {
			if k.types == nil || slices.Contains(k.types, kind) {
				names = append(names, k.name)
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
func (w *schemaWriter) key(t *table, k *key) map[string]any {
	var text []string
	if s := w.describe(t.name, k.name); s != "" {
		text = append(text, s)
	}
	s := w.value(k)
	if k.each {
		text = append(text, "May differ between the directors.")
		s = map[string]any{"anyOf": []any{s, map[string]any{"type": "object", "minProperties": 1, "additionalProperties": maps.Clone(s)}}}
	}
	if k.required {
		text = append(text, "Required.")
	} else if k.def != nil {
		s["default"] = asJSON(k.def)
	} else if k.computed != "" {
		text = append(text, "Default: "+k.computed)
	}
	if len(text) > 0 && s["$ref"] == nil {
		s["description"] = strings.Join(text, "\n")
	} else if len(text) > 0 { // draft 7 looks at nothing beside a reference
		s = map[string]any{"allOf": []any{s}, "description": strings.Join(text, "\n")}
	}
	return s
}

// value writes what a key's value looks like.
func (w *schemaWriter) value(k *key) map[string]any {
	text := map[string]any{"type": "string"}
	if len(k.choices) > 0 {
		text["enum"] = k.choices
	}
	list := func(of any) map[string]any { return map[string]any{"type": "array", "items": of} }
	either := func(all ...any) map[string]any { return map[string]any{"anyOf": all} }
	switch k.kind {
	case kindString:
		return text
	case kindInt:
		n := map[string]any{"type": "integer"}
		if k.min != 0 || k.max != 0 {
			n["minimum"], n["maximum"] = k.min, k.max
		}
		return n
	case kindBool:
		return map[string]any{"type": "boolean"}
	case kindTime:
		return map[string]any{"type": "string", "format": "date-time"} // as editors see a TOML time
	case kindDuration:
		return map[string]any{"type": "string", "pattern": durationPattern}
	case kindStrings:
		return list(text)
	case kindWords:
		return map[string]any{"type": "object", "additionalProperties": text}
	case kindMask:
		return map[string]any{"type": []string{"string", "integer"}}
	case kindInts:
		return list(map[string]any{"type": "integer"})
	case kindTable:
		return w.refer(k.table)
	case kindTables:
		return list(w.refer(k.table))
	case kindChecks:
		return either(w.refer(k.table), list(w.refer(k.table)))
	case kindForward:
		return either(text, w.refer(k.table))
	case kindTLS:
		return either(map[string]any{"type": "boolean"}, w.refer(k.table))
	case kindList:
		if t := entries[k.name]; t != nil {
			return list(either(map[string]any{"type": "string"}, w.refer(t)))
		}
		return map[string]any{"type": "array"}
	}
	return map[string]any{}
}

// asJSON is a default as JSON has it.
func asJSON(v any) any {
	if d, ok := v.(time.Duration); ok {
		return short(d)
	}
	return v
}
