package wire

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func header(change func(b []byte)) []byte {
	b := []byte{0x45, 0xc0, 0, 22, 0, 1, 0, 0, 255, 112, 0, 0, 10, 0, 0, 12, 224, 0, 0, 18, 0x31, 51}
	if change != nil {
		change(b)
	}
	return b
}

func TestParse(t *testing.T) {
	p, ok := parse(header(nil))
	if !ok || p.Source != netip.MustParseAddr("10.0.0.12") || p.Destination != Group || p.TTL != 255 || string(p.Payload) != "\x313" {
		t.Errorf("%+v, %v", p, ok)
	}
	options := append([]byte{0x46, 0xc0, 0, 26}, append(header(nil)[4:20], 1, 1, 1, 1, 0x31, 51)...)
	if p, ok := parse(options); !ok || string(p.Payload) != "\x313" {
		t.Errorf("with options: %+v, %v", p, ok)
	}
	if p, ok := parse(append(header(nil), 0, 0, 0)); !ok || len(p.Payload) != 2 {
		t.Errorf("padding: %+v, %v", p, ok)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": header(nil)[:19],
		"version 6":             header(func(b []byte) { b[0] = 0x65 }),
		"header of 16 octets":   header(func(b []byte) { b[0] = 0x44 }),
		"header beyond the end": header(func(b []byte) { b[0], b[3] = 0x4f, 80 }),
		"total within header":   header(func(b []byte) { b[3] = 10 }),
	} {
		if p, ok := parse(b); ok {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(header(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parse(b); ok && len(p.Payload) > len(b)-20 {
			t.Errorf("%d octets of %d", len(p.Payload), len(b))
		}
	})
}

// Encoded manually from RFC 791, 1112 §6.4, 2464 §7 and 8200; the header's sum by another
// program.
func TestFrames(t *testing.T) {
	for _, tt := range []struct {
		name     string
		last     byte
		from, to string
		want     string
	}{
		{"IPv4", 1, "10.0.0.12", "224.0.0.18", "01005e000012" + "00005e000133" + "0800" +
			"45c00016" + "00004000" + "ff70" + "9099" + "0a00000c" + "e0000012" + "3133"},
		{"IPv6", 2, "fe80::12", "ff02::12", "333300000012" + "00005e000233" + "86dd" +
			"6c000000" + "0002" + "70ff" + "fe800000000000000000000000000012" + "ff020000000000000000000000000012" + "3133"},
	} {
		mac := net.HardwareAddr{0, 0, 0x5e, 0, tt.last, 51}
		got := appendFrame(nil, mac, netip.MustParseAddr(tt.from), netip.MustParseAddr(tt.to), []byte{0x31, 0x33})
		if hex.EncodeToString(got) != tt.want {
			t.Errorf("%s:\n got %x\nwant %s", tt.name, got, tt.want)
		}
	}
}

// The filter for every VRID and every advert, compared with its purpose.
func TestOthers(t *testing.T) {
	var all [8]uint32
	here := map[int]bool{0: true, 1: true, 31: true, 32: true, 51: true, 100: true, 255: true}
	for v := range here {
		all[v>>5] |= 1 << (v & 31)
	}
	for _, v6 := range []bool{false, true} {
		for own := range here {
			vm, err := bpf.NewVM(demuxFilter(uint8(own), all, MaxPacket, v6))
			check(t, err)
			for _, short := range [][]byte{{}, {0x31}} { // dropped, and counted
				b := append(header(func([]byte) {})[:20], short...)
				if v6 {
					b = b[20:]
				}
				if n, err := vm.Run(b); err != nil || n == 0 {
					t.Errorf("the socket of %d gets %d octets of %v: %v", own, n, b, err)
				}
			}
			for v := range 256 {
				b := header(func(b []byte) { b[21] = byte(v) })
				if v6 {
					b = b[20:]
				}
				n, err := vm.Run(b)
				if want := v == own || !here[v]; err != nil || (n > 0) != want {
					t.Errorf("the socket of %d hears %d: %v, %v", own, v, n > 0, err)
				}
			}
		}
	}
}

func TestOpenNeedsASource(t *testing.T) {
	if _, err := Open(Config{Interface: "lo", Index: 1}); err == nil {
		t.Error("opened without an address")
	}
}

// Two sockets on a veth pair: what one sends the other receives, with TTL 255, and not
// the sender; closing wakes a reader. The same holds for our own frames.
func TestSendAndReceive(t *testing.T) {
	t.Run("from the interface's MAC address", func(t *testing.T) { sendAndReceive(t, nil) })
	t.Run("from a virtual one", func(t *testing.T) { sendAndReceive(t, net.HardwareAddr{0, 0, 0x5e, 0, 1, 51}) })
}

func sendAndReceive(t *testing.T, mac net.HardwareAddr) {
	lab.RequireRoot(t)
	runtime.LockOSThread()
	home := must(netns.Get())
	defer func() {
		if err := netns.Set(home); err != nil {
			panic(err)
		}
		_ = home.Close()
		runtime.UnlockOSThread()
	}()
	far := must(netns.New())
	defer far.Close()
	near := must(netns.New())
	defer near.Close()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer0"}
	check(t, netlink.LinkAdd(veth))
	check(t, netlink.LinkSetNsFd(must(netlink.LinkByName("peer0")), int(far)))
	a, b := netip.MustParseAddr("10.0.0.12"), netip.MustParseAddr("10.0.0.13")
	up := func(name string, source netip.Addr) {
		l := must(netlink.LinkByName(name))
		check(t, netlink.LinkSetUp(l))
		check(t, netlink.AddrAdd(l, &netlink.Addr{IPNet: must(netlink.ParseIPNet(source.String() + "/24"))}))
	}
	// What is sent before both ends have a carrier is lost.
	open := func(name string, source netip.Addr, vrid uint8) *Conn {
		l := must(netlink.LinkByName(name))
		for limit := time.Now().Add(20 * time.Second); l.Attrs().OperState != netlink.OperUp; l = must(netlink.LinkByName(name)) {
			if time.Now().After(limit) {
				t.Fatalf("%s never carries", name)
			}
			<-time.After(time.Millisecond)
		}
		return must(Open(Config{Interface: name, Index: l.Attrs().Index, Source: source, MAC: mac, VRID: vrid}))
	}
	up("eth0", a)
	check(t, netns.Set(far))
	up("peer0", b)
	there, other := open("peer0", b, 51), open("peer0", b, 52)
	defer other.Close()
	check(t, netns.Set(near))
	here := open("eth0", a, 53)

	// 52 is for the other socket, and for no other there; 54 is unused, and
	// goes to the first.
	check(t, here.Send(Group, []byte("\x31\x34")))
	check(t, here.Send(Group, []byte("\x31\x33")))
	check(t, here.Send(Group, []byte("\x31\x36")))
	check(t, there.Send(Group, []byte("\x31\x35")))
	for _, tt := range []struct {
		at   *Conn
		want string
		from netip.Addr
	}{{there, "13", a}, {there, "16", a}, {other, "14", a}, {here, "15", b}} { // here does not receive itself
		p, err := tt.at.Receive(make([]byte, MaxPacket), true)
		if err != nil || string(p.Payload) != tt.want || p.Source != tt.from || p.Destination != Group || p.TTL != 255 {
			t.Errorf("%+v %q, %v", p, p.Payload, err)
		}
	}
	if _, err := here.Receive(make([]byte, MaxPacket), false); err != ErrEmpty {
		t.Errorf("without a packet: %v", err)
	}
	if here.watch.file != nil {
		t.Error("the runtime watches a socket that is polled")
	}
	woken := make(chan error)
	go func() {
		_, err := here.Receive(make([]byte, MaxPacket), true)
		woken <- err
	}()
	check(t, here.Close())
	if err := <-woken; !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := here.Send(Group, []byte("late")); err == nil {
		t.Error("sent through a closed socket")
	}
	check(t, there.Close())
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestSourceOfIPv6: an advert leaves from the address that its checksum covers,
// whatever other link-local addresses the interface gets.
func TestSourceOfIPv6(t *testing.T) {
	lab.RequireRoot(t)
	runtime.LockOSThread()
	home := must(netns.Get())
	defer func() {
		check(t, netns.Set(home))
		_ = home.Close()
		runtime.UnlockOSThread()
	}()
	here := must(netns.New())
	defer here.Close()
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer0"}))
	add := func(name, address string) {
		a := must(netlink.ParseAddr(address))
		a.Flags = unix.IFA_F_NODAD
		check(t, netlink.AddrAdd(must(netlink.LinkByName(name)), a))
	}
	open := func(name, source string) *Conn {
		l := must(netlink.LinkByName(name))
		return must(Open(Config{Interface: name, Index: l.Attrs().Index, Source: netip.MustParseAddr(source), VRID: 51}))
	}
	for _, name := range []string{"eth0", "peer0"} {
		check(t, netlink.LinkSetUp(must(netlink.LinkByName(name))))
	}
	for limit := time.Now().Add(20 * time.Second); must(netlink.LinkByName("peer0")).Attrs().OperState != netlink.OperUp; {
		if time.Now().After(limit) {
			t.Fatal("peer0 has no carrier")
		}
		<-time.After(time.Millisecond)
	}
	add("eth0", "fe80::12/64")
	add("peer0", "fe80::13/64")
	from, to := open("eth0", "fe80::12"), open("peer0", "fe80::13")
	defer from.Close()
	defer to.Close()
	for _, other := range []string{"fe80::1/64", "fe80::aaaa/64"} {
		add("eth0", other)
		check(t, from.Send(GroupV6, []byte("\x31\x33")))
		if p, err := to.Receive(make([]byte, MaxPacket), true); err != nil || p.Source != from.Source() {
			t.Errorf("with %s it is sent from %v, %v; want %v", other, p.Source, err, from.Source())
		}
	}
	check(t, netlink.AddrDel(must(netlink.LinkByName("eth0")), must(netlink.ParseAddr("fe80::12/64"))))
	if err := from.Send(GroupV6, []byte("\x31\x33")); err == nil {
		t.Error("sent from an address that is gone")
	}
}
