package operate_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// schedulers are those of ip_vs.
var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"}

// command runs a command with the pair's file.
func command(d *lvsdtest.Director, args ...string) (out string, code int) {
	d.Pair.T.Helper()
	out, err := d.LVSD(append(args, "-c", d.Pair.ConfigFile, "--director", d.Name)...)
	if err != nil {
		code = lvsdtest.ExitCode(err)
	}
	return out, code
}

// moduleFiles are the files in which a machine says which modules it has.
type moduleFiles struct {
	dep      string // modules.dep; "": the machine has no folder of modules for its kernel
	modprobe string // a file of /etc/modprobe.d
}

// onMachine makes a director run lvsd where these files, and no loaded module, are seen.
func onMachine(d *lvsdtest.Director, files moduleFiles) {
	p := d.Pair
	p.WriteFile("modprobe.d/no.conf", files.modprobe)
	if err := os.MkdirAll(p.Path("modules"), 0o755); err != nil {
		p.T.Fatal(err)
	}
	if files.dep != "" {
		folder := filepath.Join("modules", lab.Kernel().Release)
		p.WriteFile(filepath.Join(folder, "modules.dep"), files.dep)
		p.WriteFile(filepath.Join(folder, "modules.builtin"), "")
	}
	d.Program = p.WriteFile("lvsd-on-machine", `#!/bin/sh
exec unshare --mount sh -ec '
mount --bind "$1/modules" /lib/modules
mount --bind "$1/modprobe.d" /etc/modprobe.d
mount -t tmpfs none /sys/module
shift
exec "$@"' sh `+p.Dir()+" "+lvsdtest.Binary(p.T)+` "$@"
`)
	if err := os.Chmod(d.Program, 0o755); err != nil {
		p.T.Fatal(err)
	}
}

// TestHostModules: whatever a machine's files say of the module of a scheduler, host
// check, check --host and a start agree on it in the same words.
func TestHostModules(t *testing.T) {
	lab.RequireKernel(t)
	for _, folder := range []string{"/lib/modules", "/etc/modprobe.d"} {
		if _, err := os.Stat(folder); err != nil {
			lab.Require(t, err)
		}
	}
	const both = "kernel/net/netfilter/ipvs/ip_vs.ko:\nkernel/net/netfilter/ipvs/ip_vs_rr.ko: kernel/net/netfilter/ipvs/ip_vs.ko\n"
	for _, c := range []struct {
		name  string
		files moduleFiles
		have  string
		code  int
	}{
		{"loadable", moduleFiles{dep: both}, "loadable", 0},
		{"absent", moduleFiles{dep: "kernel/net/netfilter/ipvs/ip_vs.ko:\n"}, "absent from kernel " + lab.Kernel().Release, 1},
		{"blacklisted", moduleFiles{dep: both, modprobe: "install ip_vs_rr /bin/false\n"}, `blacklisted by "install ip_vs_rr /bin/false" in /etc/modprobe.d/no.conf`, 1},
		{"container", moduleFiles{}, "unknown: no /lib/modules/" + lab.Kernel().Release, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := lvsdtest.NewPair(t, 1)
			lb := p.LB[0]
			p.Services = p.WebService(lvsdtest.QuickCheck, 1)
			p.WriteConfig()
			onMachine(lb, c.files)
			out, code := command(lb, "host", "check")
			if code != c.code || !strings.Contains(strings.Join(strings.Fields(out), " "), "module ip_vs_rr ") || !strings.Contains(out, c.have) {
				t.Errorf("host check: exit %d, want %d with %q\n%s", code, c.code, c.have, out)
			}
			if c.code == 0 {
				if out, code := command(lb, "check", "--host"); code != 0 {
					t.Errorf("check --host: exit %d\n%s", code, out)
				}
				lb.StartDaemon()
				lb.StopDaemon()
				return
			}
			have := "module ip_vs_rr = " + c.have
			for _, args := range [][]string{{"check", "--host"}, {"run"}} {
				out, code := command(lb, args...)
				if code != c.code || strings.Count(out, have) != 1 || !strings.Contains(out, "lvsd.toml:") {
					t.Errorf("%v: exit %d, want %d with %q once\n%s", args, code, c.code, have, out)
				}
			}
		})
	}
}

// TestModulesAreLoadedOnDemand: host check reports of each scheduler what the kernel then
// does, and loads none. A start with one that is not loaded loads it.
func TestModulesAreLoadedOnDemand(t *testing.T) {
	if !lab.Kernel().Disposable {
		lab.Skip(t, errors.New("unloads modules of ip_vs, which only a kernel that the lab booted may lose; run it with bin/uml --mode uml or bin/qemu"))
	}
	p := lvsdtest.NewPair(t, 1)
	lb := p.LB[0]
	loaded := func(scheduler string) bool {
		_, err := os.Stat("/sys/module/ip_vs_" + scheduler)
		return err == nil
	}
	for _, s := range schedulers {
		// The namespace of an earlier test may still use it.
		p.WaitUntil(30*time.Second, "ip_vs_"+s+" is unloaded", func() bool {
			if loaded(s) {
				_, _ = lb.Run(t.Context(), "rmmod", "ip_vs_"+s)
			}
			return !loaded(s)
		})
	}
	service := p.WebService(lvsdtest.QuickCheck, 1)
	for _, s := range schedulers {
		p.Services = lvsdtest.Replace(t, service, `scheduler = "rr"`, `scheduler = "`+s+`"`)
		p.WriteConfig()
		out, code := command(lb, "host", "check")
		if loaded(s) {
			t.Errorf("host check loads ip_vs_%s", s)
		}
		_, err := lb.Run(t.Context(), "ipvsadm", "-A", "-f", "4711", "-s", s)
		if err == nil {
			lb.MustRun("ipvsadm", "-D", "-f", "4711")
		}
		if says := strings.Contains(out, "loadable: the kernel"); says != (err == nil) || (code == 0) != (err == nil) {
			t.Errorf("%s: the kernel: %v, host check: exit %d\n%s", s, err, code, out)
		}
	}
	lb.MustRun("rmmod", "ip_vs_sed")
	p.Services = lvsdtest.Replace(t, service, `scheduler = "rr"`, `scheduler = "sed"`)
	p.WriteConfig()
	if out, code := command(lb, "check", "--host"); code != 0 {
		t.Errorf("check --host: exit %d\n%s", code, out)
	}
	lb.StartDaemon()
	p.WaitUntil(30*time.Second, "the service is in the kernel", func() bool { return strings.Contains(lb.IPVSTable(), "-s sed") })
	lb.StopDaemon()
}
