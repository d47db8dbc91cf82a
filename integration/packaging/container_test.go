package packaging_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestReleaseContainer runs the image of the Containerfile on both directors by the commands
// of docs/guides/service.md: they serve, the host's lvsd reads their status and edits their file,
// when one is stopped the other takes over, and after a kill the address can be removed.
func TestReleaseContainer(t *testing.T) {
	image := lvsdtest.RepositoryFile(t, "bin/image.tar")
	if _, err := os.Stat(image); err != nil {
		t.Fatalf("no image (run make bin/image.tar): %v", err)
	}
	g := lvsdtest.ReadGuide(t, "README.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	for _, addr := range []string{"10.0.0.9", "10.0.0.20", "10.0.0.21"} {
		r := p.AddRealServer(p.Net, addr+"/24")
		lab.Nginx(r, "80", r.Name)
		p.RunGuide(r, g["sh real servers"])
	}
	// Below /run is a file system that knows owners, also in the lab's kernel.
	store, err := os.MkdirTemp("/run", "lvsd-podman")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(store) })
	podman := func(h *lab.Host, args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
		defer cancel()
		return h.Run(ctx, append([]string{"podman", "--root", store + "/root", "--runroot", store + "/run", "--tmpdir", store + "/tmp",
			"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"}, args...)...)
	}
	must := func(h *lab.Host, args ...string) string {
		t.Helper()
		out, err := podman(h, args...)
		if err != nil {
			t.Fatalf("podman %q: %v\n%s", args, err, out)
		}
		return out
	}
	must(p.Client, "load", "-q", "-i", image)
	// Where the lab boots a kernel nothing has mounted the control groups.
	if err := unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH) })

	guide := lvsdtest.ReadGuide(t, "docs/guides/service.md")
	folder := func(d *lvsdtest.Director, name string) string { return p.Path(d.Name + "." + name) }
	// run runs the commands podman of a block of the page, with folders of the director.
	run := func(d *lvsdtest.Director, block string) (outputs []string) {
		t.Helper()
		text := strings.NewReplacer("\\\n", " ", "--name lvsd", "--name "+d.Name, "exec lvsd", "exec "+d.Name, "--hostname=lb1", "--hostname="+d.Name,
			"/etc/lvsd:/etc", folder(d, "etc")+":/etc", "/var/lib/lvsd:/var", folder(d, "state")+":/var", "/run/lvsd:/run", folder(d, "run")+":/run",
		).Replace(guide[block])
		for line := range strings.Lines(text) {
			if words := strings.Fields(line); len(words) > 0 && words[0] == "podman" {
				outputs = append(outputs, must(d.Host, words[1:]...))
			}
		}
		if len(outputs) == 0 {
			t.Fatalf("docs/guides/service.md has no command podman in %q", block)
		}
		return outputs
	}
	for _, d := range p.LB {
		for _, name := range []string{"etc", "state", "run"} {
			if err := os.MkdirAll(folder(d, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		err := errors.Join(os.WriteFile(folder(d, "etc/lvsd.toml"), []byte(g["toml"]), 0o644), os.WriteFile(folder(d, "etc/pair.key"), []byte(lvsdtest.AuthKey), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				out, _ := podman(d.Host, "logs", d.Name)
				t.Logf("log of %s:\n%s", d.Name, out)
			}
			_, _ = podman(d.Host, "rm", "-f", "-t", "0", d.Name)
		})
		if out := run(d, "sh container"); !strings.Contains(out[1], "director "+d.Name) {
			t.Errorf("podman exec: %s", out)
		}
	}
	lb1, lb2 := p.LB[0], p.LB[1]
	// lvsd of the host, which has the folders where the container has them.
	const onHost = `set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
mkdir -p /etc/lvsd /run/lvsd
mount --bind "$0" /etc/lvsd
mount --bind "$1" /run/lvsd
shift
exec "$@"`
	lvsd := func(d *lvsdtest.Director, args ...string) (string, error) {
		return d.Run(t.Context(), append([]string{"unshare", "--mount", "sh", "-c", onHost, folder(d, "etc"), folder(d, "run"), lvsdtest.Binary(t)}, append(args, "--director", d.Name)...)...)
	}
	status := func(d *lvsdtest.Director, want ...string) {
		t.Helper()
		var out string
		defer func() {
			if t.Failed() {
				t.Logf("status of %s:\n%s", d.Name, out)
			}
		}()
		p.WaitUntil(90*time.Second, d.Name+" to have "+strings.Join(want, ", "), func() bool {
			out, _ = lvsd(d, "status", "--all")
			return lvsdtest.ContainsAll(out, want...)
		})
	}
	status(lb1, "master", "10.0.0.21:80")
	status(lb2, "backup")
	answers := func() {
		t.Helper()
		p.WaitUntil(60*time.Second, "all servers to answer on the service's address", func() bool {
			seen := map[string]bool{}
			for range 12 {
				if _, body, err := p.Client.Get("http://" + lvsdtest.GuideVIP + "/"); err == nil {
					seen[body] = true
				}
			}
			return len(seen) == 3
		})
	}
	answers()
	if out := must(lb1.Host, "exec", lb1.Name, "cat", "/proc/mounts"); strings.Contains(out, " /proc/sys proc ro") {
		t.Errorf("/proc/sys is read-only:\n%s", out)
	}
	if out := must(lb1.Host, "exec", lb1.Name, "sh", "-c", "grep CapEff /proc/1/status"); !strings.HasSuffix(strings.TrimSpace(out), "0000000000003000") {
		t.Errorf("its capabilities are not NET_ADMIN and NET_RAW alone: %s", out)
	}
	if out := must(lb1.Host, "logs", lb1.Name); strings.Contains(out, "real-time policy") {
		t.Errorf("no real-time policy:\n%s", out)
	}
	if out, err := lvsd(lb1, "drain", "web", "10.0.0.9:80"); err != nil || !strings.Contains(out, "reloaded") {
		t.Errorf("lvsd drain of the host: %v\n%s", err, out)
	}
	must(lb1.Host, "stop", lb1.Name)
	if out := must(lb1.Host, "inspect", "-f", "{{.State.ExitCode}}", lb1.Name); strings.TrimSpace(out) != "0" {
		t.Errorf("a stop ends with exit code %s", out)
	}
	status(lb2, "master")
	answers()

	must(lb2.Host, "kill", lb2.Name)
	must(lb2.Host, "wait", lb2.Name)
	if !lb2.Holds(lvsdtest.GuideVIP) {
		t.Error("a killed container leaves no address to clean up")
	}
	run(lb2, "sh container cleanup")
	if lb2.Holds(lvsdtest.GuideVIP) {
		t.Error("the cleanup leaves the address")
	}
}
