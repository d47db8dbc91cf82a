package operate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestReleaseMail mails through a real OpenSMTPD: the failure of a server is delivered to a
// mailbox, in one message a director with what followed from it. When the mail server is
// gone, the status names it.
//
// OpenSMTPD has no TLS here: that of Debian 12 cannot do it with OpenSSL 3. The tests of
// cmd/internal/notify have TLS and passwords.
func TestReleaseMail(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	servers := p.ServeLines()
	mail := p.Host("mail", p.Net, "10.77.0.25/24")
	// Below /run is a file system with owners, also in the lab's kernel.
	mailbox, err := os.MkdirTemp("/run", "lvsd-mailbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(mailbox) })
	if err := os.Chmod(mailbox, 0o777); err != nil { // it delivers as another user
		t.Fatal(err)
	}
	conf := p.WriteFile("smtpd.conf", `table everybody { "@" = "nobody" }
listen on eth0 port 25 hostname mail.lab
action "deliver" maildir "/mnt" virtual <everybody>
match from any for domain "mail.lab" action "deliver"
`)
	// It has its queue and its sockets at fixed places.
	smtpd := mail.Start("unshare", "--mount", "sh", "-c", `set -e
mount --bind "$1" /mnt
mount -t tmpfs tmpfs /var/spool
mount -t tmpfs tmpfs /run
mkdir -m 711 /var/spool/smtpd
exec smtpd -d -f "$0"`, conf, mailbox)
	p.Services = p.WebService(lvsdtest.QuickCheck, 1)
	p.WriteConfigText(p.Config() + `
[email]
to = ["oncall@mail.lab"]
from = "lvsd@mail.lab"
server = "10.77.0.25:25"
`)
	p.WaitUntil(30*time.Second, "the mail server", func() bool {
		conn, err := p.Client.Dial(t.Context(), "tcp", "10.77.0.25:25")
		if err != nil {
			if !smtpd.Running() {
				t.Fatalf("the mail server ended:\n%s", smtpd.Output())
			}
			return false
		}
		conn.Close()
		return true
	})
	p.StartBoth()
	for _, d := range p.LB {
		d.WaitServing(1)
	}
	servers[0].Stop()
	real := p.Real[0].Addr().String() + ":80"
	var delivered []string
	defer func() {
		if t.Failed() {
			t.Logf("the mail server:\n%s\ndelivered:\n%s", smtpd.Output(), strings.Join(delivered, "\n----\n"))
		}
	}()
	p.WaitUntil(60*time.Second, "a mail of each director about the server", func() bool {
		delivered = nil
		directors := map[string]bool{}
		files, _ := filepath.Glob(filepath.Join(mailbox, "new", "*"))
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return false
			}
			unfolded := strings.ReplaceAll(string(text), "=\n", "") // of quoted-printable
			delivered = append(delivered, unfolded)
			for _, d := range p.LB {
				if lvsdtest.ContainsAll(unfolded, "To: <oncall@mail.lab>", "From: <lvsd@mail.lab>", d.Name, real, "quorum") {
					directors[d.Name] = true
				}
			}
		}
		return len(directors) == 2
	})
	for _, d := range p.LB {
		if got := d.Metric("lvsd_notify_failures_total"); got != "0" {
			t.Errorf("%s counts %s failures", d.Name, got)
		}
	}
	t.Log(delivered[len(delivered)-1])
	smtpd.Kill()
	<-smtpd.Done()
	servers[0].Start()
	p.LB[0].WaitProblem("10.77.0.25:25", true)
}
