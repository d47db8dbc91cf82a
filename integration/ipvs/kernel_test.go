// Package ipvs on a real kernel, compared with what Debian's ipvsadm reads. Each test
// runs in a process and network namespace of its own, so that no table of this machine
// is changed.

package ipvs_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvsadm"
	"lvsd/ipvs/netlink"
)

const inNamespace = "LVSD_TEST_IN_NAMESPACE"

// isolated reports whether this process was started for this test. If not, it starts one
// in a new network namespace and reports its result.
func isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) == t.Name() {
		// Without a device that is up the kernel regards no IPv4 address as unicast.
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("ip: %v %s", err, out)
		}
		return true
	}
	lab.RequireKernel(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), inNamespace+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("in its namespace: %v\n%s", err, out)
	} else {
		t.Logf("in its namespace:\n%s", out)
	}
	return false
}

// openKernel opens the IPVS netlink interface for the duration of the test.
func openKernel(t *testing.T) ipvs.Kernel {
	t.Helper()
	k, err := netlink.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// runIpvsadm runs ipvsadm, which must succeed, and returns its output.
func runIpvsadm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ipvsadm", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ipvsadm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// saved returns the lines of ipvsadm -S -n, sorted.
func saved(t *testing.T) []string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(runIpvsadm(t, "-S", "-n")), "\n")
	if slices.Sort(lines); lines[0] == "" {
		return nil
	}
	return lines
}

// expectSaved compares the table with the lines of want.
func expectSaved(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	if d := cmp.Diff(want, saved(t)); d != "" {
		t.Errorf("ipvsadm -S -n (-want +got):\n%s", d)
	}
}

func kernelDest(address string, f ipvs.Forward, weight int) ipvs.Destination {
	return ipvs.Destination{Address: netip.MustParseAddrPort(address), Forward: f, Weight: weight}
}

func kernelService(p ipvs.Protocol, address, scheduler string, dests ...ipvs.Destination) ipvs.Service {
	s := ipvs.Service{Key: ipvs.ServiceKey{Protocol: p, Address: netip.MustParseAddrPort(address)}, Scheduler: scheduler,
		Destinations: map[netip.AddrPort]ipvs.Destination{}}
	for _, d := range dests {
		s.Destinations[d.Address] = d
	}
	return s
}

func kernelTable(services ...ipvs.Service) ipvs.Table {
	t := ipvs.Table{}
	for _, s := range services {
		t[s.Key] = s
	}
	return t
}

// memoryLedger is a ledger that is used by one reconciler after another.
type memoryLedger struct {
	mu    sync.Mutex
	owned ipvs.Owned
}

func (l *memoryLedger) Load() (ipvs.Owned, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owned, nil
}

func (l *memoryLedger) Save(o ipvs.Owned) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owned = o
	return nil
}

// reconcile runs a reconciler over the kernel until stop is called.
func reconcile(t *testing.T, k ipvs.Kernel, l ipvs.Ledger) (r *ipvs.Reconciler, stop func()) {
	t.Helper()
	r = ipvs.NewReconciler(k, ipvs.Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Ledger: l})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return r, stop
}

// apply sets the desired state and waits until it is in the kernel.
func apply(t *testing.T, r *ipvs.Reconciler, w ipvs.Desired) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := r.Wait(ctx, r.SetDesired(w)); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a condition holds. The limit only ends a failure: under software
// emulation the kernel alone takes ten seconds to load the modules of all schedulers.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	const limit = time.Minute
	for deadline := time.Now().Add(limit); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// everything returns a table with every kind of entry.
func everything() ipvs.Table {
	sh := kernelService(ipvs.TCP, "10.0.0.88:443", "sh", kernelDest("10.0.0.9:443", ipvs.Tunnel, 1))
	sh.Flags = ipvs.SHFallback | ipvs.SHPort
	sh.Persistence, sh.PersistenceBits = 300, 24
	mh := kernelService(ipvs.TCP, "10.0.0.88:8443", "mh")
	mh.Flags = ipvs.MHFallback
	six := kernelService(ipvs.TCP, "[2001:db8::88]:80", "wrr",
		kernelDest("[2001:db8::9]:80", ipvs.DirectRoute, 2), kernelDest("[2001:db8::10]:8080", ipvs.NAT, 65535))
	six.Persistence, six.PersistenceBits = 60, 64
	all := kernelService(ipvs.TCP, "10.0.0.88:0", "wlc", kernelDest("10.0.0.9:0", ipvs.DirectRoute, 1))
	all.Persistence = 360
	ops := kernelService(ipvs.UDP, "10.0.0.88:123", "rr", kernelDest("10.0.0.9:123", ipvs.NAT, 1))
	ops.Flags = ipvs.OnePacket
	sip := kernelService(ipvs.UDP, "10.0.0.88:5060", "rr", kernelDest("10.0.0.9:5060", ipvs.NAT, 1))
	sip.Persistence, sip.Engine = 300, "sip"
	mark4 := kernelService(ipvs.TCP, "10.0.0.88:1", "rr", kernelDest("10.0.0.9:0", ipvs.DirectRoute, 1), kernelDest("10.0.0.10:8080", ipvs.NAT, 2))
	mark4.Key = ipvs.ServiceKey{Mark: 7}
	mark6 := kernelService(ipvs.TCP, "10.0.0.88:1", "wlc", kernelDest("[2001:db8::9]:0", ipvs.DirectRoute, 1))
	mark6.Key = ipvs.ServiceKey{Mark: 2147483647, IPv6: true}
	mark6.Persistence, mark6.PersistenceBits = 60, 56
	mixed := kernelService(ipvs.TCP, "10.0.0.88:90", "rr", kernelDest("[2001:db8::9]:90", ipvs.Tunnel, 1), kernelDest("10.0.0.9:90", ipvs.Tunnel, 1))
	mixed4 := kernelService(ipvs.TCP, "[2001:db8::88]:90", "rr", kernelDest("10.0.0.9:90", ipvs.Tunnel, 1))
	limited := kernelDest("10.0.0.20:80", ipvs.DirectRoute, 5)
	limited.UpperThreshold, limited.LowerThreshold = 1000, 800
	return kernelTable(
		kernelService(ipvs.TCP, "10.0.0.88:80", "wlc",
			kernelDest("10.0.0.9:80", ipvs.DirectRoute, 2), limited, kernelDest("10.0.0.21:8080", ipvs.NAT, 0)),
		kernelService(ipvs.UDP, "10.0.0.88:53", "rr", kernelDest("10.0.0.9:53", ipvs.NAT, 1)),
		kernelService(ipvs.UDP, "[2001:db8::88]:53", "rr", kernelDest("[2001:db8::9]:53", ipvs.Tunnel, 1)),
		kernelService(ipvs.SCTP, "10.0.0.88:2905", "wlc", kernelDest("10.0.0.9:2905", ipvs.DirectRoute, 1)),
		tunnels(), all, ops, sip, mark4, mark6, mixed, mixed4,
		sh, mh, six)
}

func tunnel(address, kind string, port uint16, checksum string) ipvs.Destination {
	d := kernelDest(address, ipvs.Tunnel, 1)
	var err error
	if d.Encap, err = ipvs.ParseEncap(kind, port, checksum); err != nil {
		panic(err)
	}
	return d
}

// tunnels returns a service with a server by each kind of tunnel.
func tunnels() ipvs.Service {
	return kernelService(ipvs.TCP, "10.0.0.88:81", "wlc",
		tunnel("10.0.0.10:81", "ipip", 0, "none"),
		tunnel("10.0.0.11:81", "gre", 0, "none"), tunnel("10.0.0.12:81", "gre", 0, "csum"),
		tunnel("10.0.0.13:81", "gue", 6080, "none"), tunnel("10.0.0.14:81", "gue", 6081, "csum"), tunnel("10.0.0.15:81", "gue", 65535, "remcsum"))
}

var everythingSaved = []string{
	"-A -t 10.0.0.88:80 -s wlc",
	"-a -t 10.0.0.88:80 -r 10.0.0.9:80 -g -w 2",
	"-a -t 10.0.0.88:80 -r 10.0.0.20:80 -g -w 5",
	"-a -t 10.0.0.88:80 -r 10.0.0.21:8080 -m -w 0",
	"-A --sctp-service 10.0.0.88:2905 -s wlc",
	"-A -u 10.0.0.88:53 -s rr",
	"-a -u 10.0.0.88:53 -r 10.0.0.9:53 -m -w 1",
	"-A -u [2001:db8::88]:53 -s rr",
	"-a -u [2001:db8::88]:53 -r [2001:db8::9]:53 -i -w 1 --tun-type ipip",
	"-A -t 10.0.0.88:443 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port",
	"-a -t 10.0.0.88:443 -r 10.0.0.9:443 -i -w 1 --tun-type ipip",
	"-A -t 10.0.0.88:8443 -s mh -b mh-fallback",
	"-A -t [2001:db8::88]:80 -s wrr -p 60 -M 64",
	"-a -t [2001:db8::88]:80 -r [2001:db8::9]:80 -g -w 2",
	"-a -t [2001:db8::88]:80 -r [2001:db8::10]:8080 -m -w 65535",
	"-a --sctp-service 10.0.0.88:2905 -r 10.0.0.9:2905 -g -w 1",
	"-A -t 10.0.0.88:0 -s wlc -p 360",
	"-a -t 10.0.0.88:0 -r 10.0.0.9:0 -g -w 1",
	"-A -u 10.0.0.88:123 -s rr -o",
	"-a -u 10.0.0.88:123 -r 10.0.0.9:123 -m -w 1",
	"-A -u 10.0.0.88:5060 -s rr -p 300 --pe sip",
	"-a -u 10.0.0.88:5060 -r 10.0.0.9:5060 -m -w 1",
	"-A -f 7 -s rr",
	"-a -f 7 -r 10.0.0.9:0 -g -w 1",
	"-a -f 7 -r 10.0.0.10:8080 -m -w 2",
	"-A -f 2147483647 -6 -s wlc -p 60 -M 56",
	"-a -f 2147483647 -6 -r [2001:db8::9]:0 -g -w 1",
	"-A -t 10.0.0.88:81 -s wlc",
	"-a -t 10.0.0.88:81 -r 10.0.0.10:81 -i -w 1 --tun-type ipip",
	"-a -t 10.0.0.88:81 -r 10.0.0.11:81 -i -w 1 --tun-type gre --tun-nocsum",
	"-a -t 10.0.0.88:81 -r 10.0.0.12:81 -i -w 1 --tun-type gre --tun-csum",
	"-a -t 10.0.0.88:81 -r 10.0.0.13:81 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
	"-a -t 10.0.0.88:81 -r 10.0.0.14:81 -i -w 1 --tun-type gue --tun-port 6081 --tun-csum",
	"-a -t 10.0.0.88:81 -r 10.0.0.15:81 -i -w 1 --tun-type gue --tun-port 65535 --tun-remcsum",
	"-A -t 10.0.0.88:90 -s rr",
	"-a -t 10.0.0.88:90 -r [2001:db8::9]:90 -i -w 1 --tun-type ipip",
	"-a -t 10.0.0.88:90 -r 10.0.0.9:90 -i -w 1 --tun-type ipip",
	"-A -t [2001:db8::88]:90 -s rr",
	"-a -t [2001:db8::88]:90 -r 10.0.0.9:90 -i -w 1 --tun-type ipip",
}

// TestKernelAcceptsEveryForm writes, reads and exports every kind of entry.
func TestKernelAcceptsEveryForm(t *testing.T) {
	if !isolated(t) {
		return
	}
	k := openKernel(t)
	checkEveryForm(t, k)
}

func checkEveryForm(t *testing.T, k ipvs.Kernel) {
	t.Helper()
	r, stop := reconcile(t, k, nil)
	defer stop()
	apply(t, r, ipvs.Desired{Table: everything()})
	expectSaved(t, everythingSaved...)
	thresholds := runIpvsadm(t, "-L", "-n", "--thresholds")
	if !strings.Contains(strings.Join(strings.Fields(thresholds), " "), "-> 10.0.0.20:80 1000 800 0 0") {
		t.Errorf("thresholds:\n%s", thresholds)
	}
	// The table that is read equals the one that was written.
	reading, err := k.Read()
	if err != nil {
		t.Fatal(err)
	}
	if ops, foreign := ipvs.Diff(reading.Table, everything(), nil, ipvs.Alarm); len(ops)+len(foreign) != 0 {
		t.Errorf("not as desired: %v %v", ops, foreign)
	}
	checkExport(t, k, reading.Table)
	// Every service is changed in place and back.
	changed := everything()
	for key, s := range changed {
		s.Scheduler, s.Flags, s.Persistence, s.PersistenceBits = "lc", 0, 7, 0
		changed[key] = s
	}
	apply(t, r, ipvs.Desired{Table: changed})
	for _, line := range saved(t) {
		if strings.HasPrefix(line, "-A") && !strings.Contains(line, "-s lc -p 7") {
			t.Errorf("not changed: %s", line)
		}
	}
	apply(t, r, ipvs.Desired{Table: everything()})
	expectSaved(t, everythingSaved...)
	apply(t, r, ipvs.Desired{Table: ipvs.Table{}})
	expectSaved(t)
}

// checkExport compares Export with ipvsadm -S, which has no thresholds, and restores the
// table from it with ipvsadm -R.
func checkExport(t *testing.T, k ipvs.Kernel, table ipvs.Table) {
	t.Helper()
	export := ipvsadm.Format(table)
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(export, " -x 1000 -y 800", "")), "\n")
	slices.Sort(lines)
	if d := cmp.Diff(saved(t), lines); d != "" {
		t.Errorf("exported (-ipvsadm +ours):\n%s", d)
	}
	runIpvsadm(t, "-C")
	restore := exec.Command("ipvsadm", "-R")
	restore.Stdin = strings.NewReader(export)
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("ipvsadm -R: %v\n%s", err, out)
	}
	again, err := k.Read()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(table, again.Table, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("restored (-before +after):\n%s", d)
	}
}

// TestKernelSchedulers: a scheduler that ipvsadm can add can be used, one that the kernel
// lacks is refused by name.
func TestKernelSchedulers(t *testing.T) {
	if !isolated(t) {
		return
	}
	k := openKernel(t)
	for _, name := range []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"} {
		present := exec.Command("ipvsadm", "-A", "-t", "10.0.0.88:80", "-s", name).Run() == nil
		runIpvsadm(t, "-C")
		err := k.Apply(ipvs.Op{Kind: ipvs.AddService, Service: kernelService(ipvs.TCP, "10.0.0.88:80", name)})
		switch {
		case (err == nil) != present:
			t.Errorf("%s: %v, with ipvsadm %v", name, err, present)
		case err != nil:
			if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), name) {
				t.Errorf("the error %q does not name the scheduler %s", err, name)
			}
		default:
			expectSaved(t, "-A -t 10.0.0.88:80 -s "+name)
			runIpvsadm(t, "-C")
		}
	}
}

// TestReconcilerRepairsTable: changes by others are repaired, over restarts too.
func TestReconcilerRepairsTable(t *testing.T) {
	if !isolated(t) {
		return
	}
	k, l := openKernel(t), &memoryLedger{}
	runIpvsadm(t, "-A", "-t", "10.0.0.99:99", "-s", "lc", "-p", "11")
	runIpvsadm(t, "-a", "-t", "10.0.0.99:99", "-r", "10.0.0.1:99", "-g")
	theirs := []string{"-A -t 10.0.0.99:99 -s lc -p 11", "-a -t 10.0.0.99:99 -r 10.0.0.1:99 -g -w 1"}
	ours := func(weight int) ipvs.Desired {
		return ipvs.Desired{ResyncInterval: time.Second, Table: kernelTable(kernelService(ipvs.TCP, "10.0.0.88:80", "wlc",
			kernelDest("10.0.0.9:80", ipvs.DirectRoute, weight), kernelDest("10.0.0.10:80", ipvs.DirectRoute, 1)))}
	}
	oursSaved := append([]string{"-A -t 10.0.0.88:80 -s wlc", "-a -t 10.0.0.88:80 -r 10.0.0.9:80 -g -w 2", "-a -t 10.0.0.88:80 -r 10.0.0.10:80 -g -w 1"}, theirs...)

	r, stop := reconcile(t, k, l)
	apply(t, r, ours(2))
	expectSaved(t, oursSaved...)

	// Weight 0 and back is two writes.
	before := r.Snapshot().Operations
	apply(t, r, ours(0))
	if !slices.Contains(saved(t), "-a -t 10.0.0.88:80 -r 10.0.0.9:80 -g -w 0") {
		t.Error("weight 0 is not in the kernel")
	}
	apply(t, r, ours(2))
	expectSaved(t, oursSaved...)
	for op, n := range r.Snapshot().Operations {
		if want := map[string]uint64{"edit_destination": 2}[op.Op]; op.Result == "ok" && n-before[op] != want {
			t.Errorf("%d × %v for one weight to 0 and back", n-before[op], op)
		}
	}

	// Changes of our services with ipvsadm.
	for kind, args := range map[string][]string{
		ipvs.DriftDestinationChanged: {"-e", "-t", "10.0.0.88:80", "-r", "10.0.0.9:80", "-m", "-w", "77"},
		ipvs.DriftDestinationMissing: {"-d", "-t", "10.0.0.88:80", "-r", "10.0.0.9:80"},
		ipvs.DriftServiceChanged:     {"-E", "-t", "10.0.0.88:80", "-s", "sh", "-p", "5", "-b", "sh-port"},
		ipvs.DriftServiceMissing:     {"-D", "-t", "10.0.0.88:80"},
	} {
		was := r.Snapshot().Drift[kind]
		runIpvsadm(t, args...)
		eventually(t, kind+" is repaired", func() bool { return slices.Equal(saved(t), slices.Sorted(slices.Values(oursSaved))) })
		eventually(t, kind+" is counted", func() bool { return r.Snapshot().Drift[kind] == was+1 })
	}
	runIpvsadm(t, "-a", "-t", "10.0.0.88:80", "-r", "10.0.0.66:80", "-g")
	eventually(t, "a foreign server is counted", func() bool { return r.Snapshot().Foreign == 1 })
	foreign := "-a -t 10.0.0.88:80 -r 10.0.0.66:80 -g -w 1"
	expectSaved(t, append([]string{foreign}, oursSaved...)...)

	// While lvsd is down a server is removed from the file, and another one added with
	// ipvsadm.
	stop()
	w := ours(2)
	delete(w.Table[ipvs.ServiceKey{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort("10.0.0.88:80")}].Destinations, netip.MustParseAddrPort("10.0.0.10:80"))
	r, stop = reconcile(t, k, l)
	apply(t, r, w)
	expectSaved(t, append([]string{foreign, "-A -t 10.0.0.88:80 -s wlc", "-a -t 10.0.0.88:80 -r 10.0.0.9:80 -g -w 2"}, theirs...)...)
	w.Foreign = ipvs.Remove
	apply(t, r, w)
	expectSaved(t, append([]string{"-A -t 10.0.0.88:80 -s wlc", "-a -t 10.0.0.88:80 -r 10.0.0.9:80 -g -w 2"}, theirs...)...)

	// While lvsd is down the service is removed from the file; it leaves the table.
	stop()
	r, stop = reconcile(t, k, l)
	apply(t, r, ipvs.Desired{Table: kernelTable(kernelService(ipvs.UDP, "10.0.0.88:80", "rr"))})
	expectSaved(t, append([]string{"-A -u 10.0.0.88:80 -s rr"}, theirs...)...)
	stop()
	if err := r.Remove(context.Background()); err != nil {
		t.Error(err)
	}
	expectSaved(t, theirs...)
}

// TestKernelSyncStoppedAtOnce: a sync daemon that is stopped right after its start is not
// reported as stopped by the kernel.
func TestKernelSyncStoppedAtOnce(t *testing.T) {
	if !isolated(t) {
		return
	}
	k := openKernel(t)
	for _, role := range []ipvs.SyncRole{ipvs.SyncMaster, ipvs.SyncBackup} {
		if err := k.StartDaemon(role, ipvs.SyncConfig{Interface: "lo", ID: 5}); err != nil {
			t.Fatal(err)
		}
		if err := k.StopDaemon(role); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := k.Daemons(); err != nil || s != (ipvs.SyncState{}) {
		t.Errorf("%+v, %v", s, err)
	}
	if err := k.StopDaemon(ipvs.SyncMaster); !errors.Is(err, unix.ESRCH) {
		t.Errorf("stopped a sync daemon that does not run: %v", err)
	}
}

// TestKernelSettings writes the timeouts and sysctl settings of IPVS.
func TestKernelSettings(t *testing.T) {
	if !isolated(t) {
		return
	}
	k := openKernel(t)
	r, _ := reconcile(t, k, nil)
	apply(t, r, ipvs.Desired{TimeoutTCP: 20 * time.Minute, TimeoutUDP: 77 * time.Second, ManageSysctls: true, ResyncInterval: time.Second})
	if out := runIpvsadm(t, "-L", "--timeout"); !strings.Contains(out, "1200 120 77") {
		t.Errorf("timeouts: %s", out)
	}
	sysctl := func(name string) string {
		b, err := os.ReadFile("/proc/sys/net/ipv4/vs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	reuse := sysctl("conn_reuse_mode")
	for _, name := range []string{"expire_nodest_conn", "expire_quiescent_template"} {
		if v := sysctl(name); v != "1" {
			t.Errorf("%s is %s", name, v)
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/vs/"+name, []byte("0"), 0o644); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" is set back", func() bool { return sysctl(name) == "1" })
	}
	if now := sysctl("conn_reuse_mode"); now != reuse {
		t.Errorf("conn_reuse_mode went from %s to %s", reuse, now)
	}
	// The size of the table of connections may be 0: from Linux 7 on it is made with the
	// first connection.
	if s := r.Snapshot(); s.SettingsError != "" || s.Info.Version != "1.2.1" {
		t.Errorf("%+v", s)
	}
}

// TestKernelCountsAndKeepsConnections: connections are counted at once, statistics within
// the estimator's 2 s; a server with weight 0 keeps its connections.
func TestKernelCountsAndKeepsConnections(t *testing.T) {
	if !isolated(t) {
		return
	}
	if out, err := exec.Command("ip", "addr", "add", "10.0.0.88/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("ip: %v %s", err, out)
	}
	server, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = c.Write([]byte("x")); _, _ = c.Read(make([]byte, 1)); c.Write([]byte("y")); c.Close() }()
		}
	}()
	k := openKernel(t)
	r, _ := reconcile(t, k, nil)
	key := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort("10.0.0.88:80")}
	real := netip.MustParseAddrPort("127.0.0.1:8080")
	desired := func(weight int) ipvs.Desired {
		s := kernelService(ipvs.TCP, "10.0.0.88:80", "rr", kernelDest("127.0.0.1:8080", ipvs.NAT, weight))
		s.Persistence = 60
		return ipvs.Desired{Table: kernelTable(s), ManageSysctls: true}
	}
	apply(t, r, desired(1))
	var conns []net.Conn
	for range 3 {
		c, err := net.DialTimeout("tcp", "10.0.0.88:80", 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	reading, err := k.Read()
	if err != nil {
		t.Fatal(err)
	}
	d := reading.Stats[key].Destinations[real]
	if d.Active != 3 || d.Persistent != 1 {
		t.Errorf("%+v, want 3 active and 1 persistent\n%s", d, runIpvsadm(t, "-L", "-n", "--persistent-conn"))
	}
	eventually(t, "the counters have 3 connections", func() bool {
		s := r.Refresh(context.Background())
		return s.Stats[key].Connections == 3 && s.Stats[key].Destinations[real].Connections == 3 && s.Stats[key].BytesIn > 0
	})
	apply(t, r, desired(0))
	for _, c := range conns {
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.Write([]byte("z")); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Errorf("an established connection did not survive weight 0: %v", err)
		}
	}
	if c, err := net.DialTimeout("tcp", "10.0.0.88:80", 300*time.Millisecond); err == nil {
		c.Close()
		t.Error("a new connection with weight 0")
	}
	apply(t, r, desired(1))
	c, err := net.DialTimeout("tcp", "10.0.0.88:80", 2*time.Second)
	if err != nil {
		t.Fatalf("after weight 0 and back: %v", err)
	}
	c.Close()
}

// TestKernelWithoutRights: the error without CAP_NET_ADMIN names the capability.
func TestKernelWithoutRights(t *testing.T) {
	if !isolated(t) {
		return
	}
	errs := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends, as it has lost its capabilities
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			errs <- err
			return
		}
		_, err := netlink.Open()
		errs <- err
	}()
	if err := <-errs; !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("opened without CAP_NET_ADMIN: %v", err)
	}
}
