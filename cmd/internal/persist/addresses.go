package persist

// The record of addresses is what the elections of the running configuration may
// have put on this host's interfaces: what `lvsd cleanup` looks for after a
// crash.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"lvsd/config"
)

// Addresses is the record.
type Addresses struct {
	Version   int        `json:"version"`
	Instances []Instance `json:"elections"`
	// CleanupSkipped says that a crash was followed by no cleaning up, because the daemon
	// was about to be started again. A start that succeeds writes the record anew.
	CleanupSkipped bool `json:"spared,omitempty"`
}

// Instance is one election's part.
type Instance struct {
	Name       string         `json:"name"`
	Interface  string         `json:"interface"`
	VRID       uint8          `json:"virtual_router_id"`
	VirtualMAC bool           `json:"virtual_mac,omitempty"`
	IPv6       bool           `json:"ipv6,omitempty"`
	Addresses  []netip.Prefix `json:"addresses"`
	Routes     []config.Route `json:"routes,omitempty"` // that move with them
	Rules      []config.Rule  `json:"rules,omitempty"`  // likewise
}

const addressesVersion = 1

func (d *Dir) addresses() string { return filepath.Join(d.path, "addresses") }

// LoadAddresses reads the record. A missing file is an empty one.
func (d *Dir) LoadAddresses() (Addresses, error) {
	var a Addresses
	text, err := os.ReadFile(d.addresses())
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return a, fmt.Errorf("failed to read the record of addresses: %w", err)
	}
	err = json.Unmarshal(text, &a)
	if err == nil && a.Version != addressesVersion {
		err = fmt.Errorf("its version %d is not known to this lvsd", a.Version)
	}
	if err != nil {
		return Addresses{}, fmt.Errorf("failed to read the record of addresses, %s: %w (look at `ip address`, take off by hand what a crash left, and remove the file)", d.addresses(), err)
	}
	return a, nil
}

// SaveAddresses replaces it.
func (d *Dir) SaveAddresses(a Addresses) error {
	a.Version = addressesVersion
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("failed to encode the record of addresses: %w", err)
	}
	return replaceFile(d.addresses(), append(text, '\n'))
}
