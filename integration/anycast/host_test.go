package anycast

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// usualPlaces puts a socket and a configuration where BIRD or FRR have theirs, and runs a
// command. Only that command sees them there: all hosts share the folders of this machine.
const usualPlaces = `
mkdir -p /run/bird /run/frr
for dir in /run/bird /run/frr /etc/bird /etc/frr; do mount -t tmpfs none $dir; done
ln -s "$1" /run/bird/bird.ctl
cp "$2" /etc/bird/bird.conf
ln -s "$3" /run/frr/zebra.vty
cp "$4" /etc/frr/frr.conf
shift 4
exec "$@"
`

// onHost runs a command of lvsd that looks at the host. The daemon's configuration is text.
func (d *director) onHost(text string, args ...string) (string, error) {
	s := d.site
	s.t.Helper()
	none, file := s.WriteFile("none", ""), s.WriteFile("daemon.conf", text)
	places := []string{birdSocket(s, d.Host), file, s.Path("none.vty"), none}
	if s.setting.speaker.name == "frr" {
		places = []string{s.Path("none.ctl"), none, s.vtyDir(d.Host) + "/zebra.vty", file}
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	command := append([]string{"unshare", "--mount", "sh", "-ec", usualPlaces, "sh"}, places...)
	return d.Run(ctx, slices.Concat(command, []string{lvsdtest.Binary(s.t)}, args, []string{"-c", d.config, "--director", d.Name})...)
}

// wantFindings requires that lvsd check --host reports these errors, each once and nothing else.
func (d *director) wantFindings(when, text string, want ...string) {
	t := d.site.t
	t.Helper()
	out, err := d.onHost(text, "check", "--host", "--json")
	var checked struct {
		OK     bool
		Errors []string
	}
	if e := json.Unmarshal([]byte(out), &checked); e != nil {
		t.Fatalf("%s: %v, %v:\n%s", when, err, e, out)
	}
	if checked.OK != (len(want) == 0) || checked.OK != (err == nil) {
		t.Errorf("%s: ok %v, %v", when, checked.OK, err)
	}
	for _, w := range want {
		n := len(checked.Errors)
		checked.Errors = slices.DeleteFunc(checked.Errors, func(e string) bool { return strings.Contains(e, w) })
		if n -= len(checked.Errors); n != 1 {
			t.Errorf("%s: %d errors with %q", when, n, w)
		}
	}
	if len(checked.Errors) > 0 {
		t.Errorf("%s: also %q", when, checked.Errors)
	}
}

// TestAnycastHost: lvsd check --host reports each thing that a director's host lacks, and no
// longer when it is there: the sysctls, which lvsd host prepare sets, the routing daemon, and
// in its configuration what reads the table.
func TestAnycastHost(t *testing.T) {
	for _, with := range []struct {
		speaker
		lacks string // what the configuration for another table lacks
	}{
		{bird, "protocol kernel { ipv4 { import all; export none; }; kernel table 112; learn; }"},
		{frr, "ip import-table 112"},
	} {
		t.Run(with.name, func(t *testing.T) {
			with.require(t)
			_, err := exec.LookPath("unshare")
			lab.Require(t, err)
			s := newHosts(t, setting{speaker: with.speaker})
			d := s.lb[0]
			text := s.daemonConfig("director", "12")
			sysctls := []string{"net.ipv4.conf.all.arp_ignore", "net.ipv4.vs.sloppy_tcp", "net.ipv4.vs.schedule_icmp"}
			var zero []string
			for _, name := range sysctls {
				d.SetSysctl(name, "0")
				zero = append(zero, name+" = 0, must be 1")
			}
			const absent = "routing daemon = not running, must be BIRD or FRR reading table 112"
			d.wantFindings("at first", text, append(zero, absent)...)
			if out, err := d.onHost(text, "host", "prepare"); err == nil || !strings.Contains(out, absent) {
				t.Errorf("host prepare without a daemon: %v\n%s", err, out)
			}
			for _, name := range sysctls {
				if v, err := d.Sysctl(name); v != "1" {
					t.Errorf("%s = %s after host prepare (%v)", name, v, err)
				}
			}
			d.wantFindings("prepared", text, absent)
			d.startSpeaker()
			s.WaitUntil(patience, "the daemon to accept connections", func() bool {
				out, _ := d.onHost(text, "check", "--host")
				return !strings.Contains(out, absent)
			})
			d.wantFindings("with another table", strings.ReplaceAll(text, "112", "113"), "in its configuration: "+with.lacks)
			d.wantFindings("complete", text)
			if out, err := d.onHost(text, "host", "prepare"); err != nil || !strings.Contains(out, "nothing to change") {
				t.Errorf("host prepare of a complete host: %v\n%s", err, out)
			}

			// A daemon that is configured by its socket, which has another place here.
			s.setting.watched = true
			s.write()
			d.wantFindings("with its socket", text)
			d.speaker.Kill()
			<-d.speaker.Done()
			gone := []string{"routing daemon of anycast = "}
			if with.name == "bird" { // of FRR only bgpd ended
				gone = append(gone, absent)
			}
			d.wantFindings("after its end", text, gone...)
		})
	}
}
