// Validation of a configuration, independent of the host.

package vrrp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"lvsd/vrrp/auth"
)

// Limits of the advert interval. Version 3: 12 bits of centiseconds, RFC 9568
// §5.2.7. Version 2: 8 bits of seconds.
const (
	centisecond   = 10 * time.Millisecond
	minInterval   = centisecond
	maxInterval   = 4095 * centisecond
	maxIntervalV2 = 255 * time.Second
)

// check returns the first error of the configuration.
func (c Config) check() error {
	switch {
	case c.Interface == "":
		return fmt.Errorf("no interface configured")
	case c.VRID == 0:
		return fmt.Errorf("virtual router ID 0 is outside of 1 to 255")
	case c.version() != 2 && c.version() != 3:
		return fmt.Errorf("version %d is neither 2 nor 3", c.Version)
	case c.Priority == 0:
		return fmt.Errorf("priority 0 is outside of 1 to 255 (0 means that the master resigns)")
	case c.HandoverLimit < 0:
		return fmt.Errorf("handover limit %v is negative", c.HandoverLimit)
	case c.PreemptDelay < 0:
		return fmt.Errorf("preempt delay %v is negative", c.PreemptDelay)
	case c.StartupDelay < 0:
		return fmt.Errorf("startup delay %v is negative", c.StartupDelay)
	case len(c.Addresses) > 255:
		return fmt.Errorf("%d addresses: an advert has room for 255", len(c.Addresses))
	case c.VirtualMAC && c.v6() && len(c.Addresses) > maxFrame6:
		return fmt.Errorf("%d IPv6 addresses do not fit into one frame from a virtual MAC address, %d do", len(c.Addresses), maxFrame6)
	case c.Checksum >= checksums:
		return fmt.Errorf("unknown %v", c.Checksum)
	}
	for _, f := range []func() error{c.checkInterval, c.checkAddresses, c.checkUnicast, c.checkAuthentication, c.checkTracking, c.checkRoutes} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// maxFrame6 is the number of IPv6 addresses that fit in one Ethernet frame:
// adverts from a virtual MAC address are not fragmented.
const maxFrame6 = (1500 - 40 - 8 - auth.TrailerLen) / 16

func (c Config) checkInterval() error {
	d := c.AdvertInterval
	switch {
	case c.version() == 2 && (d < time.Second || d > maxIntervalV2 || d%time.Second != 0):
		return fmt.Errorf("advert interval %v is not a whole number of seconds from 1s to 255s, as version 2 requires", d)
	case c.version() == 3 && (d < minInterval || d > maxInterval || d%centisecond != 0):
		return fmt.Errorf("advert interval %v is not a whole number of centiseconds from 10ms to 40.95s", d)
	}
	return nil
}

func (c Config) checkAddresses() error {
	seen := make(map[netip.Addr]bool, len(c.Addresses)+len(c.Excluded))
	for _, p := range c.allAddresses() {
		switch {
		case !p.IsValid() || p.Addr().Is4In6():
			return fmt.Errorf("invalid address %v", p)
		case p.Addr().Is6() != c.v6():
			return fmt.Errorf("address %v is of another family than %v: an instance has one family", p, c.allAddresses()[0])
		case seen[p.Addr()]:
			return fmt.Errorf("duplicate address %v", p.Addr())
		}
		seen[p.Addr()] = true
	}
	for a, name := range c.Interfaces {
		if !seen[a] || name == "" {
			return fmt.Errorf("interface %q is of %v, which is not one of the addresses", name, a)
		}
	}
	switch {
	case !c.v6():
	case c.version() == 2:
		return fmt.Errorf("version 2 does not support IPv6")
	case len(c.Addresses) > 0 && !c.AnyIPv6 && !c.Addresses[0].Addr().IsLinkLocalUnicast():
		return fmt.Errorf("the first address, %v, is not link-local, as RFC 9568 §5.2.9 requires", c.Addresses[0].Addr())
	}
	return nil
}

func (c Config) checkUnicast() error {
	if c.Priority != 255 && slices.ContainsFunc(c.allAddresses(), func(p netip.Prefix) bool { return p.Addr() == c.Source }) {
		return fmt.Errorf("source %v is one of the virtual addresses: the present master would drop adverts from it; use an address that only this director has", c.Source)
	}
	for _, a := range append([]netip.Addr{c.Source}, c.Unicast...) {
		if a.IsValid() && (a.Is6() != c.v6() || a.IsMulticast() || a.IsUnspecified() || a.Is4In6()) {
			return fmt.Errorf("adverts cannot be exchanged between %v and other directors of this family", a)
		}
	}
	return nil
}

func (c Config) checkAuthentication() error {
	switch a := c.Authentication; {
	case a.Type == "":
		return nil
	case a.Type != "pass" && a.Type != "hmac":
		return fmt.Errorf("unknown authentication %q", a.Type)
	case (a.Type == "pass") != (c.version() == 2):
		return fmt.Errorf("version %d does not support authentication %q", c.version(), a.Type)
	case a.KeyFile == "":
		return fmt.Errorf("authentication without a key file")
	}
	return nil
}

// maxWeight is the largest priority adjustment of a tracked object.
const maxWeight = 253

func (c Config) checkTracking() error {
	for _, i := range c.TrackInterfaces {
		if i.Name == "" || i.Weight < -maxWeight || i.Weight > maxWeight {
			return fmt.Errorf("interface %q cannot be tracked with weight %d", i.Name, i.Weight)
		}
	}
	for _, f := range c.TrackFiles {
		if f.Path == "" || f.Weight < -maxWeight || f.Weight > maxWeight {
			return fmt.Errorf("file %q cannot be tracked with weight %d", f.Path, f.Weight)
		}
	}
	for _, s := range c.TrackScripts {
		if len(s.Command) == 0 || s.Interval <= 0 || s.Timeout <= 0 || s.Rise < 1 || s.Fall < 1 || s.Weight < -maxWeight || s.Weight > maxWeight {
			return fmt.Errorf("the script %q cannot be tracked: %+v", s.Command, s)
		}
	}
	return nil
}

// checkRoutes checks routes and rules.
func (c Config) checkRoutes() error {
	other := func(a netip.Addr) bool { return a.IsValid() && a.Is6() != c.v6() }
	for _, r := range c.Routes {
		if !r.To.IsValid() || r.Interface == "" || r.Table < 0 || r.Metric < 0 || other(r.To.Addr()) || other(r.Via) || other(r.Source) {
			return fmt.Errorf("the route %+v cannot move with the addresses", r)
		}
	}
	for _, r := range c.Rules {
		if r.Table <= 0 || r.Priority <= 0 || other(r.From.Addr()) || other(r.To.Addr()) {
			return fmt.Errorf("the rule %+v cannot move with the addresses", r)
		}
	}
	return nil
}

// allAddresses returns all addresses of a master, including the excluded ones.
func (c Config) allAddresses() []netip.Prefix {
	all := make([]netip.Prefix, 0, len(c.Addresses)+len(c.Excluded))
	return append(append(all, c.Addresses...), c.Excluded...)
}

// clone returns a copy that shares no slices with c.
func (c Config) clone() Config {
	c.Addresses, c.Excluded, c.Unicast = slices.Clone(c.Addresses), slices.Clone(c.Excluded), slices.Clone(c.Unicast)
	c.Interfaces = maps.Clone(c.Interfaces)
	c.TrackInterfaces, c.TrackScripts, c.TrackFiles = slices.Clone(c.TrackInterfaces), slices.Clone(c.TrackScripts), slices.Clone(c.TrackFiles)
	return c
}
