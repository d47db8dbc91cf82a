// The sender's socket: UDP to the group of the synchronisation by its interface, as the
// kernel's sync master has it.

package connsync

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"lvsd/ipvs"
)

// dial opens a socket that sends each Write as one message to the group.
func dial(c ipvs.SyncConfig) (io.WriteCloser, error) {
	iface, err := net.InterfaceByName(c.Interface)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", c.Interface, err)
	}
	c = c.WithDefaults()
	group, ttl := c.Group, int(c.TTL)
	to := net.UDPAddrFromAddrPort(c.Destination())
	to.Zone = c.Interface
	network := "udp4"
	if group.Is6() {
		network = "udp6"
	} else {
		to.Zone = ""
	}
	conn, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, err
	}
	// This host has the connections already.
	if group.Is6() {
		p := ipv6.NewPacketConn(conn)
		err = errors.Join(p.SetMulticastInterface(iface), p.SetMulticastHopLimit(ttl), p.SetMulticastLoopback(false))
	} else {
		p := ipv4.NewPacketConn(conn)
		err = errors.Join(p.SetMulticastInterface(iface), p.SetMulticastTTL(ttl), p.SetMulticastLoopback(false))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return groupConn{conn, to}, nil
}

type groupConn struct {
	*net.UDPConn
	to *net.UDPAddr
}

func (s groupConn) Write(b []byte) (int, error) { return s.WriteToUDP(b, s.to) }
