package ipvsadm

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lvsd/ipvs"
)

const saved = `-A -f 4294967295 -6 -s wlc -o
-A -t 10.0.0.88:25 -s wlc
-a -t 10.0.0.88:25 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -t 10.0.0.88:25 -r 10.0.0.2:80 -g -w 1
-A -t 10.0.0.88:80 -s wlc -p 300 -M 255.255.240.0
-a -t 10.0.0.88:80 -r 10.0.0.1:80 -g -w 65535
-a -t 10.0.0.88:80 -r 10.0.0.2:80 -g -w 0 -x 100 -y 80
`

func service(k ipvs.ServiceKey, dests ...ipvs.Destination) ipvs.Service {
	s := ipvs.Service{Key: k, Scheduler: "wlc", Destinations: map[netip.AddrPort]ipvs.Destination{}}
	for i, d := range dests {
		d.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80)
		s.Destinations[d.Address] = d
	}
	return s
}

func tcp(address string) ipvs.ServiceKey {
	return ipvs.ServiceKey{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort(address)}
}

func TestFormat(t *testing.T) {
	web := service(tcp("10.0.0.88:80"), ipvs.Destination{Forward: ipvs.DirectRoute, Weight: 65535},
		ipvs.Destination{Forward: ipvs.DirectRoute, UpperThreshold: 100, LowerThreshold: 80})
	web.Persistence, web.PersistenceBits = 300, 20
	mark := service(ipvs.ServiceKey{Mark: 1<<32 - 1, IPv6: true})
	mark.Flags = ipvs.OnePacket
	gue := service(tcp("10.0.0.88:25"), ipvs.Destination{Forward: ipvs.Tunnel, Weight: 1, Encap: ipvs.Encap{Type: ipvs.GUE, Port: 6080, Flags: ipvs.EncapRemoteChecksum}},
		ipvs.Destination{Forward: ipvs.Local, Weight: 1})
	if d := cmp.Diff(saved, Format(ipvs.Table{web.Key: web, mark.Key: mark, gue.Key: gue})); d != "" {
		t.Error(d)
	}
	if Format(ipvs.Table{}) != "" {
		t.Error("an empty table is not empty")
	}
}

func TestParse(t *testing.T) {
	for line, want := range map[string]Command{
		"-A -t 10.0.0.88:80 -s wlc -p 300 -M 255.255.240.0": {Options: map[string]string{
			"-A": "", "-t": "10.0.0.88:80", "-s": "wlc", "-p": "300", "-M": "255.255.240.0"}},
		"/sbin/ipvsadm --add-service --tcp-service=web:http -p -s rr": {Options: map[string]string{"-A": "", "-t": "web:http", "-p": "", "-s": "rr"}},
		"-a -t web:http -r a -w5 --tun-csum":                          {Options: map[string]string{"-a": "", "-t": "web:http", "-r": "a", "-w": "5", "--tun-csum": ""}},
		"--set 900 120 300":                                           {Options: map[string]string{"--set": ""}, Args: []string{"900", "120", "300"}},
		"-A --frob -t":                                                {Options: map[string]string{"-A": "", "-t": ""}, Unknown: []string{"--frob"}},
		"":                                                            {Options: map[string]string{}},
	} {
		if d := cmp.Diff(want, Parse(strings.Fields(line))); d != "" {
			t.Errorf("%q (-want +got):\n%s", line, d)
		}
	}
}

// TestParseReadsFormat requires that nothing of what Format writes is unknown.
func TestParseReadsFormat(t *testing.T) {
	for line := range strings.Lines(saved) {
		c := Parse(strings.Fields(line))
		if len(c.Unknown) > 0 || len(c.Args) > 0 || !c.Has("-A") && !c.Has("-a") {
			t.Errorf("%q: %+v", line, c)
		}
	}
}
