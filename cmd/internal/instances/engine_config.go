package instances

import (
	"lvsd/cmd/internal/decision"
	"lvsd/config"
	"lvsd/vrrp"
)

// EngineConfig returns the engine's form of an instance of a configuration. One that
// tracks services preempts no sooner than a round of their checks takes.
func EngineConfig(e config.Instance, all *config.Config) vrrp.Config {
	c := vrrp.Config{
		Name:           e.Name,
		Interface:      e.Interface,
		VRID:           e.VRID,
		Priority:       e.Priority,
		AdvertInterval: e.AdvertInterval,
		Preempt:        e.Preempt,
		PreemptDelay:   max(e.PreemptDelay, decision.TrackingDelay(e.TrackServices, all.Services)),
		StartupDelay:   e.StartupDelay,
		Addresses:      e.Addresses,
		Excluded:       e.ExcludedAddresses,
		Interfaces:     e.Interfaces,
		VirtualMAC:     e.VirtualMAC,
		AnyIPv6:        e.AnyIPv6,
		Checksum:       checksums[e.Checksum],
		Version:        e.Version,
		Unicast:        e.Unicast,
		Source:         e.Source,
		UnicastHops:    e.UnicastHops,
		Authentication: vrrp.Authentication{Type: e.Authentication.Type, KeyFile: e.Authentication.KeyFile, Permissive: e.Authentication.Permissive},
		HandoverLimit:  e.HandoverLimit,
		SyncGroup:      e.SyncGroup,
	}
	for _, i := range e.TrackInterfaces {
		c.TrackInterfaces = append(c.TrackInterfaces, vrrp.TrackedInterface(i))
	}
	for _, r := range e.Routes {
		c.Routes = append(c.Routes, vrrp.Route(r))
	}
	for _, r := range e.Rules {
		c.Rules = append(c.Rules, vrrp.Rule(r))
	}
	for _, s := range e.TrackScripts {
		c.TrackScripts = append(c.TrackScripts, vrrp.TrackedScript(s))
	}
	for _, f := range e.TrackFiles {
		c.TrackFiles = append(c.TrackFiles, vrrp.TrackedFile(f))
	}
	return c
}

var checksums = map[string]vrrp.Checksum{"rfc5798": vrrp.RFC5798, "rfc9568": vrrp.RFC9568}
