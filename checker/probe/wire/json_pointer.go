package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// JSONAt returns what a JSON pointer (RFC 6901) names in a document, as text: a string
// without its quotation marks, other values in their shortest JSON form.
func JSONAt(document []byte, pointer string) (string, error) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	var at any
	if err := d.Decode(&at); err != nil {
		return "", fmt.Errorf("the body is not JSON: %w", err)
	}
	if pointer != "" {
		for token := range strings.SplitSeq(pointer[1:], "/") {
			token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
			var found bool
			switch parent := at.(type) {
			case map[string]any:
				at, found = parent[token]
			case []any:
				if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(parent) {
					at, found = parent[i], true
				}
			}
			if !found {
				return "", fmt.Errorf("the body has nothing at %s", pointer)
			}
		}
	}
	if s, ok := at.(string); ok {
		return s, nil
	}
	text, err := json.Marshal(at)
	return string(text), err
}
