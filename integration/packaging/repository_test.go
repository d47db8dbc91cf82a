package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/integration/lvsdtest"
)

// previousPackage returns the path of the Debian package of the release before.
func previousPackage(t *testing.T) string { return packaged(t, "../previous/lvsd_*.deb") }

// repositories makes those of `make repo`, with a key of their own, and returns their
// folder.
func repositories(t *testing.T) string {
	t.Helper()
	// GnuPG's agent listens in it: below /run names are short, and sockets possible.
	home, err := os.MkdirTemp("/run", "lvsd-gpg")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir = lvsdtest.RepositoryFile(t)
		c.Env = append(os.Environ(), "GNUPGHOME="+home, "KEY=lvsd@lab.example", "REPO="+folder)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	t.Cleanup(func() {
		run("gpgconf", "--kill", "all")
		_ = os.RemoveAll(home)
	})
	run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "lvsd <lvsd@lab.example>", "rsa2048", "sign", "1d")
	run("sh", "cmd/lvsd/package/repo.sh")
	return folder
}

// inDebian runs a script in a release of Debian ($0, a tree of files), with the
// repositories ($1) and the package of the release before ($2) in /srv.
const inDebian = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir="$0",upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
mount -t proc proc /mnt/root/proc
mount --rbind /dev /mnt/root/dev
cp -r "$1" /mnt/root/srv/repo
cp "$2" /mnt/root/srv/previous.deb
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive chroot /mnt/root sh -exc "$3"`

// TestReleaseDebian installs from the signed repository on the smallest installation of
// each release of Debian: an upgrade from the release before, a removal, a first
// installation, a purge.
func TestReleaseDebian(t *testing.T) {
	repo, previous := repositories(t), previousPackage(t)
	_ = exec.Command("modprobe", "overlay").Run() // or it is built in
	for release, version := range map[string]string{"bookworm": "12.", "trixie": "13."} {
		t.Run(release, func(t *testing.T) {
			tree := lvsdtest.RepositoryFile(t, "bin/debian", release)
			if _, err := os.Stat(tree); err != nil {
				t.Fatalf("no Debian %s (run make deps-release): %v", release, err)
			}
			out, err := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inDebian, tree, repo, previous, `
grep '^`+version+`' /etc/debian_version
dpkg -i /srv/previous.deb
getent passwd lvsd
before=$(lvsd version | head -n 1)
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d
echo 'deb [signed-by=/srv/repo/lvsd.asc] file:/srv/repo/apt stable main' >/etc/apt/sources.list
apt-get update
apt-get -y upgrade
[ "$before" != "$(lvsd version | head -n 1)" ]
dpkg -V lvsd
for example in lvsd pair; do lvsd check -c /usr/share/doc/lvsd/examples/$example.toml; done
touch /etc/lvsd/lvsd.toml
apt-get -y remove lvsd
[ ! -e /usr/sbin/lvsd ]
apt-get -y --no-install-recommends install lvsd
apt-get -y purge lvsd
[ -e /etc/lvsd/lvsd.toml ]
[ ! -e /usr/share/doc/lvsd ]`).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestReleaseYum installs from the signed repository with dnf, which checks the signatures
// of the repository and of the package.
func TestReleaseYum(t *testing.T) {
	repo, root := repositories(t), t.TempDir()
	dnf := func() (string, error) {
		out, err := exec.Command("dnf", "-y", "--installroot="+root, "--releasever=9", "--disableplugin=*", "--setopt=reposdir="+root+"/repos",
			"--setopt=cachedir="+root+"/cache", "--setopt=module_platform_id=platform:el9", "--setopt=tsflags=noscripts", "install", "lvsd").CombinedOutput()
		return string(out), err
	}
	if err := os.MkdirAll(filepath.Join(root, "repos"), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := "[lvsd]\nname=lvsd\nbaseurl=file://" + repo + "/yum\ngpgkey=file://" + repo + "/lvsd.asc\ngpgcheck=1\nrepo_gpgcheck=1\n"
	if err := os.WriteFile(filepath.Join(root, "repos/lvsd.repo"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	metadata := filepath.Join(repo, "yum/repodata/repomd.xml")
	text, err := os.ReadFile(metadata)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(metadata, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := dnf(); err == nil || !strings.Contains(out, "signature") {
		t.Errorf("a repository that was changed: %v\n%s", err, out)
	}
	if err := os.WriteFile(metadata, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := dnf(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command("rpm", "--root", root, "-V", "lvsd").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := exec.Command(filepath.Join(root, "usr/sbin/lvsd"), "version").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
