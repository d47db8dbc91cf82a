// No secret of the configuration appears in the log, the status, the events, an HTTP
// response, the output of a command, the list of processes or a file that other users may
// read. (`lvsd probe` is the exception: its purpose is to print what a check sends.)

package operate_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// secrets by where they are configured.
var secrets = map[string]string{
	"key of VRRP":               "c2VjcmV0LW9mLWVsZWN0aW9ucw",
	"key of the pair":           "c2VjcmV0LW9mLXRoZS1wYWly",
	"password of the webhook":   "Wh-P4ssword-4711",
	"path of the webhook":       "Wh-P4th-T0ken-4711",
	"query of the webhook":      "Wh-Qu3ry-T0ken-4711",
	"header of a check":         "B34rer-T0ken-4711",
	"body of a check":           "B0dy-P4ssword-4711",
	"query of a check's path":   "P4th-P4ssword-4711",
	"what a check of tcp sends": "S3nt-P4ssword-4711",
	"what is expected":          "Exp3cted-4711-4711",
	"hash of a user":            "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi",
}

// secretPair returns a running pair with a secret in every key that takes one.
func secretPair(t *testing.T) *lvsdtest.Pair {
	t.Helper()
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	lab.ServeHTTP(p.Real[0], ":80", "rs1")
	for name, key := range map[string]string{"vrrp.key": "key of VRRP", "pair.key": "key of the pair"} {
		p.WritePrivate(name, "1 "+secrets[key]+"\n")
	}
	p.WritePrivate("web.yml", "basic_auth_users:\n  prometheus: "+secrets["hash of a user"]+"\n")
	p.VRRPKeys = fmt.Sprintf("authentication = { type = \"hmac\", key_file = %q }", p.Path("vrrp.key"))
	p.Services = p.WebService(fmt.Sprintf(`[
  { type = "http", interval = "200ms", timeout = "2s", rise = 1, fall = 2, method = "POST", path = "/?key=%s", body = "%s", headers = { Authorization = "Bearer %s" } },
  { type = "tcp", interval = "200ms", timeout = "2s", rise = 1, fall = 2, steps = [{ send = "AUTH %s\r\n", expect_text = "%s" }] },
]`, secrets["query of a check's path"], secrets["body of a check"], secrets["header of a check"], secrets["what a check of tcp sends"], secrets["what is expected"]), 1, 1) +
		fmt.Sprintf("[peers]\nlisten = \":8113\"\nkey_file = %q\n", p.Path("pair.key"))
	p.ConfigFile = p.WritePrivate("lvsd.toml", strings.Replace(p.Config(), "[global]\n", fmt.Sprintf("[global]\nlog_level = \"debug\"\nweb_config_file = %q\nwebhook = \"http://hook:%s@127.0.0.1:9/%s?token=%s\"\n",
		p.Path("web.yml"), secrets["password of the webhook"], secrets["path of the webhook"], secrets["query of the webhook"]), 1))
	for _, d := range p.LB {
		d.StartDaemon()
	}
	p.LB[0].WaitState("master", 30*time.Second)
	return p
}

// TestNoSecretIsDisclosed collects all output of a pair while servers fail, the webhook
// fails, and reloads fail and succeed, and searches it for the secrets.
func TestNoSecretIsDisclosed(t *testing.T) {
	p := secretPair(t)
	d := p.LB[0]
	outputs := map[string]string{}
	command := func(args ...string) {
		out, _ := d.LVSD(append(args, "-c", p.ConfigFile, "--director", d.Name)...) // some fail, with an error message
		outputs["lvsd "+strings.Join(args, " ")] = out
	}
	p.WaitUntil(30*time.Second, "servers to fail, and the webhook", func() bool {
		s, err := d.Status()
		return err == nil && len(s.Services) == 1 && s.Services[0].RealServers[1].Health == "down" && lvsdtest.AnyContains(s.Problems, "webhook")
	})
	text, err := os.ReadFile(p.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(p.ConfigFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := string(text)
	for name, broken := range map[string]string{
		"quote":   strings.Replace(good, "Bearer ", "Bearer \\", 1),
		"header":  strings.Replace(good, "{ Authorization = ", "", 1),
		"webhook": strings.Replace(good, "http://hook", "ftp://hook", 1),
		"hex":     strings.Replace(good, "send = ", "send_hex = ", 1),
		"path":    strings.Replace(good, "path = \"/", "path = \"", 1),
	} {
		if broken == good {
			t.Fatalf("%s: nothing is broken", name)
		}
		write(broken)
		out, err := d.Reload()
		if err == nil {
			t.Errorf("%s: a broken file was accepted", name)
		}
		outputs["reload: "+name] = out
		command("check")
		command("plan", "--socket", d.Socket)
		outputs["status: "+name], _ = d.GetAPI("/api/v1/status")
	}
	write(strings.Replace(strings.Replace(good, "Bearer ", "Bearer x", 1), "/"+secrets["path of the webhook"], "/x"+secrets["path of the webhook"], 1))
	command("plan", "--socket", d.Socket)
	command("plan", "--json", "--socket", d.Socket)
	d.MustReload()
	if err := os.WriteFile(p.Path("web.yml"), []byte("basic_auth_users: "+secrets["hash of a user"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command("check", "--host")
	p.WaitUntil(30*time.Second, "the status to name web.yml", func() bool {
		s, err := d.Status()
		return err == nil && lvsdtest.AnyContains(s.Problems, "web.yml")
	})
	for _, path := range []string{"/api/v1/status", "/api/v1/events?limit=1000", "/api/v1/why?service=web", "/api/v1/charts?service=web", "/metrics"} {
		if outputs[path], err = d.GetAPI(path); err != nil {
			t.Error(err)
		}
	}
	command("status", "--socket", d.Socket)
	command("why", "web", "--socket", d.Socket)
	command("events", "--socket", d.Socket)
	if outputs["the peer's status"], err = p.LB[1].GetAPI("/api/v1/status"); err != nil {
		t.Error(err)
	}
	for _, d := range p.LB {
		for name, text := range processes(t, d) {
			outputs[name] = text
		}
		d.Process.Terminate()
	}
	for _, d := range p.LB {
		p.WaitUntil(30*time.Second, d.Name+" to end", func() bool { return !d.Process.Running() })
		outputs["log of "+d.Name] = d.Process.Output()
	}
	if len(outputs["log of lb1"]) < 2000 || !strings.Contains(outputs["log of lb1"], "DEBUG") || len(outputs["cmdline of lb1's daemon"]) == 0 {
		t.Errorf("too little output: %d bytes of log", len(outputs["log of lb1"]))
	}
	for where, text := range outputs {
		for what, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s shows the %s: …%s…", where, what, text[max(at-80, 0):min(at+40, len(text))])
			}
		}
	}
	checkStateFiles(t, p)
}

// processes returns the command lines and environments of a daemon and its VRRP process.
func processes(t *testing.T, d *lvsdtest.Director) map[string]string {
	t.Helper()
	out := map[string]string{}
	children := d.Children()
	if len(children) == 0 {
		t.Fatalf("%s has no VRRP process", d.Name)
	}
	for i, pid := range append([]int{d.Process.Pid()}, children...) {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil {
				t.Error(err)
			}
			who := "daemon"
			if i > 0 {
				who = "VRRP process"
			}
			out[fmt.Sprintf("%s of %s's %s", file, d.Name, who)] = string(text)
		}
	}
	return out
}

// checkStateFiles fails for a file of state_dir that has a secret and may be read by other
// users. At least one file must have a secret.
func checkStateFiles(t *testing.T, p *lvsdtest.Pair) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(p.Path("lb1.state"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		for what, secret := range secrets {
			if !strings.Contains(string(text), secret) {
				continue
			}
			if found++; info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v and the %s", path, info.Mode(), what)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("no file has a secret: running.toml should")
	}
}
