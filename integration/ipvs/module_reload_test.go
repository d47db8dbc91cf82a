// The kernel modules of IPVS unloaded under a running reconciler, and loaded again.

package ipvs_test

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/ipvs"
	"lvsd/ipvs/netlink"
)

// TestKernelModuleReloaded unloads the modules under a running reconciler. Loaded again
// they have another netlink family number, which moby/ipvs does not notice: everything
// afterwards is written by our own encoder, so every kind of entry and the model are
// tested with that, too.
func TestKernelModuleReloaded(t *testing.T) {
	if !lab.Kernel().Disposable {
		lab.Skip(t, errors.New("unloads ip_vs, which only a kernel that the lab booted may lose; run it with bin/uml --mode uml or bin/qemu"))
	}
	if !isolated(t) {
		return
	}
	k := openKernel(t)
	r, stop := reconcile(t, k, nil)
	// Seldom enough that what it repairs does not keep the modules in use.
	apply(t, r, ipvs.Desired{Table: everything(), ResyncInterval: 10 * time.Second})
	allowLoading := unloadIPVS(t)
	eventually(t, "the loss is seen", func() bool { return !r.Snapshot().Up })
	if _, err := k.Read(); !errors.Is(err, ipvs.ErrUnavailable) {
		t.Errorf("read without the module: %v", err)
	}
	if err := k.Apply(ipvs.Op{Kind: ipvs.AddService, Service: kernelService(ipvs.TCP, "10.0.0.88:80", "rr")}); !errors.Is(err, ipvs.ErrUnavailable) {
		t.Errorf("write without the module: %v", err)
	}
	if again, err := netlink.Open(); !errors.Is(err, ipvs.ErrUnavailable) || !strings.Contains(err.Error(), "modprobe ip_vs") {
		t.Errorf("opened %v without the module: %v", again, err)
	}
	allowLoading() // the next lookup of the family loads it
	eventually(t, "the table is back", func() bool {
		return slices.Equal(saved(t), slices.Sorted(slices.Values(everythingSaved)))
	})
	apply(t, r, ipvs.Desired{Table: ipvs.Table{}})
	stop()
	checkEveryForm(t, k)
	checkModel(t, k, 1000)
	r, _ = reconcile(t, k, nil)
	apply(t, r, ipvs.Desired{TimeoutTCP: 21 * time.Minute})
	if out := runIpvsadm(t, "-L", "--timeout"); !strings.Contains(out, "1260 120 300") {
		t.Errorf("timeouts: %s", out)
	}
}

// unloadIPVS unloads the modules and prevents their automatic loading until the function
// that it returns is called, or the test ends. It retries, as our own reconciler and
// namespaces that have just ended may still use the modules.
func unloadIPVS(t *testing.T) (allowLoading func()) {
	t.Helper()
	const loader = "/proc/sys/kernel/modprobe"
	was, err := os.ReadFile(loader)
	if err != nil {
		t.Fatal(err)
	}
	set := func(s string) {
		if err := os.WriteFile(loader, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := os.Getenv("PATH")
	allowLoading = sync.OnceFunc(func() {
		os.Setenv("PATH", path)
		set(strings.TrimSpace(string(was)))
	})
	t.Cleanup(allowLoading)
	set("/bin/false")
	os.Setenv("PATH", "/nonexistent") // so that this process finds no modprobe either
	defer func() {
		if loaded, _ := os.ReadFile("/proc/modules"); t.Failed() {
			t.Logf("the modules, their sizes and users:\n%s", loaded)
		}
	}()
	eventually(t, "ip_vs is unloaded", func() bool {
		_ = exec.Command("/usr/sbin/ipvsadm", "-C").Run()
		for range 2 { // schedulers and helpers first, then what they use
			b, err := os.ReadFile("/proc/modules")
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(b)) {
				if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "ip_vs") {
					_ = unix.DeleteModule(name, unix.O_NONBLOCK)
				}
			}
		}
		_, err := os.Stat("/proc/net/ip_vs")
		return err != nil
	})
	return allowLoading
}
