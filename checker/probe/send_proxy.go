package probe

import (
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/wire"
	"net/netip"
)

// sendProxyHeader sends the header of the PROXY protocol.
func sendProxyHeader(c netpoll.Stream, version string, to netip.AddrPort) outcome.Outcome {
	from, err := c.LocalAddrPort()
	if err == nil {
		_, err = c.Write(wire.ProxyHeader(version, from, to))
	}
	if err != nil {
		return outcome.FromError(outcome.PhaseSend, err, "")
	}
	return outcome.Outcome{}
}
