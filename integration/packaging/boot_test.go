package packaging_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// realServerVIPs are two addresses of services.
var realServerVIPs = []string{"10.0.0.88", "2001:db8::88"}

// TestReleaseRealServer: what lvsd realserver install sets is there after a boot, and so is
// what the files of lvsd realserver print set by the tools that they are for.
func TestReleaseRealServer(t *testing.T) {
	lab.RequireNamespaces(t)
	l := lab.New(t)
	lan := l.LAN("lan", "10.0.0.0/24")
	m := boot(t, l, l.Host("rs1", lan, "10.0.0.9/24"))
	m.install(packaged(t, "lvsd_*.deb"))
	vips := []string{"--vip", realServerVIPs[0], "--vip", realServerVIPs[1]}
	realserver := func(args ...string) (string, error) {
		return m.run(append(append([]string{"lvsd", "realserver"}, args...), vips...)...)
	}
	holds := func(what string, want bool) {
		t.Helper()
		for _, vip := range realServerVIPs {
			if m.HoldsOn("lo", vip) != want {
				t.Errorf("%s: holds %s: %v", what, vip, !want)
			}
		}
		for key, is := range map[string]string{"arp_ignore": "1", "arp_announce": "2"} {
			if value, err := m.Sysctl("net.ipv4.conf.all." + key); err != nil || (value == is) != want {
				t.Errorf("%s: %s = %s %v", what, key, value, err)
			}
		}
		if out, err := realserver("status"); (err == nil) != want {
			t.Errorf("%s: lvsd realserver status: %v\n%s", what, err, out)
		}
	}
	reboot := func() {
		t.Helper()
		m.stop()
		// A kernel that boots has none of this.
		for _, vip := range realServerVIPs {
			_, _ = m.Run(t.Context(), "ip", "address", "del", vip, "dev", "lo")
		}
		m.SetSysctl("net.ipv4.conf.all.arp_ignore", "0")
		m.SetSysctl("net.ipv4.conf.all.arp_announce", "0")
		m.start()
	}

	for again := range 2 {
		out, err := realserver("install")
		if err != nil || strings.Contains(out, "written") != (again == 0) {
			t.Fatalf("lvsd realserver install: %v\n%s", err, out)
		}
		holds("install", true)
	}
	reboot()
	holds("install and a boot", true)
	for _, vip := range realServerVIPs {
		m.mustRun("systemctl", "disable", "--now", "lvsd-realserver@"+vip+".service")
	}
	holds("disable", false)

	// print writes the files of a form below the machine's root.
	print := func(form string) (paths []string) {
		t.Helper()
		out, err := realserver("print", "--for", form)
		if err != nil {
			t.Fatalf("lvsd realserver print --for %s: %v\n%s", form, err, out)
		}
		for file := range strings.SplitSeq(out, "\n\n# /") {
			path, text, _ := strings.Cut(strings.TrimPrefix(file, "# /"), "\n")
			path, _, _ = strings.Cut(path, " ")
			m.write(path, text+"\n")
			paths = append(paths, path)
		}
		return paths
	}
	remove := func(paths []string) {
		for _, path := range paths {
			_ = os.Remove(m.file(path))
		}
	}
	sysctl := func() { m.mustRun("/lib/systemd/systemd-sysctl", "/etc/sysctl.d/60-lvsd-realserver.conf") }

	files := print("networkd")
	reboot()
	sysctl()
	m.mustRun("mount", "-o", "remount,bind,ro", "/sys") // as in a container: it waits for no udev
	m.mustRun("systemctl", "start", "systemd-networkd.service")
	l.WaitUntil(60*time.Second, "systemd-networkd to set the addresses", func() bool { return m.HoldsOn("lo", realServerVIPs[0]) && m.HoldsOn("lo", realServerVIPs[1]) })
	holds("networkd", true)
	if !m.HoldsOn("lo", "127.0.0.1") || !m.HoldsOn("lo", "::1") || !m.HoldsOn("eth0", "10.0.0.9") {
		t.Errorf("systemd-networkd takes other addresses away: %v, %v", m.Addresses("lo"), m.Addresses("eth0"))
	}
	m.mustRun("systemctl", "stop", "systemd-networkd.service", "systemd-networkd.socket")
	remove(files)

	// Of Debian's ifupdown the programs alone: installed, it would take over this machine.
	if !m.exists("sbin/ifup") {
		for _, name := range []string{"ifup", "ifdown"} {
			text, err := os.ReadFile(lvsdtest.RepositoryFile(t, "bin/deps/sbin/"+name))
			if err != nil {
				t.Fatalf("no %s (run make deps-release): %v", name, err)
			}
			m.write("sbin/"+name, string(text))
			if err := os.Chmod(m.file("sbin", name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	reboot()
	print("ifupdown")
	m.write("etc/network/interfaces", "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n")
	m.mustRun("mkdir", "-p", "/run/network", "/etc/network/if-pre-up.d", "/etc/network/if-up.d", "/etc/network/if-down.d", "/etc/network/if-post-down.d")
	sysctl()
	m.mustRun("ifup", "-a")
	holds("ifupdown", true)
	m.mustRun("ifdown", "lo")
	if m.HoldsOn("lo", realServerVIPs[0]) || m.HoldsOn("lo", realServerVIPs[1]) {
		t.Errorf("ifdown leaves %v", m.Addresses("lo"))
	}
}

// TestReleaseHostPrepare: what lvsd host prepare --persist sets is there after a boot.
func TestReleaseHostPrepare(t *testing.T) {
	lab.RequireKernel(t)
	l := lab.New(t)
	m := boot(t, l, l.Host("lb1", l.LAN("lan", "10.0.0.0/24"), "10.0.0.12/24"))
	m.install(packaged(t, "lvsd_*.deb"))
	m.write("etc/lvsd/pair.key", lvsdtest.AuthKey)
	m.mustRun("chmod", "600", "/etc/lvsd/pair.key")
	m.write("etc/lvsd/lvsd.toml", lvsdtest.ReadGuide(t, "README.md")["toml"])
	const setting = "net.ipv4.vs.backup_only" // 0 in every configuration
	unprepared := func() { m.SetSysctl(setting, "1") }
	prepared := func(when string) {
		t.Helper()
		if value, err := m.Sysctl(setting); err != nil || value != "0" {
			t.Errorf("%s: %s = %s %v", when, setting, value, err)
		}
	}
	unprepared()
	m.write("root/lvsd.toml", lvsdtest.ReadGuide(t, "README.md")["toml"])
	if out, err := m.run("lvsd", "host", "prepare", "--persist", "-c", "/root/lvsd.toml"); err == nil || !strings.Contains(out, "/etc/lvsd/lvsd.toml") {
		t.Errorf("of another file: %v\n%s", err, out)
	}
	if out := m.mustRun("lvsd", "host", "prepare", "--persist"); !lvsdtest.ContainsAll(out, setting+" = 0", "lvsd-host.service enabled") {
		t.Errorf("lvsd host prepare --persist:\n%s", out)
	}
	prepared("at once")
	if out := m.mustRun("lvsd", "host", "prepare", "--persist"); !strings.Contains(out, "nothing to change") {
		t.Errorf("again:\n%s", out)
	}
	m.stop()
	unprepared()
	m.start()
	prepared("after a boot")
	m.mustRun("systemctl", "disable", "lvsd-host.service")
	m.stop()
	unprepared()
	m.start()
	if value, _ := m.Sysctl(setting); value != "1" {
		t.Errorf("disabled, the unit sets it after a boot: %s", value)
	}
}
