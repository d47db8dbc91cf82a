// Package reader reads decoded TOML by the schema: it reports unknown and missing
// keys, wrong types, values out of range, and values that differ between directors
// where they must not. The result is a tree of tables in which every key has a value of the
// right Go type and its position. One key is not compared with another here; the
// builders of package config do that, and report through the same tables.
package reader
