package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestModules: each state of a module has its own text and remedy.
func TestModules(t *testing.T) {
	const release = "6.1.0-9-amd64"
	const dep = "kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz\nkernel/net/netfilter/ipvs/ip_vs_wlc.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\n"
	lists := map[string]string{"lib/modules/" + release + "/modules.dep": dep, "lib/modules/" + release + "/modules.builtin": "kernel/net/ipv4/tunnel4.ko\n"}
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
		{name: "command line", files: map[string]string{"proc/cmdline": "quiet module_blacklist=floppy,ip_vs_wlc\n"}, module: "ip_vs_wlc", have: "blacklisted by module_blacklist=floppy,ip_vs_wlc", remedy: "remove that"},
		{name: "loading is disabled", files: map[string]string{"proc/sys/kernel/modules_disabled": "1\n"}, module: "ip_vs_wlc", have: "blacklisted by kernel.modules_disabled", remedy: "remove that"},
		{name: "absent", module: "ip_vs_twos", have: "absent from kernel " + release, remedy: "linux-modules-extra-" + release},
		{name: "container", bare: true, files: map[string]string{"proc/net/ip_vs": ""}, module: "ip_vs_wlc", have: "unknown", ok: true},
		{name: "container with IPVS", bare: true, files: map[string]string{"proc/net/ip_vs": ""}, module: "ip_vs", have: "unknown", ok: true},
		{name: "container without IPVS", bare: true, module: "ip_vs", have: "unknown", remedy: "on the host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			write := func(name, text string) {
				t.Helper()
				file := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if !c.bare {
				for name, text := range lists {
					write(name, text)
				}
			}
			for name, text := range c.files {
				write(name, text)
			}
			var found Finding
			for _, f := range modulesIn(root, release, uses{schedulers: []string{strings.TrimPrefix(c.module, "ip_vs_")}}) {
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
