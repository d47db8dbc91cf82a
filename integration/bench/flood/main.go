// Command flood measures what a flood of VRRP packets costs a master and its clients:
// with a pair of lvsd and a pair of keepalived, in one boot, on the same LAN. A host
// sends packets of one kind as fast as it can while a client connects to the address
// every few milliseconds.
//
// Compare ratios within one boot. If the flooding host shares the director's processor,
// it only sends as much as the director leaves it.
//
// It needs a kernel with ip_vs; `make bench-flood` finds or boots one.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/ipv4"

	"lvsd/integration/bench/measure"
	"lvsd/integration/lab"
)

// settle is how long the directors run before anything is measured.
const settle = 10 * time.Second

const (
	vip      = "10.77.0.100"
	attacker = "10.77.0.3"
	vrid     = 51
)

// kinds are what is sent, from an address that loses every tie.
var kinds = []struct {
	name           string
	vrid, priority byte
	bad            bool // the checksum is wrong
}{
	{"lower priority", vrid, 1, false},
	{"equal priority", vrid, 200, false},
	{"another virtual router", 99, 1, false},
	{"bad checksum", vrid, 1, true},
}

func main() {
	lvsd := flag.String("lvsd", "bin/lvsd", "the lvsd to measure")
	only := flag.String("only", "", "only kinds of packets whose name contains this")
	length := flag.Duration("for", 5*time.Second, "how long each flood takes")
	flag.Parse()
	measure.Main(*lvsd, func(_ context.Context, tb lab.TB, binary string) {
		fmt.Printf("%s\n%s\na connect every 5 ms\n"+
			"| flood of | directors | sent a second | processor time of the master's processes | without a flood | for a packet | longest time without a connect | the address moved |\n|---|---|---|---|---|---|---|---|\n",
			measure.Machine(), measure.Keepalived())
		for k := range kinds {
			if !strings.Contains(kinds[k].name, *only) {
				continue
			}
			for name, start := range map[string]func(b *bench, i int) *lab.Process{"lvsd": startLVSD(binary), "keepalived": startKeepalived} {
				err := lab.Run(context.Background(), "round", func(string, ...any) {}, func(_ context.Context, tb lab.TB) {
					newBench(tb).round(k, name, start, *length)
				})
				if err != nil {
					tb.Fatalf("%s, %s: %v", kinds[k].name, name, err)
				}
			}
		}
	})
}

type bench struct {
	lab.TB
	*lab.Lab
	client, attacker *lab.Host
	lb               [2]*lab.Host
	state            string // a folder
}

func newBench(tb lab.TB) *bench {
	b := &bench{TB: tb, Lab: lab.New(tb)}
	var err error
	if b.state, err = os.MkdirTemp("/run", "flood"); err != nil {
		tb.Fatalf("%v", err)
	}
	lan := b.LAN("lan", "10.77.0.0/24")
	b.client, b.attacker = b.Host("client", lan, "10.77.0.2/24"), b.Host("attacker", lan, attacker+"/24")
	for i := range b.lb {
		b.lb[i] = b.Host(fmt.Sprint("lb", i+1), lan, fmt.Sprintf("10.77.0.%d/24", 11+i))
		b.lb[i].PrepareDirector()
		lab.ServeLines(b.lb[i], ":80", b.lb[i].Name)
	}
	return b
}

// round prints what one flood costs one kind of director.
func (b *bench) round(kind int, name string, start func(b *bench, i int) *lab.Process, length time.Duration) {
	master := start(b, 0)
	start(b, 1)
	b.WaitUntil(30*time.Second, "a master", func() bool { return b.lb[0].Holds(vip) })
	outage := lab.StartOutage(b.client, vip+":80", lab.OutageConfig{Timeout: 900 * time.Millisecond})
	outage.WaitSuccesses(100, 20*time.Second)
	conn, err := b.socket()
	if err != nil {
		b.Fatalf("a socket for the flood: %v", err)
	}
	defer conn.Close()
	k := kinds[kind]
	message := advert(k.vrid, k.priority, k.bad)
	group := &net.IPAddr{IP: net.IPv4(224, 0, 0, 18)}
	usedIn := func(do func()) time.Duration {
		before := cpuTime(master.Pid())
		do()
		return cpuTime(master.Pid()) - before
	}
	<-time.After(settle)
	idle := usedIn(func() { <-time.After(length) })
	began, sent := time.Now(), 0
	used := usedIn(func() {
		for time.Since(began) < length {
			if _, err := conn.WriteTo(message, nil, group); err == nil {
				sent++
			}
		}
	})
	took := time.Since(began)
	_, gap := outage.Stop().Gap(began, time.Now())
	moved := "no"
	if !b.lb[0].Holds(vip) || b.lb[1].Holds(vip) {
		moved = "yes"
	}
	fmt.Printf("| %s | %s | %.0f | %.0f %% | %.0f %% | %.1f µs | %.0f ms | %s |\n", k.name, name, float64(sent)/took.Seconds(),
		100*used.Seconds()/took.Seconds(), 100*idle.Seconds()/length.Seconds(),
		max(0, used-idle).Seconds()*1e6/float64(max(sent, 1)), gap.Seconds()*1000, moved)
}

// socket returns a raw socket of the attacker's that sends to the multicast group.
func (b *bench) socket() (*ipv4.PacketConn, error) {
	plain, err := b.attacker.ListenPacket("ip4:112", attacker)
	if err != nil {
		return nil, err
	}
	var eth0 *net.Interface
	err = b.attacker.Do(func() (err error) {
		eth0, err = net.InterfaceByName("eth0")
		return err
	})
	c := ipv4.NewPacketConn(plain)
	if err == nil {
		err = c.SetMulticastInterface(eth0)
	}
	if err == nil {
		err = c.SetMulticastTTL(255)
	}
	return c, err
}

// advert is a message of version 3 with an interval of 1 s (RFC 9568 §5.2), with the
// checksum of RFC 5798.
func advert(vrid, priority byte, bad bool) []byte {
	from, to, address := netip.MustParseAddr(attacker).As4(), [4]byte{224, 0, 0, 18}, netip.MustParseAddr(vip).As4()
	b := append([]byte{0x31, vrid, priority, 1, 0, 100, 0, 0}, address[:]...)
	pseudo := append(append(from[:], to[:]...), 0, 112, 0, byte(len(b)))
	var sum uint32
	for _, part := range [][]byte{pseudo, b} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[6:], ^uint16(sum))
	if bad {
		b[7]++
	}
	return b
}

// cpuTime is the processor time of a process and its descendants.
func cpuTime(pid int) (sum time.Duration) {
	for _, p := range measure.Processes(pid) {
		sum += measure.CPUTime(p)
	}
	return sum
}

func startLVSD(binary string) func(b *bench, i int) *lab.Process {
	return func(b *bench, i int) *lab.Process {
		name := b.lb[i].Name
		file := b.WriteFile(name+".toml", fmt.Sprintf(`
[[director]]
name = "lb1"
[[director]]
name = "lb2"
[global]
http_listen = ""
control_socket = %q
state_dir = %q
[[vrrp]]
name = "web"
interface = "eth0"
virtual_router_id = %d
priority = { lb1 = 200, lb2 = 100 }
addresses = [%q]
`, b.Path(name+".sock"), filepath.Join(b.state, name), vrid, vip))
		return b.lb[i].Start(binary, "run", "--director", name, "-c", file)
	}
}

func startKeepalived(b *bench, i int) *lab.Process {
	name := b.lb[i].Name
	file := b.WriteFile(name+".conf", fmt.Sprintf(`
global_defs { router_id %s }
vrrp_instance web {
  interface eth0
  state BACKUP
  version 3
  virtual_router_id %d
  priority %d
  advert_int 1
  virtual_ipaddress { %s/32 }
}
`, name, vrid, 200-100*i, vip))
	return b.lb[i].Start("keepalived", "-n", "-l", "-f", file, "-p", b.Path(name+".p"), "-r", b.Path(name+".r"), "-c", b.Path(name+".c"))
}
