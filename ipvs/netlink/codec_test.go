package netlink

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvsd/ipvs"
)

var cmpAddr = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

var web = key("10.0.0.88:80")

func key(s string) ipvs.ServiceKey {
	return ipvs.ServiceKey{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort(s)}
}

// golden removes blanks and comments from annotated bytes (little endian).
func golden(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(hexDigits(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func littleEndian(t *testing.T) {
	t.Helper()
	if native.Uint16([]byte{1, 0}) != 1 {
		t.Fatal("the golden bytes are little endian")
	}
}

func TestEncodeService(t *testing.T) {
	littleEndian(t)
	s := ipvs.Service{Key: key("10.0.0.88:80"), Scheduler: "sh", Flags: ipvs.SHFallback, Persistence: 300, PersistenceBits: 24, Engine: "sip"}
	want := golden(t, `
		58 00 01 80              // service, nested, 88 bytes
		06 00 01 00 02 00 00 00  // family AF_INET
		06 00 02 00 06 00 00 00  // protocol tcp
		08 00 03 00 0a 00 00 58  // address
		06 00 04 00 00 50 00 00  // port, network order
		07 00 06 00 73 68 00 00  // scheduler "sh"
		08 00 0b 00 73 69 70 00  // engine "sip"
		0c 00 07 00 09 00 00 00 ff ff ff ff  // flags persistent|sched1, mask
		08 00 08 00 2c 01 00 00  // persistence 300 s
		08 00 09 00 ff ff ff 00  // netmask, network order in memory
		`)
	native.PutUint16(want, uint16(len(want)))
	if got := encodeService(nil, s); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", hex.Dump(got), hex.Dump(want))
	}
	// The kernel answers in the same attributes, "hashed" added.
	got, _, err := decodeService(append([]byte{1, 1, 0, 0}, bytes.Replace(want, []byte{9, 0, 0, 0}, []byte{11, 0, 0, 0}, 1)...))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, got, cmpAddr); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
}

func TestEncodeServiceIPv6(t *testing.T) {
	littleEndian(t)
	s := ipvs.Service{Key: ipvs.ServiceKey{Protocol: ipvs.UDP, Address: netip.MustParseAddrPort("[2001:db8::88]:53")}, Scheduler: "rr"}
	want := golden(t, `
		58 00 01 80
		06 00 01 00 0a 00 00 00
		06 00 02 00 11 00 00 00
		14 00 03 00 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 88
		06 00 04 00 00 35 00 00
		07 00 06 00 72 72 00 00
		0c 00 07 00 00 00 00 00 ff ff ff ff
		08 00 08 00 00 00 00 00
		08 00 09 00 80 00 00 00  // prefix length 128: the kernel refuses 0
		`)
	native.PutUint16(want, uint16(len(want)))
	if got := encodeService(nil, s); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", hex.Dump(got), hex.Dump(want))
	}
}

func TestEncodeOp(t *testing.T) {
	littleEndian(t)
	d := ipvs.Destination{Address: netip.MustParseAddrPort("10.0.0.9:8080"), Forward: ipvs.Tunnel, Weight: 5, UpperThreshold: 100, LowerThreshold: 80,
		Encap: ipvs.Encap{Type: 1, Port: 6080, Flags: 1}}
	svc := `
		24 00 01 80
		06 00 01 00 02 00 00 00
		06 00 02 00 06 00 00 00
		08 00 03 00 0a 00 00 58
		06 00 04 00 00 50 00 00
		`
	name := `
		08 00 01 00 0a 00 00 09  // address
		06 00 02 00 1f 90 00 00  // port 8080
		06 00 0b 00 02 00 00 00  // family: without it the kernel takes the service's
		`
	full := name + `
		08 00 03 00 02 00 00 00  // tunnel
		08 00 04 00 05 00 00 00  // weight
		08 00 05 00 64 00 00 00  // upper threshold
		08 00 06 00 50 00 00 00  // lower threshold
		05 00 0d 00 01 00 00 00  // gue
		06 00 0e 00 17 c0 00 00  // port 6080, network order
		06 00 0f 00 01 00 00 00  // checksum
		`
	for _, c := range []struct {
		kind ipvs.OpKind
		cmd  uint8
		want string
	}{
		{ipvs.AddDestination, 5, svc + "54 00 02 80" + full},
		{ipvs.EditDestination, 6, svc + "54 00 02 80" + full},
		{ipvs.DeleteDestination, 7, svc + "1c 00 02 80" + name},
		{ipvs.DeleteService, 3, svc},
	} {
		cmd, got, err := encodeOp(ipvs.Op{Kind: c.kind, Service: ipvs.Service{Key: web}, Destination: d})
		if want := golden(t, c.want); err != nil || cmd != c.cmd || !bytes.Equal(got, want) {
			t.Errorf("%s: command %d, %v, got\n%s\nwant\n%s", c.kind, cmd, err, hex.Dump(got), hex.Dump(want))
		}
	}
	if _, _, err := encodeOp(ipvs.Op{}); err == nil {
		t.Error("the zero operation was encoded")
	}
}

func TestEncodeMessage(t *testing.T) {
	littleEndian(t)
	want := golden(t, `
		1c 00 00 00 1b 00 05 00 07 00 00 00 39 30 00 00  // length, family 27, REQUEST|ACK, seq 7, port 12345
		0c 01 00 00                                      // SET_CONFIG, version 1
		08 00 04 00 84 03 00 00                          // tcp 900 s
		`)
	if got := encodeMessage(27, cmdSetConfig, 5, 7, 12345, encodeTimeouts(ipvs.Timeouts{TCP: 15 * time.Minute})[:8]); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", hex.Dump(got), hex.Dump(want))
	}
}

// destAnswer is what GET_DEST answers on Linux 6.1, 64-bit counters included.
const destAnswer = `
	08 01 00 00
	00 00 02 00
	14 00 01 00 0a 00 00 09 00 00 00 00 00 00 00 00 00 00 00 00  // 16 bytes, four used
	06 00 02 00 00 50 00 00
	08 00 03 00 03 01 00 00  // dr, and a bit that is not of the method
	08 00 04 00 ff ff 00 00  // weight 65535
	08 00 05 00 64 00 00 00
	08 00 06 00 50 00 00 00
	08 00 07 00 03 00 00 00  // active
	08 00 08 00 02 00 00 00  // inactive
	08 00 09 00 01 00 00 00  // persistent
	06 00 0b 00 02 00 00 00
	05 00 0d 00 00 00 00 00
	06 00 0e 00 00 00 00 00
	06 00 0f 00 00 00 00 00
	0c 00 0a 00              // counters of 32 bits, wrapped
	08 00 01 00 01 00 00 00
	7c 00 0c 00              // of 64 bits, and rates
	0c 00 01 00 01 00 00 00 01 00 00 00
	0c 00 02 00 02 00 00 00 01 00 00 00
	0c 00 03 00 03 00 00 00 01 00 00 00
	0c 00 04 00 04 00 00 00 01 00 00 00
	0c 00 05 00 05 00 00 00 01 00 00 00
	0c 00 06 00 06 00 00 00 00 00 00 00
	0c 00 07 00 07 00 00 00 00 00 00 00
	0c 00 08 00 08 00 00 00 00 00 00 00
	0c 00 09 00 09 00 00 00 01 00 00 00
	0c 00 0a 00 0a 00 00 00 01 00 00 00
	`

func destMessage(t testing.TB) []byte {
	b, err := hex.DecodeString(hexDigits(destAnswer))
	if err != nil {
		t.Fatal(err)
	}
	native.PutUint16(b[4:], uint16(len(b)-4))
	return b
}

func hexDigits(text string) string {
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "//")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	return digits.String()
}

func TestDecodeDest(t *testing.T) {
	littleEndian(t)
	d, s, err := decodeDest(destMessage(t), afInet)
	if err != nil {
		t.Fatal(err)
	}
	wantD := ipvs.Destination{Address: netip.MustParseAddrPort("10.0.0.9:80"), Forward: ipvs.DirectRoute, Weight: 65535, UpperThreshold: 100, LowerThreshold: 80}
	const wide = 1 << 32
	wantS := ipvs.DestinationStats{
		Counters: ipvs.Counters{Connections: wide + 1, PacketsIn: wide + 2, PacketsOut: wide + 3, BytesIn: wide + 4, BytesOut: wide + 5},
		Rates:    ipvs.Rates{Connections: 6, PacketsIn: 7, PacketsOut: 8, BytesIn: wide + 9, BytesOut: wide + 10},
		Active:   3, Inactive: 2, Persistent: 1}
	if d != wantD || s != wantS {
		t.Errorf("got %+v %+v\nwant %+v %+v", d, s, wantD, wantS)
	}
}

// The 64-bit counters win in whichever order they come.
func TestWideCountersWin(t *testing.T) {
	var c ipvs.Counters
	var r ipvs.Rates
	var wide bool
	for _, is64 := range []bool{true, false} {
		b := appendUint32(nil, statConns, 1)
		if is64 {
			b = appendAttr(nil, statConns, native.AppendUint64(nil, 1<<32+1))
		}
		if err := decodeCounters(b, is64, &wide, &c, &r); err != nil {
			t.Fatal(err)
		}
	}
	if c.Connections != 1<<32+1 {
		t.Error(c.Connections)
	}
}

// Kernels before 4.1 have 32-bit counters only, before 3.18 no family.
func TestDecodeDestOfOldKernel(t *testing.T) {
	littleEndian(t)
	msg := golden(t, `
		08 01 00 00
		30 00 02 00
		14 00 01 00 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 09
		06 00 02 00 00 50 00 00
		10 00 0a 00
		08 00 01 00 07 00 00 00
		08 00 02 00 08 00 00 00
		`)
	native.PutUint16(msg[4:], uint16(len(msg)-4))
	native.PutUint16(msg[len(msg)-20:], 20)
	d, s, err := decodeDest(msg, afInet6)
	if err != nil || d.Address != netip.MustParseAddrPort("[2001:db8::9]:80") || s.Connections != 7 || s.PacketsIn != 8 {
		t.Errorf("%+v %+v %v", d, s, err)
	}
}

// A service by mark has a family and a mark where others have protocol, address
// and port.
func TestServiceByMark(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		six    bool
		family string
		mask   string
	}{{false, "02", "ff ff ff ff"}, {true, "0a", "80 00 00 00"}} {
		s := ipvs.Service{Key: ipvs.ServiceKey{Mark: 0x01020304, IPv6: c.six}, Scheduler: "rr", Flags: ipvs.OnePacket}
		s.PersistenceBits = s.Key.AddrBits()
		want := golden(t, `
			38 00 01 80
			06 00 01 00 `+c.family+` 00 00 00  // family
			08 00 05 00 04 03 02 01  // mark
			07 00 06 00 72 72 00 00
			0c 00 07 00 04 00 00 00 ff ff ff ff  // one-packet
			08 00 08 00 00 00 00 00
			08 00 09 00 `+c.mask)
		if got := encodeService(nil, s); !bytes.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", hex.Dump(got), hex.Dump(want))
		}
		if got := encodeKey(nil, s.Key); !bytes.Equal(got, golden(t, "14 00 01 80 06 00 01 00 "+c.family+" 00 00 00 08 00 05 00 04 03 02 01")) {
			t.Errorf("key:\n%s", hex.Dump(got))
		}
		got, _, err := decodeService(append([]byte{1, 1, 0, 0}, want...))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, got, cmpAddr); d != "" {
			t.Errorf("read back (-want +got):\n%s", d)
		}
	}
}

func TestDecodeInfoAndTimeouts(t *testing.T) {
	littleEndian(t)
	info, err := decodeInfo(golden(t, `0e 01 00 00 08 00 01 00 01 02 01 00 08 00 02 00 00 10 00 00`))
	if err != nil || info != (ipvs.Info{Version: "1.2.1", ConnTableSize: 4096}) {
		t.Error(info, err)
	}
	// The kernel leaves out what it was built without.
	to, err := decodeTimeouts(golden(t, `0c 01 00 00 08 00 04 00 84 03 00 00 08 00 05 00 78 00 00 00`))
	if err != nil || to != (ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute}) {
		t.Error(to, err)
	}
}

func TestNetmask(t *testing.T) {
	for bits := 1; bits <= 32; bits++ {
		s := ipvs.Service{Key: web, PersistenceBits: bits}
		if got := netmaskBits(kernelNetmask(s), true); got != bits {
			t.Errorf("/%d came back as /%d", bits, got)
		}
	}
	if got := netmaskBits(0x00ff00ff, true); got != -1 {
		t.Errorf("a mask with a hole is /%d", got)
	}
	if got := netmaskBits(0, true); got != -1 {
		t.Errorf("an empty mask is /%d", got)
	}
	if got := kernelNetmask(ipvs.Service{Key: web}); got != 0xffffffff {
		t.Errorf("the default mask is %#x", got)
	}
}

// A persistent flag without a time must differ from every desired service.
func TestKernelFlags(t *testing.T) {
	for _, c := range []struct {
		flags   ipvs.SchedulerFlags
		timeout uint32
		want    ipvs.Service
	}{
		{flagHashed, 0, ipvs.Service{}},
		{flagHashed, 300, ipvs.Service{}}, // ipvsadm leaves no such thing; harmless
		{flagHashed | flagPersistent, 300, ipvs.Service{Persistence: 300}},
		{flagHashed | flagPersistent, 0, ipvs.Service{Flags: flagPersistent}},
		{flagHashed | ipvs.Sched1 | ipvs.OnePacket, 0, ipvs.Service{Flags: ipvs.Sched1 | ipvs.OnePacket}},
	} {
		var s ipvs.Service
		setKernelFlags(&s, c.flags, c.timeout)
		if d := cmp.Diff(c.want, s, cmpAddr); d != "" {
			t.Errorf("%#x, %d s: %+v", uint32(c.flags), c.timeout, s)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(destMessage(f))
	f.Add(append([]byte{1, 1, 0, 0}, encodeService(nil, ipvs.Service{Key: web, Scheduler: "wlc", Persistence: 1})...))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Nothing panics, and what is read can be written and read again.
		if s, _, err := decodeService(b); err == nil && s.PersistenceBits >= 0 {
			again, _, err := decodeService(append([]byte{1, 1, 0, 0}, encodeService(nil, s)...))
			if err != nil || again.Key != s.Key || again.Persistence != s.Persistence {
				t.Errorf("%+v came back as %+v, %v", s, again, err)
			}
		}
		if d, _, err := decodeDest(b, afInet); err == nil {
			again, _, err := decodeDest(append([]byte{8, 1, 0, 0}, encodeDest(nil, d, true)...), afInet)
			if err != nil || again != d {
				t.Errorf("%+v came back as %+v, %v", d, again, err)
			}
		}
		_ = decodeDaemon(b, &ipvs.SyncState{})
		_, _ = decodeInfo(b)
		_, _ = decodeTimeouts(b)
	})
}
