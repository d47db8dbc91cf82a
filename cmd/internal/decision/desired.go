package decision

import (
	"net/netip"
	"time"

	"lvsd/config"
	"lvsd/ipvs"
)

// DesiredSettings returns the desired state without its table: settings, connection sync,
// names and drain timeouts.
func DesiredSettings(c *config.Config, now time.Time) ipvs.Desired {
	w := ipvs.Desired{
		Table:          make(ipvs.Table, len(c.Services)),
		Names:          make(map[ipvs.ServiceKey]string, len(c.Services)),
		TimeoutTCP:     c.IPVS.TimeoutTCP,
		TimeoutTCPFin:  c.IPVS.TimeoutTCPFin,
		TimeoutUDP:     c.IPVS.TimeoutUDP,
		ManageSysctls:  c.IPVS.ManageSysctls,
		KeepTemplates:  keepsTemplates(c, now),
		Foreign:        foreignPolicies[c.IPVS.Foreign],
		ResyncInterval: c.IPVS.ResyncInterval,
		Sync:           DesiredSync(c.IPVS.Sync),
		Drain:          map[ipvs.ServiceKey]time.Duration{},
		NoDrain:        map[ipvs.Entry]struct{}{},
		Prime:          primes(c),
	}
	for _, svc := range c.Services {
		k := ServiceKey(svc)
		w.Names[k] = svc.Name
		if svc.DrainTimeout > 0 {
			w.Drain[k] = svc.DrainTimeout
		}
	}
	return w
}

// keepsTemplates reports whether a server is drained by configuration and its persistent
// clients are to stay. The kernel's setting for that is one for all services; its other
// value is the safe one: it moves clients away from servers that failed.
func keepsTemplates(c *config.Config, now time.Time) bool {
	for _, svc := range c.Services {
		if svc.Persistence == 0 || svc.DrainPersistent != "keep" {
			continue
		}
		for _, rs := range svc.RealServers {
			if rs.Weight == 0 || now.Before(rs.DrainUntil) {
				return true
			}
		}
	}
	return false
}

// primes are the weights that servers behind mh have in the hash table while they are down
// or drained: with announcements the tables of all directors must be equal.
func primes(c *config.Config) map[ipvs.Entry]int {
	all := map[ipvs.Entry]int{}
	if len(c.Announces) == 0 {
		return all
	}
	for _, svc := range c.Services {
		for _, rs := range svc.RealServers {
			if weight := max(rs.Weight, rs.DrainedWeight); svc.Scheduler == "mh" && weight > 0 {
				all[ipvs.Entry{Service: ServiceKey(svc), RealServer: rs.Address}] = weight
			}
		}
	}
	return all
}

// dropFailed removes the servers that failed and are left out of the table without a
// drain: their connections are dead.
func dropFailed(w *ipvs.Desired, decided Service) {
	for _, s := range decided.Servers {
		if !s.InTable {
			w.NoDrain[ipvs.Entry{Service: decided.Key, RealServer: s.Address}] = struct{}{}
		}
	}
}

// DesiredSync returns the reconciler's form of [ipvs.sync].
func DesiredSync(s *config.Sync) *ipvs.SyncConfig {
	if s == nil {
		return nil
	}
	return &ipvs.SyncConfig{
		Interface:     s.Interface,
		ID:            s.ID,
		Group:         s.Group,
		Port:          s.Port,
		TTL:           s.TTL,
		MaxLen:        s.MaxLen,
		Threshold:     s.Threshold,
		RefreshPeriod: s.RefreshPeriod,
	}
}

// ServiceKey is the kernel's key of a configured service.
func ServiceKey(svc config.Service) ipvs.ServiceKey {
	if svc.FWMark != 0 {
		return ipvs.ServiceKey{Mark: svc.FWMark, IPv6: svc.IPv6}
	}
	return ipvs.ServiceKey{Protocol: protocols[svc.Protocol], Address: svc.Address}
}

// DesiredService returns the kernel's form of a configured service, without destinations.
func DesiredService(svc config.Service) ipvs.Service {
	flags, err := ipvs.ParseSchedulerFlags(svc.SchedulerFlags)
	if err != nil {
		// The configuration accepts only the flags that the parser knows; a test
		// compares the two lists.
		panic(err)
	}
	if svc.OnePacket {
		flags |= ipvs.OnePacket
	}
	return ipvs.Service{
		Key:             ServiceKey(svc),
		Scheduler:       svc.Scheduler,
		Flags:           flags,
		Persistence:     uint32(svc.Persistence / time.Second),
		PersistenceBits: svc.PersistenceBits,
		Engine:          svc.PersistenceEngine,
		Destinations:    make(map[netip.AddrPort]ipvs.Destination, len(svc.RealServers)),
	}
}

// DesiredDestination returns the kernel's form of a configured real server, with its configured
// weight.
func DesiredDestination(rs config.RealServer) ipvs.Destination {
	return ipvs.Destination{
		Address:        rs.Address,
		Forward:        forwards[rs.Forward],
		Weight:         rs.Weight,
		UpperThreshold: rs.UpperThreshold,
		LowerThreshold: rs.LowerThreshold,
		Encap:          desiredEncap(rs.Tunnel),
	}
}

func desiredEncap(t config.Tunnel) ipvs.Encap {
	e, err := ipvs.ParseEncap(t.Type, t.Port, t.Checksum)
	if err != nil {
		// The configuration refuses what the parser does; a test compares the two.
		panic(err)
	}
	return e
}

var protocols = map[string]ipvs.Protocol{"tcp": ipvs.TCP, "udp": ipvs.UDP, "sctp": ipvs.SCTP}

var foreignPolicies = map[string]ipvs.ForeignPolicy{"alarm": ipvs.Alarm, "ignore": ipvs.Ignore, "remove": ipvs.Remove}

var forwards = map[string]ipvs.Forward{"nat": ipvs.NAT, "dr": ipvs.DirectRoute, "tun": ipvs.Tunnel, "local": ipvs.Local}
