package config

import (
	"bytes"
	"encoding/json"
	"lvsd/config/schema"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaFile = "../docs/lvsd.schema.json"

// descriptions reads the reference's description of each key.
func descriptions(t *testing.T) func(table, key string) string {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	section, paragraph := "", []string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		remark, isRemark := strings.CutPrefix(line, "#")
		m, head := keyLine.FindStringSubmatch(line), sectionLine.FindStringSubmatch(line)
		switch {
		case head != nil:
			section, paragraph = head[1], nil
		case m != nil:
			if at := section + "." + m[2]; said[at] == "" {
				said[at] = strings.Join(paragraph, " ")
			}
			paragraph = nil
		case !isRemark:
			paragraph = nil
		case strings.HasPrefix(line, "# Default: "), line == "# Required.", line == "# May differ between the directors.":
		default:
			paragraph = append(paragraph, strings.TrimSpace(remark))
		}
	}
	if len(said) < 100 {
		t.Fatalf("the reference describes %d keys only", len(said))
	}
	return func(table, key string) string { return said[table+"."+key] }
}

// compiled is the schema as an editor has it.
func compiled(t *testing.T, text []byte) *jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("lvsd.schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("lvsd.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asDocument reads TOML as JSON has it.
func asDocument(t *testing.T, text []byte) (any, bool) {
	var values map[string]any
	if _, err := toml.Decode(string(text), &values); err != nil {
		return nil, false
	}
	b, err := json.Marshal(values)
	if err != nil {
		return nil, false // not a number, which JSON has none of
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return document, true
}

// TestReferenceNamesEveryKeyToEditors: the schema in docs is the one of the
// keys. It has the test's name that is run with -update when keys change.
func TestReferenceNamesEveryKeyToEditors(t *testing.T) {
	describe := descriptions(t)
	text := schema.JSON(describe)
	if *update {
		if err := os.WriteFile(schemaFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stands, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, stands) {
		t.Errorf("%s is not the schema of the keys: run go test ./config -run TestReferenceNamesEveryKey -update", schemaFile)
	}
	for _, tab := range documentedTables {
		for _, k := range tab.Keys {
			if describe(tab.Name, k.Name) == "" && (tab != schema.RootTable || k.Table == nil) {
				t.Errorf("%s.%s has no description in the reference", tab.Name, k.Name)
			}
		}
	}
}

// TestSchemaTakesWhatIsGood: the schema accepts the reference and every good file.
func TestSchemaTakesWhatIsGood(t *testing.T) {
	files, err := filepath.Glob("testdata/good-*.toml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range append(files, reference) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			document, ok := asDocument(t, text)
			if !ok {
				t.Fatal("no TOML")
			}
			if err := compiled(t, schema.JSON(descriptions(t))).Validate(document); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSchemaRefusesWhatOneKeyShows: a mistake that a single key shows is one to
// the schema, too.
func TestSchemaRefusesWhatOneKeyShows(t *testing.T) {
	s := compiled(t, schema.JSON(descriptions(t)))
	refused := 0
	for _, pattern := range []string{"bad-type-*", "bad-unknown-*", "bad-choice-*", "bad-missing-[^s]*", "bad-range-[mqvw]*", "bad-range-priority", "bad-range-rise", "bad-range-threshold", "bad-duration-int*", "bad-duration-no-unit*", "bad-check-key-of-*", "bad-check-type-unknown*"} {
		files, err := filepath.Glob("testdata/" + pattern + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if document, ok := asDocument(t, text); ok && s.Validate(document) == nil {
				t.Errorf("%s is good to the schema", name)
			} else if ok {
				refused++
			}
		}
	}
	if refused < 20 {
		t.Errorf("only %d files were looked at", refused)
	}
}
