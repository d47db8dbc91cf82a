package docs

import _ "embed"

// Schema is the JSON Schema of lvsd.toml, for editors.
//
//go:embed lvsd.schema.json
var Schema string

// Reference is the configuration that names every key.
//
//go:embed lvsd.toml
var Reference string
