package packaging_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestReleaseAnsible sets up machines by docs/examples/ansible with Debian's
// ansible-playbook: two directors and two real servers from the package, which then serve.
// A second run changes nothing, and one with another configuration reloads the directors.
func TestReleaseAnsible(t *testing.T) {
	lab.RequireKernel(t)
	l := lab.New(t)
	lan := l.LAN("lan", "10.0.0.0/24")
	client := l.Host("client", lan, "10.0.0.2/24")
	deb, err := os.ReadFile(packaged(t, "lvsd_*.deb"))
	if err != nil {
		t.Fatal(err)
	}
	// The hosts and addresses of inventory.ini.
	machines := map[string]*machine{}
	var reach strings.Builder
	for _, host := range [][2]string{{"lb1", "10.0.0.12"}, {"lb2", "10.0.0.13"}, {"rs1", "10.0.0.9"}, {"rs2", "10.0.0.20"}} {
		h := l.Host(host[0], lan, host[1]+"/24")
		m := boot(t, l, h)
		m.write("root/lvsd.deb", string(deb))
		machines[h.Name] = m
		fmt.Fprintf(&reach, "%s) set -- ip netns exec %s nsenter -t %s -m -p -u -i -C -r -w sh -c \"$*\" ;;\n", host[1], h.Namespace(), m.pid)
		if strings.HasPrefix(h.Name, "rs") {
			lab.ServeHTTP(h, ":80", h.Name)
		}
	}
	// In place of ssh, what runs a command on a machine: options, then the host.
	ssh := l.WriteFile("ssh", `#!/bin/sh
while :; do
	case $1 in
	-o | -l | -p | -i) shift 2 ;;
	-*) shift ;;
	*) break ;;
	esac
done
host=$1
shift
case $host in
`+reach.String()+`*) exit 255 ;;
esac
exec "$@"
`)
	if err := os.Chmod(ssh, 0o755); err != nil {
		t.Fatal(err)
	}
	play := func(more ...string) string {
		t.Helper()
		// Python starts slowly where system calls are: what it did so far is worth reading.
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, "ansible-playbook", append([]string{"-i", "inventory.ini", "site.yml", "-e", "lvsd_package=/root/lvsd.deb"}, more...)...)
		c.Dir = lvsdtest.RepositoryFile(t, "docs/examples/ansible")
		c.Env = append(os.Environ(), "HOME="+l.Path(), "ANSIBLE_SSH_EXECUTABLE="+ssh, "ANSIBLE_SSH_TRANSFER_METHOD=piped", "ANSIBLE_PIPELINING=1", "ANSIBLE_GATHERING=explicit",
			"ANSIBLE_REMOTE_USER=root", "ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3", "ANSIBLE_NOCOLOR=1", "ANSIBLE_LOCALHOST_WARNING=0", "ANSIBLE_TIMEOUT=120", "LC_ALL=C.UTF-8")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("ansible-playbook %q: %v\n%s", more, err, out)
		}
		return string(out)
	}
	t.Log(play())
	for _, name := range []string{"lb1", "lb2"} {
		m := machines[name]
		l.WaitUntil(120*time.Second, name+" to serve", func() bool {
			return m.property("UnitFileState") == "enabled" && strings.Contains(m.property("StatusText"), ", 1 service up")
		})
	}
	l.WaitUntil(60*time.Second, "both servers to answer on the service's address", func() bool {
		seen := map[string]bool{}
		for range 8 {
			if _, body, err := client.Get("http://" + lvsdtest.GuideVIP + "/"); err == nil {
				seen[strings.TrimSpace(body)] = true
			}
		}
		return len(seen) == 2
	})
	if out := play(); regexp.MustCompile(`changed=[1-9]`).MatchString(out) {
		t.Errorf("a second run changes something:\n%s", out)
	}
	out := play("-e", "lvsd_weight=3", "--limit", "directors")
	if strings.Count(out, "Reload lvsd") != 2 {
		t.Errorf("not both directors are reloaded:\n%s", out)
	}
	for _, name := range []string{"lb1", "lb2"} {
		if table := machines[name].MustRun("ipvsadm", "-S", "-n"); strings.Count(table, "-w 3") != 2 {
			t.Errorf("the table of %s:\n%s", name, table)
		}
	}
}
