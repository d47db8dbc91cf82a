// A table in the words of ipvsadm, which reads it back with -R. It reads and
// writes nothing.
//
// PURE.

package ipvs

import (
	"fmt"
	"net/netip"
	"strings"
)

// Export returns the table as `ipvsadm -S -n` prints it, services and servers in
// order, each service followed by its servers. Beyond what ipvsadm itself saves
// it has the thresholds, so that `ipvsadm -R` makes the same table of it.
func Export(t Table) string {
	var b strings.Builder
	for _, k := range t.Keys() {
		s := t[k]
		name := ipvsadmName(k)
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
		if s.Flags&OnePacket != 0 {
			b.WriteString(" -o")
		}
		if names := (s.Flags & (Sched1 | Sched2 | Sched3)).Names(s.Scheduler); len(names) > 0 {
			b.WriteString(" -b " + strings.Join(names, ","))
		}
		b.WriteByte('\n')
		for _, a := range sortedAddrs(s.Destinations) {
			b.WriteString("-a " + name + " " + ipvsadmDestination(s.Destinations[a]) + "\n")
		}
	}
	return b.String()
}

// ipvsadmName is like "-t 10.0.0.88:80", "-u …", "--sctp-service …" or "-f 7 -6".
func ipvsadmName(k ServiceKey) string {
	switch {
	case k.Mark != 0 && k.IPv6:
		return fmt.Sprintf("-f %d -6", k.Mark)
	case k.Mark != 0:
		return fmt.Sprintf("-f %d", k.Mark)
	case k.Protocol == UDP:
		return "-u " + k.Address.String()
	case k.Protocol == SCTP:
		return "--sctp-service " + k.Address.String()
	}
	return "-t " + k.Address.String()
}

func ipvsadmDestination(d Destination) string {
	var b strings.Builder
	b.WriteString("-r " + d.Address.String())
	switch d.Forward {
	case NAT:
		b.WriteString(" -m")
	case Tunnel:
		b.WriteString(" -i")
	default: // local, too: the kernel finds out by itself
		b.WriteString(" -g")
	}
	fmt.Fprintf(&b, " -w %d", d.Weight)
	if d.UpperThreshold != 0 || d.LowerThreshold != 0 {
		fmt.Fprintf(&b, " -x %d -y %d", d.UpperThreshold, d.LowerThreshold)
	}
	if d.Forward != Tunnel {
		return b.String()
	}
	b.WriteString(" --tun-type " + d.Encap.Type.String())
	if d.Encap.Type == GUE {
		fmt.Fprintf(&b, " --tun-port %d", d.Encap.Port)
	}
	if d.Encap.Type != IPIP {
		switch d.Encap.Flags {
		case EncapChecksum:
			b.WriteString(" --tun-csum")
		case EncapRemoteChecksum:
			b.WriteString(" --tun-remcsum")
		default:
			b.WriteString(" --tun-nocsum")
		}
	}
	return b.String()
}

// netmaskText is a netmask of IPv4, the prefix length of IPv6.
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
