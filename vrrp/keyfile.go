package vrrp

import (
	"fmt"
	"maps"
)

// KeySet are the keys of a key file, for whatever else two directors prove to
// each other with the key of their elections.
type KeySet struct {
	First uint8 // what to prove with; all are accepted
	Keys  map[uint8][]byte
}

// ReadKeys reads a key file of type "hmac", as docs/vrrp-authentication.md
// describes it. No error holds a key.
func ReadKeys(path string) (KeySet, error) {
	text, err := readPrivate(path)
	if err != nil {
		return KeySet{}, err
	}
	keys, err := parseKeys(text, false)
	if err != nil {
		return KeySet{}, fmt.Errorf("failed to read the key file %s: %w", path, err)
	}
	return KeySet{First: keys.sealWith, Keys: maps.Clone(keys.keys)}, nil
}
