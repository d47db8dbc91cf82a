package director

import (
	"net/netip"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/ipvs"
)

var (
	vip = netip.MustParseAddrPort("10.0.0.88:80")
	id  = checker.ID{Service: "web", RealServer: "10.0.1.1:80"}
)

func server(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(n)}), 80)
}

// oneServer is a configuration of one service "web" with one real server.
func oneServer(weight int, change func(*config.Service)) *config.Config {
	svc := config.Service{
		Name: "web", Address: vip, Protocol: "tcp", Scheduler: "wlc", Forward: "dr", Quorum: 1, OnFailure: "quiesce",
		RealServers: []config.RealServer{{Address: server(1), Weight: weight, Forward: "dr"}},
	}
	if change != nil {
		change(&svc)
	}
	return &config.Config{IPVS: config.IPVS{Foreign: "alarm"}, Services: []config.Service{svc}}
}

func kernelWith(weight int) ipvs.Table {
	key := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: vip}
	return ipvs.Table{key: {Key: key, Destinations: map[netip.AddrPort]ipvs.Destination{server(1): {Address: server(1), Weight: weight}}}}
}

func healthOf(v checker.State) map[checker.ID]checker.Health {
	return map[checker.ID]checker.Health{id: {State: v, Weight: 100, Cause: "http refused, 3 of 3"}}
}
