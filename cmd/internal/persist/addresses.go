package persist

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
		return Addresses{}, fmt.Errorf("failed to read the record of addresses, %s: %w (look at `ip address`, remove manually what a crash left, and remove the file)", d.addresses(), err)
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
