package ipvsadm

import (
	"fmt"
	"net/netip"
	"strings"

	"lvsd/ipvs"
)

// Format returns the table as `ipvsadm -S -n` prints it, in order, each service
// followed by its real servers. It adds the thresholds, which ipvsadm does not save,
// so that `ipvsadm -R` restores the same table.
func Format(t ipvs.Table) string {
	var b strings.Builder
	for _, k := range t.Keys() {
		s := t[k]
		name := serviceOption(k)
		b.WriteString("-A " + name + " -s " + s.Scheduler)
		if s.Persistence != 0 {
			fmt.Fprintf(&b, " -p %d", s.Persistence)
			if bits := s.PersistencePrefix(); bits != k.AddrBits() {
				b.WriteString(" -M " + netmaskText(bits, k.Is4()))
			}
		}
		if s.Engine != "" {
			b.WriteString(" --pe " + s.Engine)
		}
		if s.Flags&ipvs.OnePacket != 0 {
			b.WriteString(" -o")
		}
		if names := (s.Flags & (ipvs.Sched1 | ipvs.Sched2 | ipvs.Sched3)).Names(s.Scheduler); len(names) > 0 {
			b.WriteString(" -b " + strings.Join(names, ","))
		}
		b.WriteByte('\n')
		for _, a := range s.Addresses() {
			b.WriteString("-a " + name + " " + destinationOptions(s.Destinations[a]) + "\n")
		}
	}
	return b.String()
}

// serviceOption is like "-t 10.0.0.88:80", "-u …", "--sctp-service …" or "-f 7 -6".
func serviceOption(k ipvs.ServiceKey) string {
	switch {
	case k.Mark != 0 && k.IPv6:
		return fmt.Sprintf("-f %d -6", k.Mark)
	case k.Mark != 0:
		return fmt.Sprintf("-f %d", k.Mark)
	case k.Protocol == ipvs.UDP:
		return "-u " + k.Address.String()
	case k.Protocol == ipvs.SCTP:
		return "--sctp-service " + k.Address.String()
	}
	return "-t " + k.Address.String()
}

// destinationOptions returns "-r", the forwarding method, the weight, the
// thresholds and the encapsulation of a tunnel.
func destinationOptions(d ipvs.Destination) string {
	var b strings.Builder
	b.WriteString("-r " + d.Address.String())
	switch d.Forward {
	case ipvs.NAT:
		b.WriteString(" -m")
	case ipvs.Tunnel:
		b.WriteString(" -i")
	default: // also local, which the kernel detects itself
		b.WriteString(" -g")
	}
	fmt.Fprintf(&b, " -w %d", d.Weight)
	if d.UpperThreshold != 0 || d.LowerThreshold != 0 {
		fmt.Fprintf(&b, " -x %d -y %d", d.UpperThreshold, d.LowerThreshold)
	}
	if d.Forward != ipvs.Tunnel {
		return b.String()
	}
	b.WriteString(" --tun-type " + d.Encap.Type.String())
	if d.Encap.Type == ipvs.GUE {
		fmt.Fprintf(&b, " --tun-port %d", d.Encap.Port)
	}
	if d.Encap.Type != ipvs.IPIP {
		switch d.Encap.Flags {
		case ipvs.EncapChecksum:
			b.WriteString(" --tun-csum")
		case ipvs.EncapRemoteChecksum:
			b.WriteString(" --tun-remcsum")
		default:
			b.WriteString(" --tun-nocsum")
		}
	}
	return b.String()
}

// netmaskText returns the netmask of IPv4, or the prefix length of IPv6.
func netmaskText(bits int, is4 bool) string {
	if !is4 {
		return fmt.Sprint(bits)
	}
	p, err := netip.AddrFrom4([4]byte{255, 255, 255, 255}).Prefix(max(0, min(bits, 32)))
	if err != nil {
		return ""
	}
	return p.Addr().String()
}
