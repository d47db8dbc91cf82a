// Package schema is the table of all configuration keys: for each its type, default,
// range, choices, and whether it may differ between the directors. Reader, reference
// manual, JSON Schema and converters use the same table.
//
//	keys.go ──┬── reader            validates a file
//	          ├── docs/lvsd.toml    is compared with it by a test
//	          ├── JSON              returns the JSON Schema; a test compares docs/lvsd.schema.json
//	          └── lvsd convert      order of keys, and defaults to leave out
package schema
