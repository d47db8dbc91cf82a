package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/config"
)

const release = "6.1.0-9-amd64"

// lists are those of a kernel's modules.
var lists = map[string]string{
	"lib/modules/" + release + "/modules.dep": "kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz\n" +
		"kernel/net/netfilter/ipvs/ip_vs_wlc.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\nkernel/drivers/net/macvlan.ko.xz:\n",
	"lib/modules/" + release + "/modules.builtin": "kernel/net/ipv4/tunnel4.ko\n",
}

// tree is a folder with these files.
func tree(t *testing.T, all ...map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for _, files := range all {
		for name, text := range files {
			file := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// TestModules: each state of a module has its own text and remedy.
func TestModules(t *testing.T) {
	for _, c := range []struct {
		name   string
		files  map[string]string
		bare   bool // no /lib/modules
		module string
		have   string // the beginning
		ok     bool
		remedy string // a part
	}{
		{name: "built in", files: map[string]string{"lib/modules/" + release + "/modules.builtin": "kernel/net/netfilter/ipvs/ip-vs-wlc.ko\n"}, module: "ip_vs_wlc", have: "built in", ok: true},
		{name: "loaded", files: map[string]string{"sys/module/ip_vs_wlc/refcnt": "1"}, module: "ip_vs_wlc", have: "loaded", ok: true},
		{name: "loadable", module: "ip_vs_wlc", have: "loadable", ok: true},
		{name: "install line", files: map[string]string{"etc/modprobe.d/no.conf": "# none\ninstall ip-vs-wlc /bin/false\n"},
			module: "ip_vs_wlc", have: `blacklisted by "install ip-vs-wlc /bin/false" in /etc/modprobe.d/no.conf`, remedy: "remove that"},
		{name: "a file that hides another", files: map[string]string{"etc/modprobe.d/a.conf": "", "usr/lib/modprobe.d/a.conf": "install ip_vs_wlc /bin/true\n"}, module: "ip_vs_wlc", have: "loadable", ok: true},
		{name: "blacklist of a name that is no alias", files: map[string]string{"etc/modprobe.d/no.conf": "blacklist ip_vs_wlc\n"}, module: "ip_vs_wlc", have: "loadable", ok: true},
		{name: "blacklist of ip_vs", files: map[string]string{"etc/modprobe.d/no.conf": "blacklist ip_vs\n"}, module: "ip_vs", have: "blacklisted", remedy: "modprobe ip_vs"},
		{name: "command line", files: map[string]string{"proc/cmdline": "quiet module_blacklist=floppy,ip_vs_wlc\n"}, module: "ip_vs_wlc", have: "blacklisted by module_blacklist=floppy,ip_vs_wlc", remedy: "reboot"},
		{name: "command line of modprobe", files: map[string]string{"proc/cmdline": "quiet modprobe.blacklist=ip_vs\n"}, module: "ip_vs", have: "blacklisted by modprobe.blacklist=ip_vs", remedy: "reboot"},
		{name: "command line of modprobe, of a name that is no alias", files: map[string]string{"proc/cmdline": "modprobe.blacklist=ip_vs_wlc\n"}, module: "ip_vs_wlc", have: "loadable", ok: true},
		{name: "loading is disabled", files: map[string]string{"proc/sys/kernel/modules_disabled": "1\n"}, module: "ip_vs_wlc", have: "blacklisted by kernel.modules_disabled", remedy: "reboot"},
		{name: "loading is disabled after it was loaded", files: map[string]string{"proc/sys/kernel/modules_disabled": "1\n", "sys/module/ip_vs/refcnt": "1"}, module: "ip_vs", have: "loaded", ok: true},
		{name: "loaded by hand", files: map[string]string{"etc/modprobe.d/no.conf": "blacklist ip_vs\n", "sys/module/ip_vs/refcnt": "1"},
			module: "ip_vs", have: `loaded, but not after the next boot: blacklisted by "blacklist ip_vs" in /etc/modprobe.d/no.conf`, remedy: "remove that"},
		{name: "of a virtual MAC address", module: "macvlan", have: "loadable", ok: true},
		{name: "blacklist of what a virtual MAC address needs", files: map[string]string{"etc/modprobe.d/no.conf": "blacklist macvlan\n"}, module: "macvlan", have: "blacklisted", remedy: "modprobe macvlan"},
		{name: "absent", module: "ip_vs_twos", have: "absent from kernel " + release, remedy: "linux-modules-extra-" + release},
		{name: "container", bare: true, files: map[string]string{"proc/net/ip_vs": ""}, module: "ip_vs_wlc", have: "unknown", ok: true},
		{name: "container with IPVS", bare: true, files: map[string]string{"proc/net/ip_vs": ""}, module: "ip_vs", have: "unknown", ok: true},
		{name: "container without IPVS", bare: true, module: "ip_vs", have: "unknown", remedy: "on the host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := []map[string]string{lists, c.files}
			if c.bare {
				all = all[1:]
			}
			root := tree(t, all...)
			var found Finding
			for _, f := range modulesIn(root, release, uses{schedulers: []string{strings.TrimPrefix(c.module, "ip_vs_")}, virtualMAC: true}) {
				if f.Name == "module "+c.module {
					found = f
				}
			}
			if !strings.HasPrefix(found.Have, c.have) || found.OK != c.ok || !c.ok && !strings.Contains(found.Remedy, c.remedy) {
				t.Errorf("%+v, want %q, %v, remedy %q", found, c.have, c.ok, c.remedy)
			}
			if !c.ok && !found.manual {
				t.Error("prepare would try what only a person can do")
			}
		})
	}
}

// TestMissingModules: a start refuses what the kernel cannot load, with the finding's text
// and the place, and not what it has until the next boot.
func TestMissingModules(t *testing.T) {
	c := &config.Config{File: "lvsd.toml", Services: []config.Service{
		{Name: "a", File: "web.toml", Scheduler: "wlc", Position: config.Position{Line: 4, Col: 1}}, {Name: "b", Scheduler: "twos", PersistenceEngine: "sip", Position: config.Position{Line: 9, Col: 1}}, {Name: "c", Scheduler: "twos"},
	}}
	const forbidden = "install ip_vs_wlc /bin/false\n"
	for _, test := range []struct {
		name string
		root string
		want []string
	}{
		{"absent", tree(t, lists), []string{"lvsd.toml:9:1: virtual_service b: module ip_vs_twos = absent from kernel " + release, "b: module ip_vs_pe_sip = absent"}},
		{"blacklisted", tree(t, lists, map[string]string{"etc/modprobe.d/no.conf": forbidden, "sys/module/ip_vs_twos/refcnt": "0", "sys/module/ip_vs_pe_sip/refcnt": "0"}),
			[]string{"web.toml:4:1: virtual_service a: module ip_vs_wlc = blacklisted by"}},
		{"blacklisted after it was loaded", tree(t, lists, map[string]string{"etc/modprobe.d/no.conf": forbidden, "sys/module/ip_vs_wlc/refcnt": "0", "sys/module/ip_vs_twos/refcnt": "0", "sys/module/ip_vs_pe_sip/refcnt": "0"}), nil},
		{"container", tree(t), nil},
	} {
		got := missingIn(test.root, release, c)
		if len(got) != len(test.want) {
			t.Errorf("%s: %v, want %q", test.name, got, test.want)
			continue
		}
		for i, err := range got {
			if !strings.Contains(err.Error(), test.want[i]) {
				t.Errorf("%s: %v, want %q", test.name, err, test.want[i])
			}
		}
	}
}
