package persist

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"

	"lvsd/cmd/internal/disk"
	"lvsd/config"
)

// Addresses is the record of what the VRRP instances of the running configuration may have
// put on this host's interfaces: `lvsd cleanup` removes it after a crash.
type Addresses struct {
	Version   int        `json:"version"`
	Instances []Instance `json:"elections"`
	// CleanupSkipped records that `lvsd cleanup` did nothing after a crash, because the
	// daemon was about to be started again. A start that succeeds replaces the record.
	CleanupSkipped bool `json:"spared,omitempty"`
}

// Instance is what one VRRP instance may have put there.
type Instance struct {
	Name       string         `json:"name"`
	Interface  string         `json:"interface"`
	VRID       uint8          `json:"virtual_router_id"`
	VirtualMAC bool           `json:"virtual_mac,omitempty"`
	IPv6       bool           `json:"ipv6,omitempty"`
	Addresses  []netip.Prefix `json:"addresses"`
	Routes     []config.Route `json:"routes,omitempty"` // that move with them
	Rules      []config.Rule  `json:"rules,omitempty"`  // that move with them
}

const addressesVersion = 1

// LoadAddresses reads the record. A missing file is an empty one; one that cannot be used
// is an error and is renamed to addresses.bad.
func (d *Dir) LoadAddresses() (Addresses, error) {
	var a Addresses
	if _, err := d.load("addresses", "addresses", addressesVersion, &a); err != nil {
		return Addresses{}, err
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
	return disk.ReplaceFile(filepath.Join(d.path, "addresses"), append(text, '\n'), 0o600)
}
