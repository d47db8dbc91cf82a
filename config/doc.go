// Package config parses lvsd.toml into a typed and validated configuration. It
// reports all errors of a file at once, each with line and column, fills in the
// defaults, and resolves the values that differ between the directors.
//
//	text → tomlpos.Decode → reader, by schema → builders → File → For(director) → Config
//	       values and         types, ranges,     one file a
//	       their positions    unknown keys       table
//
// Parse reads a whole text. ParseAfter decodes only the services that changed since
// the text before, with the same result.
//
// The package opens no file, resolves no name and asks nothing of the host: whether
// an interface or a scheduler's module exists is checked elsewhere.
package config
