// Connections that are not synchronised yet, of every kind of service, when the master
// hands over; and the messages with which the leaving director sends them, compared
// with the kernel's.

package vrrp_test

import (
	octets "encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// kind is a kind of service and its clients.
type kind struct {
	name, addr string
	udp        bool
	clients    []*client
}

// client is one connection, or one UDP flow.
type client struct {
	net.Conn
	server string // that responded; empty before the first request
}

// ask sends a line; the server that responds must be the one of before.
func (c *client) ask(limit time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := fmt.Fprintln(c, "who"); err != nil {
		return err
	}
	buf := make([]byte, 256)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(string(buf[:n]), " ")
	if c.server != "" && c.server != name {
		return fmt.Errorf("response from %s, earlier ones from %s", name, c.server)
	}
	c.server = name
	return nil
}

// kindsPair returns a pair with a service of every kind, which is not started. Its
// VIPs and the gateway of the NAT servers are in one sync group.
func kindsPair(t *testing.T) (*lvsdtest.Pair, []*kind) {
	p := lvsdtest.NewPair(t, 2)
	p.NeedPacketFilter()
	inner := p.LAN("inner", "10.78.0.0/24")
	p.Client.AddAddress("eth0", "fd00:77::2/64")
	for i, d := range p.LB {
		d.AddAddress("eth0", fmt.Sprintf("fd00:77::%d/64", 11+i))
		d.Plug(inner, fmt.Sprintf("10.78.0.%d/24", 11+i))
		d.SetSysctl("net.ipv4.conf.eth1.send_redirects", "0")
	}
	for i, r := range p.Real {
		r.AddAddress("eth0", fmt.Sprintf("fd00:77::%d/64", 21+i))
		r.PrepareDR(lvsdtest.VIP, lvsdtest.VIP6)
		lab.ServeLines(r, ":80", r.Name)
		for _, port := range []string{":83", ":84", ":85"} {
			lab.ServeLines(r, port, r.Name)
		}
		lab.ServeUDP(r, lvsdtest.VIP+":53", r.Name)
	}
	tunnel, behind := p.Host("rs3", p.Net, "10.77.0.23/24"), p.Host("rs4", inner, "10.78.0.24/24")
	tunnel.PrepareTUN(lvsdtest.VIP)
	behind.PrepareNAT("10.78.0.1")
	lab.ServeLines(tunnel, ":81", tunnel.Name)
	lab.ServeLines(behind, ":8082", behind.Name)

	service := func(name, of, more string, servers ...string) {
		if of != "fwmark = 7" {
			of = fmt.Sprintf("address = %q", of)
		}
		p.Services += fmt.Sprintf("[[virtual_service]]\nname = %q\n%s\nscheduler = \"rr\"\ncheck = { type = \"on\" }\n%s\nreal_servers = [", name, of, more)
		for _, s := range servers {
			p.Services += fmt.Sprintf("{ address = %q }, ", s)
		}
		p.Services += "]\n"
	}
	kinds := []*kind{
		{name: "tcp dr", addr: lvsdtest.VIP + ":80"}, {name: "tcp dr IPv6", addr: "[" + lvsdtest.VIP6 + "]:80"}, {name: "tcp tun", addr: lvsdtest.VIP + ":81"},
		{name: "tcp nat", addr: lvsdtest.VIP + ":82"}, {name: "udp dr", addr: lvsdtest.VIP + ":53", udp: true},
		{name: "tcp persistent", addr: lvsdtest.VIP + ":83"}, {name: "tcp all ports", addr: lvsdtest.VIP + ":84"}, {name: "mark", addr: lvsdtest.VIP + ":85"},
	}
	service("dr", kinds[0].addr, "", "10.77.0.21:80", "10.77.0.22:80")
	service("dr6", kinds[1].addr, "", "[fd00:77::21]:80", "[fd00:77::22]:80")
	service("tun", kinds[2].addr, "forward = \"tun\"", "10.77.0.23:81")
	service("nat", kinds[3].addr, "forward = \"nat\"", "10.78.0.24:8082")
	service("udp", kinds[4].addr, "protocol = \"udp\"", "10.77.0.21:53", "10.77.0.22:53")
	service("persistent", kinds[5].addr, "persistence = \"5m\"", "10.77.0.21:83", "10.77.0.22:83")
	service("all", lvsdtest.VIP+":0", "persistence = \"5m\"", "10.77.0.21", "10.77.0.22")
	service("mark", "fwmark = 7", "", "10.77.0.21", "10.77.0.22")
	for _, d := range p.LB {
		d.IPTables("-t mangle -A PREROUTING -d " + lvsdtest.VIP + " -p tcp --dport 85 -j MARK --set-mark 7")
	}
	p.AdvertInterval = "500ms"
	p.VRRPKeys = "sync_hold = \"0s\"\nsync_group = \"all\""
	for name, e := range map[string]string{
		"web6":    "interface = \"eth0\"\nvirtual_router_id = 51\naddresses = [\"fe80::100\", \"" + lvsdtest.VIP6 + "\"]",
		"gateway": "interface = \"eth1\"\nvirtual_router_id = 52\naddresses = [\"10.78.0.1\"]",
	} {
		p.VRRPKeys += fmt.Sprintf("\n[[vrrp]]\nname = %q\n%s\npriority = { lb1 = 200, lb2 = 100 }\nadvert_interval = \"500ms\"\nsync_hold = \"0s\"\nsync_group = \"all\"\n", name, e)
	}
	p.EnableSync()
	return p, kinds
}

// TestUnsyncedConnectionsOfEveryKind: the director stops, and later preempts, right
// after clients of each kind of service have connected. Half of them have sent a line,
// which the kernel has not synchronised yet; the others have not, and the kernel does
// not synchronise such a connection. None is lost.
func TestUnsyncedConnectionsOfEveryKind(t *testing.T) {
	p, kinds := kindsPair(t)
	lb1, lb2 := p.LB[0], p.LB[1]
	everywhere := func(d *lvsdtest.Director) bool {
		return d.Holds(lvsdtest.VIP) && d.Holds(lvsdtest.VIP6) && d.HoldsOn("eth1", "10.78.0.1")
	}
	for _, d := range p.LB {
		d.StartDaemon()
	}
	connect := func(k *kind, n int) {
		t.Helper()
		for i := range n {
			network := "tcp"
			if k.udp {
				network = "udp"
			}
			var c *client
			p.WaitUntil(30*time.Second, "a client of "+k.name, func() bool {
				conn, err := p.Client.Dial(t.Context(), network, k.addr)
				if c = (&client{Conn: conn}); err != nil {
					return false
				}
				if i%2 == 0 || k.udp {
					err = c.ask(2 * time.Second)
				}
				if err != nil {
					conn.Close()
				}
				return err == nil
			})
			k.clients = append(k.clients, c)
		}
	}
	check := func(what string) {
		t.Helper()
		text := ""
		for _, k := range kinds {
			lost := 0
			for _, c := range k.clients {
				if err := c.ask(20 * time.Second); err != nil {
					t.Errorf("%s, %s: %v", what, k.name, err)
					lost++
				}
				c.Close()
			}
			text += fmt.Sprintf(" %s: %d/%d", k.name, lost, len(k.clients))
			k.clients = nil
		}
		t.Logf("FIGURE %s: connections lost:%s", what, text)
	}
	p.WaitUntil(30*time.Second, "lb1 with all addresses", func() bool { return everywhere(lb1) && !lb2.Holds(lvsdtest.VIP) })
	for _, d := range p.LB {
		p.WaitUntil(30*time.Second, "both sync daemons on "+d.Name, func() bool {
			return lvsdtest.ContainsAll(d.MustRun("ipvsadm", "-L", "--daemon"), "master sync daemon", "backup sync daemon")
		})
	}

	// The kernel synchronises these.
	captured := lb1.Capture("eth0", func(f lab.Frame) bool {
		ip, ok := f.IP()
		return ok && f.Outgoing && ip.Protocol == 17 && len(ip.Payload) > 8 && octets.BigEndian.Uint16(ip.Payload[2:]) == 8848
	})
	for _, k := range kinds {
		connect(k, 1)
		if k.udp {
			for range 5 { // the kernel synchronises at the third datagram
				if err := k.clients[0].ask(5 * time.Second); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	p.WaitUntil(30*time.Second, "the kernel to synchronise them", func() bool {
		return len(entries(captured.Frames())) > len(kinds) // and the template of the persistent client
	})
	kernels := entries(captured.Frames())
	for _, k := range kinds {
		connect(k, 8)
	}
	stopped := time.Now()
	lb1.Process.Terminate()
	p.WaitUntil(30*time.Second, "lb2 with all addresses", func() bool { return everywhere(lb2) })
	<-lb1.Process.Done()
	t.Logf("FIGURE the daemon ended %v after SIGTERM", time.Since(stopped))
	ours := map[string]string{}
	for _, f := range captured.Stop() {
		if f.At.After(stopped) {
			for key, e := range entries([]lab.Frame{f}) {
				if _, known := ours[key]; !known {
					ours[key] = e // the first round sends all connections
				}
			}
		}
	}
	for key, e := range kernels {
		if ours[key] != e {
			t.Errorf("%s\nthe kernel sent %s\nlvsd sent       %s", key, e, ours[key])
		}
	}
	check("planned stop")

	for _, k := range kinds {
		connect(k, 8)
	}
	lb1.StartDaemon()
	p.WaitUntil(30*time.Second, "lb1 with all addresses again", func() bool { return everywhere(lb1) && !lb2.Holds(lvsdtest.VIP) })
	check("preemption")
}

// entries returns the connections in synchronisation messages, by protocol, client and
// service: the bytes of each, without the timeout and, of a template, the state, which
// change over time, and without the mark, which /proc/net/ip_vs_conn does not show.
func entries(frames []lab.Frame) map[string]string {
	all := map[string]string{}
	for _, f := range frames {
		ip, _ := f.IP()
		b := ip.Payload[8+8:] // behind the headers of UDP and of the message
		for len(b) >= 4 {
			n := int(octets.BigEndian.Uint16(b[2:]) & 0xfff)
			if n < 36 || n > len(b) {
				break
			}
			e := append([]byte(nil), b[:n]...)
			b = b[n:]
			copy(e[16:24], make([]byte, 8))
			if e[6]&0x10 != 0 {
				copy(e[8:10], []byte{0, 0})
			}
			size := 4
			if e[0]&1 == 1 {
				size = 16
			}
			all[fmt.Sprintf("protocol %d, %v:%d to %v:%d", e[1], net.IP(e[24:24+size]), octets.BigEndian.Uint16(e[10:]), net.IP(e[24+size:24+2*size]), octets.BigEndian.Uint16(e[12:]))] = hex.EncodeToString(e)
		}
	}
	return all
}
