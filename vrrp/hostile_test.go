package vrrp

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"lvsd/vrrp/auth"
	"lvsd/vrrp/checksum"
)

// stranger is a host on the LAN that sends arbitrary packets.
type stranger struct {
	t    testing.TB
	conn *packet.Conn
	from net.HardwareAddr
}

func newStranger(s *site, host string) *stranger {
	st := &stranger{t: s.t}
	s.within(host, func() {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			s.t.Fatal(err)
		}
		if st.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil); err != nil {
			s.t.Fatal(err)
		}
		st.from = ifi.HardwareAddr
	})
	s.t.Cleanup(func() { _ = st.conn.Close() })
	return st
}

// evil is an IPv4 packet of protocol 112.
type evil struct {
	source, destination netip.Addr
	ttl                 uint8
	fragment            uint16 // flags and offset
	payload             []byte
}

// send puts it into a frame to all directors.
func (st *stranger) send(e evil) {
	st.t.Helper()
	b := make([]byte, 14+20, 14+20+len(e.payload))
	copy(b, []byte{0x01, 0x00, 0x5e, 0, 0, 18})
	copy(b[6:], st.from)
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	ip := b[14:]
	ip[0], ip[1], ip[8], ip[9] = 0x45, 0xc0, e.ttl, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(e.payload)))
	binary.BigEndian.PutUint16(ip[6:], e.fragment)
	source, destination := e.source.As4(), e.destination.As4()
	copy(ip[12:], source[:])
	copy(ip[16:], destination[:])
	binary.BigEndian.PutUint16(ip[10:], ^checksum.Fold(checksum.Add(0, ip)))
	b = append(b, e.payload...)
	if _, err := st.conn.WriteTo(b, &packet.Addr{HardwareAddr: b[:6]}); err != nil {
		st.t.Fatal(err)
	}
}

// hostile are packets that each must be refused for that reason. An advert from
// the director's own address is not among them: the kernel itself drops it.
func hostile(from netip.Addr) map[DropReason]evil {
	good := Advert{51, 255, fast, []netip.Addr{vip.Addr()}, RFC5798}
	with := func(change func(b []byte) []byte) []byte {
		b := change(good.Append(nil, from, multicastIPv4))
		if len(b) >= headerLen {
			b[6], b[7] = 0, 0
			binary.BigEndian.PutUint16(b[6:], ^checksum.Fold(addPseudoHeader(checksum.Add(0, b), from, multicastIPv4, len(b))))
		}
		return b
	}
	set := func(i int, v byte) []byte { return with(func(b []byte) []byte { b[i] = v; return b }) }
	wrong := good.Append(nil, from, multicastIPv4)
	wrong[6]++
	e := func(payload []byte) evil {
		return evil{source: from, destination: multicastIPv4, ttl: 255, payload: payload}
	}
	far := e(with(func(b []byte) []byte { return b }))
	far.ttl = 254
	return map[DropReason]evil{
		DropTTL:      far,
		DropVersion:  e(set(0, 0x21)),
		DropType:     e(set(0, 0x32)),
		DropLength:   e(with(func(b []byte) []byte { return b[:10] })),
		DropChecksum: e(wrong),
		DropVRID:     e(set(1, 52)),
		DropInterval: e(with(func(b []byte) []byte { b[4], b[5] = 0, 0; return b })),
		DropCount:    e(with(func(b []byte) []byte { b[3] = 0; return b[:headerLen] })),
	}
}

// TestKernelHostileTraffic floods a pair: the master stays, the backup stays,
// each packet is counted for what is wrong with it, memory and log stay small.
func TestKernelHostileTraffic(t *testing.T) {
	s := pair(t)
	d1 := s.director("d1", config(priority(200), interval(fast)))
	d2 := s.director("d2", config(priority(100), interval(fast)))
	s.holder("d1", "d2", vip)
	eventually(t, "the master is heard", func() bool { return d2.status().AdvertsReceived > 2 })
	events1, events2 := len(d1.events()), len(d2.events())
	from := netip.MustParseAddr("10.0.0.99")
	attacker := newStranger(s, "c")
	for reason, e := range hostile(from) {
		attacker.send(e)
		for _, d := range []*process{d1, d2} {
			eventually(t, fmt.Sprintf("%s counts %v", d.host, reason), func() bool { return d.status().Dropped[reason.String()] == 1 })
		}
	}
	memory, lines := d1.memory(), d1.lines()
	const rounds, each = 30, 400
	flood(attacker, from, rounds, each, func() { eventually(t, "d1 answers", func() bool { return d1.status().State == Master }) })
	heard := d2.status().AdvertsReceived
	eventually(t, "the master still adverts", func() bool { return d2.status().AdvertsReceived > heard })
	if n1, n2 := len(d1.events()), len(d2.events()); n1 != events1 || n2 != events2 {
		t.Errorf("it moved the election: %v %v", d1.events()[events1:], d2.events()[events2:])
	}
	if st := d1.status(); !st.Contested {
		t.Error("a peer that is not understood is not shown")
	}
	refused := uint64(0)
	for _, n := range d1.status().Dropped {
		refused += n
	}
	if grown := d1.memory() - memory; grown > 32<<20 {
		t.Errorf("%d MiB more memory", grown>>20)
	}
	if n := d1.lines() - lines; n > 50 {
		t.Errorf("%d log lines", n)
	}
	t.Logf("FIGURE %d packets sent, %d refused, %d log lines, memory %+d KiB", rounds*each, refused, d1.lines()-lines, (d1.memory()-memory)>>10)
}

// TestKernelHostileDialects sends the packets that only other configurations refuse:
// version 2 with a password, unicast, a shared key. With those of
// TestKernelHostileTraffic there is one for each reason.
func TestKernelHostileDialects(t *testing.T) {
	stranger := netip.MustParseAddr("10.0.0.99")
	good := Advert{51, 1, time.Second, []netip.Addr{vip.Addr()}, RFC5798}
	slow := good
	slow.Interval = 2 * time.Second
	right, wrong := auth.Password([]byte("open ses")), auth.Password([]byte("sesame!!"))
	keys := func(text string) *auth.Keyring {
		k, err := auth.ParseKeys([]byte(text), false)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	const secret = "0123456789abcdef"
	mine, other, unknown := keys("1 "+secret), keys("1 fedcba9876543210"), keys("9 "+secret)
	now := uint64(time.Now().UnixMicro())
	toAll := func(payload []byte) evil {
		return evil{source: lb2, destination: multicastIPv4, ttl: 255, payload: payload}
	}
	sealed := func(k *auth.Keyring, sequence uint64) evil {
		return toAll(k.Sign(good.Append(nil, lb2, multicastIPv4), auth.Context{Instance: "web", Source: lb2, Destination: multicastIPv4}, auth.Stamp{Run: sequence, Counter: 1, Time: sequence}))
	}
	toOne := evil{source: stranger, destination: lb1, ttl: 255, payload: good.Append(nil, stranger, lb1)}
	sent := map[DropReason]bool{DropOwn: true} // which the kernel itself drops
	for reason := range hostile(stranger) {
		sent[reason] = true
	}
	for _, c := range []struct {
		name   string
		config Config
		evil   map[DropReason]evil
		twice  bool
	}{
		{"version 2, password", dialect{change: version2("open sesame")}.config(t, lb1, lb2, 200), map[DropReason]evil{
			DropAuthType: toAll(good.AppendV2(nil, nil)), DropAuth: toAll(good.AppendV2(nil, &wrong)), DropIntervalDiffers: toAll(slow.AppendV2(nil, &right)),
		}, false},
		{"multicast", config(priority(200)), map[DropReason]evil{DropDestination: toOne}, false},
		{"unicast", dialect{change: func(*Config) {}, unicast: true}.config(t, lb1, lb2, 200), map[DropReason]evil{DropPeer: toOne}, false},
		{"shared key", config(priority(200), func(c *Config) {
			c.Authentication = Authentication{Type: "hmac", KeyFile: scratch(t, "hmac", "1 "+secret+"\n")}
		}), map[DropReason]evil{
			DropUnauthenticated: toAll(good.Append(nil, lb2, multicastIPv4)), DropAuth: sealed(other, now), DropKey: sealed(unknown, now),
			DropClock: sealed(mine, now-uint64(time.Hour.Microseconds())),
		}, false},
		{"shared key, again", config(priority(200), func(c *Config) {
			c.Authentication = Authentication{Type: "hmac", KeyFile: scratch(t, "hmac", "1 "+secret+"\n")}
		}), map[DropReason]evil{DropReplay: sealed(mine, now)}, true},
	} {
		for reason := range c.evil {
			sent[reason] = true
		}
		t.Run(c.name, func(t *testing.T) {
			s := pair(t)
			d := s.director("d1", c.config)
			eventually(t, "it listens", func() bool { return d.status().State != Init })
			attacker := newStranger(s, "c")
			for reason, e := range c.evil {
				attacker.send(e)
				if c.twice {
					attacker.send(e)
				}
				eventually(t, fmt.Sprint("it counts ", reason), func() bool { return d.status().Dropped[reason.String()] == 1 })
			}
			if st := d.status(); st.State == Fault {
				t.Errorf("%+v", st)
			}
		})
	}
	for reason := DropNone + 1; reason < dropReasons; reason++ {
		if !sent[reason] {
			t.Errorf("no packet is refused for %v", reason)
		}
	}
}

// flood sends rounds of packets as fast as the wire takes them; between waits
// for the directors, so that the flood is as long as they are busy with it.
func flood(attacker *stranger, from netip.Addr, rounds, each int, between func()) {
	random := rand.New(rand.NewPCG(1, 2))
	bad := hostile(from)
	for range rounds {
		for range each {
			e := bad[DropReason(1+random.IntN(int(DropCount)))]
			if !e.source.IsValid() || random.IntN(4) == 0 { // noise
				e = evil{source: from, destination: multicastIPv4, ttl: 255, payload: make([]byte, random.IntN(200))}
				for i := range e.payload {
					e.payload[i] = byte(random.Uint32())
				}
				if random.IntN(2) == 0 {
					e.fragment = 0x2000 // more fragments, which never come
				}
			}
			attacker.send(e)
		}
		between()
	}
}

// memory is the resident memory of a process in bytes.
func (p *process) memory() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	var size, resident int
	if _, e := fmt.Sscan(string(text), &size, &resident); err != nil || e != nil {
		p.t.Fatal(err, e)
	}
	return resident * os.Getpagesize()
}

// lines is how many lines of log above debug the process wrote.
func (p *process) lines() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.log.String()
	return strings.Count(text, "\n") - strings.Count(text, "level=DEBUG")
}
