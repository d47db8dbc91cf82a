// Faults of the network, one call each, all undone by their counterparts. They
// act on the first cable of a host (eth0). Faults of programs are in process.go.

package lab

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// CutCable removes the carrier: the switch's end of eth0 goes down, and the host's
// kernel notices at once.
func (h *Host) CutCable() { h.lab.tb.Helper(); h.nics[0].setCable(false) }

// PlugCable ends CutCable.
func (h *Host) PlugCable() { h.lab.tb.Helper(); h.nics[0].setCable(true) }

// CutCableOf is CutCable for another device than eth0.
func (h *Host) CutCableOf(dev string) {
	h.lab.tb.Helper()
	for _, n := range h.nics {
		if n.dev == dev {
			n.setCable(false)
			return
		}
	}
	h.lab.tb.Fatalf("lab: %s has no cable at %s", h.Name, dev)
}

func (n *nic) setCable(up bool) {
	l := n.host.lab
	l.tb.Helper()
	link, err := n.lan.ns.nl.LinkByName(n.port)
	l.must(err, "find the switch port of %s", n.host.Name)
	if up {
		err = n.lan.ns.nl.LinkSetUp(link)
	} else {
		err = n.lan.ns.nl.LinkSetDown(link)
	}
	l.must(err, "switch the cable of %s", n.host.Name)
}

// Carrier reports whether the device has a link.
func (h *Host) Carrier(dev string) bool {
	link, err := h.ns.nl.LinkByName(dev)
	return err == nil && link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0
}

// Silence drops every frame of the host's eth0 in both directions, also ARP and
// multicast, while the carrier stays. It removes the port from the switch, which needs
// no netem.
func (h *Host) Silence() {
	n, l := h.nics[0], h.lab
	l.tb.Helper()
	link, err := n.lan.ns.nl.LinkByName(n.port)
	l.must(err, "find the switch port of %s", h.Name)
	l.must(n.lan.ns.nl.LinkSetNoMaster(link), "silence %s", h.Name)
}

// Unsilence ends Silence. The port forwards at once.
func (h *Host) Unsilence() {
	n, l := h.nics[0], h.lab
	l.tb.Helper()
	link, err := n.lan.ns.nl.LinkByName(n.port)
	l.must(err, "find the switch port of %s", h.Name)
	l.must(n.lan.ns.nl.LinkSetMaster(link, n.lan.bridge), "end the silence of %s", h.Name)
}

// Direction selects the frames of a host that an impairment affects.
type Direction uint8

// The directions, seen from the host.
const (
	BothWays Direction = iota
	Outbound           // what the host sends
	Inbound            // what the host receives
)

// Impairment is a bad cable (sch_netem). Percentages are per frame and direction, 0 to 100.
type Impairment struct {
	Loss      float32
	Duplicate float32
	Reorder   float32 // of those sent at once instead of delayed; needs Delay
	Delay     time.Duration
	Jitter    time.Duration // around Delay
	Direction Direction
}

// Netem impairs the host's eth0, replacing an earlier impairment. The kernel
// needs sch_netem; User-Mode Linux has it.
func (h *Host) Netem(i Impairment) {
	h.lab.tb.Helper()
	h.ClearNetem()
	n := h.nics[0]
	if i.Direction != Inbound {
		h.lab.must(n.impair(h.ns, n.dev, i), "impair what %s sends", h.Name)
	}
	if i.Direction != Outbound {
		h.lab.must(n.impair(n.lan.ns, n.port, i), "impair what %s receives", h.Name)
	}
}

// ClearNetem ends Netem. Without one it does nothing.
func (h *Host) ClearNetem() {
	h.lab.tb.Helper()
	n := h.nics[0]
	h.lab.must(clearNetem(h.ns, n.dev), "end the impairment of what %s sends", h.Name)
	h.lab.must(clearNetem(n.lan.ns, n.port), "end the impairment of what %s receives", h.Name)
}

func (n *nic) impair(ns *namespace, dev string, i Impairment) error {
	link, err := ns.nl.LinkByName(dev)
	if err != nil {
		return err
	}
	q := netlink.NewNetem(
		netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)},
		netlink.NetemQdiscAttrs{
			Latency:     uint32(i.Delay.Microseconds()),
			Jitter:      uint32(i.Jitter.Microseconds()),
			Loss:        i.Loss,
			Duplicate:   i.Duplicate,
			ReorderProb: i.Reorder,
		})
	if err := ns.nl.QdiscAdd(q); err != nil {
		return fmt.Errorf("sch_netem: %w", err)
	}
	return nil
}

func clearNetem(ns *namespace, dev string) error {
	link, err := ns.nl.LinkByName(dev)
	if err != nil {
		return err
	}
	qdiscs, err := ns.nl.QdiscList(link)
	if err != nil {
		return err
	}
	for _, q := range qdiscs {
		if q.Type() == "netem" {
			if err := ns.nl.QdiscDel(q); err != nil {
				return err
			}
		}
	}
	return nil
}
