package packaging_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// tutorial is the page with the machines of its reader.
type tutorial struct {
	*lab.Lab
	t      *testing.T
	blocks lvsdtest.Guide
	client *lab.Host
	lb     [2]*machine
	web    [3]*machine
}

// do runs the commands of a block on a machine, as one shell does.
func (r *tutorial) do(m *machine, block string) string {
	r.t.Helper()
	script, ok := r.blocks["sh "+block]
	if !ok {
		r.t.Fatalf("the tutorial has no block %q", block)
	}
	out, err := m.run("sh", "-ec", "cd /root; "+script)
	if err != nil {
		r.t.Fatalf("%s: %s: %v\n%s", m.Name, script, err, out)
	}
	return out
}

// until runs a block until it succeeds with these texts, as a reader who waits.
func (r *tutorial) until(m *machine, block string, says ...string) {
	r.t.Helper()
	var out string
	defer func() {
		if r.t.Failed() {
			r.t.Logf("%s: the last output of %q:\n%s", m.Name, block, out)
		}
	}()
	r.WaitUntil(90*time.Second, m.Name+": "+block, func() bool {
		var err error
		out, err = m.run("sh", "-ec", r.blocks["sh "+block])
		return (err == nil || says != nil) && lvsdtest.ContainsAll(out, says...)
	})
}

// answers asks n times and returns how often each web server answered; "" is none.
func (r *tutorial) answers(n int) map[string]int {
	seen := map[string]int{}
	for range n {
		status, body, err := r.client.Get("http://" + lvsdtest.GuideVIP + "/")
		if err != nil || status != http.StatusOK {
			body = ""
		}
		seen[strings.TrimSpace(body)]++
	}
	return seen
}

// TestOncallTutorial follows docs/tutorial.md from the package on: on five machines with
// systemd, with the commands of the page alone.
func TestOncallTutorial(t *testing.T) {
	lab.RequireKernel(t)
	r := &tutorial{Lab: lab.New(t), t: t, blocks: lvsdtest.ReadGuide(t, "docs/tutorial.md")}
	// This machine has nginx, and no network to install it from.
	r.blocks["sh web servers"] = lvsdtest.Replace(t, r.blocks["sh web servers"], "apt-get install -y nginx\n", "")
	lan := r.LAN("lan", "10.0.0.0/24")
	r.client = r.Host("client", lan, "10.0.0.2/24")
	deb, err := os.ReadFile(packaged(t, "lvsd_*.deb"))
	if err != nil {
		t.Fatal(err)
	}
	add := func(name, address string) *machine {
		m := boot(t, r.Lab, r.Host(name, lan, address+"/24"))
		m.write("root/lvsd_1_amd64.deb", string(deb))
		r.do(m, "install")
		return m
	}
	r.lb[0], r.lb[1] = add("lb1", "10.0.0.12"), add("lb2", "10.0.0.13")
	for i, address := range []string{"10.0.0.9", "10.0.0.20", "10.0.0.21"} {
		r.web[i] = add([]string{"web1", "web2", "web3"}[i], address)
		r.do(r.web[i], "web servers")
	}
	lb1, lb2 := r.lb[0], r.lb[1]

	// The configuration. There is no sshd: the test copies what scp would.
	lb1.write("etc/lvsd/lvsd.toml", r.blocks["toml"])
	key, copies, _ := strings.Cut(r.blocks["sh lb1"], "scp -p ")
	r.blocks["sh lb1"] = key
	r.do(lb1, "lb1")
	files := strings.Fields(copies)
	if files[len(files)-1] != "root@10.0.0.13:/etc/lvsd/" {
		t.Fatalf("the tutorial copies by %q", copies)
	}
	for _, file := range files[:len(files)-1] {
		text, err := os.ReadFile(lb1.file(file))
		if err != nil {
			t.Fatal(err)
		}
		lb2.write(file, string(text))
		if err := os.Chmod(lb2.file(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(lb2.file("etc/lvsd/lvsd.toml"), 0o644); err != nil {
		t.Fatal(err)
	}

	for _, m := range r.lb {
		r.do(m, "directors")
	}
	for _, m := range r.lb {
		r.until(m, "status")
	}
	r.until(lb1, "status", "web   lb1     master, 200  backup, 100")
	if out, err := r.client.Run(t.Context(), strings.Fields(r.blocks["sh client"])...); err != nil || !strings.Contains(out, "web") {
		t.Errorf("the client: %v\n%s", err, out)
	}
	if seen := r.answers(24); seen["web1"] == 0 || seen["web2"] <= seen["web1"] || seen["web3"] <= seen["web1"] || seen[""] > 0 {
		t.Errorf("the web servers that answered: %v", seen)
	}

	// A server fails, and comes back.
	r.do(r.web[1], "web2")
	r.until(lb1, "failed server", "http refused, 3 of 3")
	for _, m := range r.lb {
		r.until(m, "status", "real server 10.0.0.20:80 is down")
	}
	if seen := r.answers(12); seen["web2"] > 0 || seen[""] > 0 {
		t.Errorf("the web servers that answered without web2: %v", seen)
	}
	r.do(r.web[1], "web2 again")
	r.until(lb1, "status")

	// A drain, half done and done.
	if out := r.do(lb1, "drain on lb1"); !lvsdtest.ContainsAll(out, "drain = true", "lb2 still has weight 5") {
		t.Errorf("the drain says\n%s", out)
	}
	for _, m := range r.lb {
		r.until(m, "status", "another configuration")
	}
	r.do(lb2, "drain on lb2")
	r.until(lb2, "status")
	if seen := r.answers(12); seen["web3"] > 0 || seen[""] > 0 {
		t.Errorf("the web servers that answered without web3: %v", seen)
	}
	r.do(lb1, "drained")
	for _, m := range r.lb {
		r.do(m, "undrain")
	}
	for _, m := range r.lb {
		r.until(m, "status")
	}

	// The addresses move as planned, and back.
	watch := r.client.Start("sh", "-c", r.blocks["sh watch"])
	r.do(lb1, "handover")
	r.until(lb2, "status", "web   lb2 ")
	r.do(lb1, "end")
	r.until(lb1, "status", "web   lb1 ")
	if out := watch.Output(); out != "" {
		t.Errorf("the client noticed a handover:\n%s", out)
	}
	watch.Kill()

	// lb1 loses its network, and comes back.
	lb1.CutCable()
	r.until(lb2, "takeover", "web   lb2 ", "director lb1")
	r.WaitUntil(30*time.Second, "answers through lb2", func() bool { return r.answers(6)[""] == 0 })
	lb1.PlugCable()
	r.until(lb1, "takeover", "web   lb1     master")
}
