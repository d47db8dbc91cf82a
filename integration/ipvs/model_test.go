// The fake of the kernel's IPVS, compared with the kernel.

package ipvs_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// TestKernelModel applies the same operations, valid and invalid, to the fake and to the
// real kernel: they return the same errors and have the same tables.
func TestKernelModel(t *testing.T) {
	if !isolated(t) {
		return
	}
	checkModel(t, openKernel(t), 1000)
}

// checkModel applies this number of random operations.
func checkModel(t *testing.T, k ipvs.Kernel, steps int) {
	t.Helper()
	fake := ipvstest.New()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	seen := map[string]int{}
	for i := range steps {
		if r.IntN(30) == 0 {
			syncStep(t, r, k, fake)
		}
		op := randomOp(r)
		got, want := errno(t, k.Apply(op)), errno(t, fake.Apply(op))
		seen[fmt.Sprintf("%s %v", op.Kind, got)]++
		if got != want {
			t.Fatalf("step %d: %s %+v: the kernel returns %q, the fake %q", i, op, op, got, want)
		}
		if i%10 != 0 && i != steps-1 {
			continue
		}
		reading, err := k.Read()
		if err != nil {
			t.Fatal(err)
		}
		fakeReading, _ := fake.Read()
		if d := cmp.Diff(fakeReading.Table, reading.Table, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
			t.Fatalf("step %d: tables differ (-fake +kernel):\n%s", i, d)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%4d × %s", seen[what], what)
	}
	runIpvsadm(t, "-C")
	for role := range ipvs.SyncRole(2) {
		_ = k.StopDaemon(role + 1)
	}
}

// syncStep applies a random operation to the connection synchronisation of both.
func syncStep(t *testing.T, r *rand.Rand, k ipvs.Kernel, fake *ipvstest.Kernel) {
	t.Helper()
	role := ipvs.SyncRole(1 + r.IntN(2))
	c := ipvs.SyncConfig{Interface: "lo", ID: uint8(1 + r.IntN(255)), TTL: uint8(r.IntN(3)), Port: uint16(r.IntN(2)) * 9000, MaxLen: r.IntN(3) * 700}
	switch r.IntN(6) {
	case 0:
		c.Interface = "nosuch"
	case 1:
		c.Group = netip.MustParseAddr("224.0.0.90")
	case 2:
		c.Group = netip.MustParseAddr("10.0.0.1") // not a multicast address
	}
	do := func(k ipvs.Kernel) error { return k.StartDaemon(role, c) }
	if r.IntN(2) == 0 {
		do = func(k ipvs.Kernel) error { return k.StopDaemon(role) }
	}
	if got, want := errno(t, do(k)), errno(t, do(fake)); got != want {
		t.Fatalf("%s %+v: the kernel returns %q, the fake %q", role, c, got, want)
	}
	got, err := k.Daemons()
	want, _ := fake.Daemons()
	if err != nil || got != want {
		t.Fatalf("%s %+v: the kernel has %+v (%v), the fake %+v", role, c, got, err, want)
	}
}

// errno returns the errno of an error, 0 of nil.
func errno(t *testing.T, err error) syscall.Errno {
	t.Helper()
	var e syscall.Errno
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("no errno: %v", err)
	}
	return e
}

// randomOp draws from few services and servers, so that operations meet the same ones.
func randomOp(r *rand.Rand) ipvs.Op {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	rare := func() bool { return r.IntN(12) == 0 }
	s := kernelService(ipvs.Protocol(6), pick("10.0.0.88:80", "10.0.0.89:0", "[2001:db8::88]:80"), pick("wlc", "rr", "sh", "mh"))
	switch r.IntN(5) {
	case 0:
		s.Key = ipvs.ServiceKey{Mark: 7}
	case 1:
		s.Key = ipvs.ServiceKey{Mark: 7, IPv6: true}
	}
	if s.Flags = ipvs.SchedulerFlags(r.IntN(4)) * ipvs.Sched1; rare() {
		s.Flags |= ipvs.OnePacket
	}
	if s.Persistence = uint32(r.IntN(2)) * 300; r.IntN(3) == 0 {
		s.PersistenceBits = 1 + r.IntN(32)
	}
	if r.IntN(4) == 0 {
		s.Engine = "sip"
	}
	if rare() {
		s.Scheduler = "nosuch"
	}
	d := kernelDest(pick("10.0.0.9:80", "10.0.0.10:80", "10.0.0.10:81", "127.0.0.1:80", "[2001:db8::9]:80", "[2001:db8::10]:80", "[::1]:80"),
		[]ipvs.Forward{ipvs.NAT, ipvs.Tunnel, ipvs.DirectRoute}[r.IntN(3)], r.IntN(4)*21845)
	if rare() {
		d.Address = netip.MustParseAddrPort(pick("224.0.0.18:80", "255.255.255.255:80", "0.0.0.0:80", "[ff02::1]:80", "[::]:80"))
	}
	if rare() {
		d.Weight = -1
	}
	if r.IntN(3) == 0 {
		d.UpperThreshold, d.LowerThreshold = uint32(r.IntN(3)), uint32(r.IntN(3))
	}
	if d.Forward == ipvs.Tunnel && r.IntN(3) == 0 {
		d.Encap = ipvs.Encap{Type: ipvs.EncapType(1 + r.IntN(2)), Port: uint16(r.IntN(2)) * 6080, Flags: uint16(r.IntN(2))}
	}
	kind := ipvs.OpKinds[r.IntN(len(ipvs.OpKinds))]
	if kind == ipvs.DeleteService && r.IntN(4) != 0 {
		kind = ipvs.AddDestination // or the table would remain small
	}
	return ipvs.Op{Kind: kind, Service: s, Destination: d}
}
