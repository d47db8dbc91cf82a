package operate_test

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestEditCommands drains a server by lvsd drain: the file is edited, its connections move
// to the other server, the peer that has not reloaded is named, and lvsd undrain leaves the
// file as it was.
func TestEditCommands(t *testing.T) {
	p := exchangePair(t, 2)
	lb := p.LB[0]
	real := p.Real[1].Addr().String() + ":80"
	before := p.ConfigText()
	run := func(args ...string) string {
		t.Helper()
		out, err := lb.LVSD(append(args, "-c", p.ConfigFile, "--director", lb.Name, "--socket", lb.Socket)...)
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return out
	}
	if out := run("drain", "web", real, "--until", "1h"); !lvsdtest.ContainsAll(out, "+", "drain_until = ", "reloaded", p.LB[1].Name+" still has weight 1 for it") {
		t.Errorf("lvsd drain printed\n%s", out)
	}
	lb.WaitWeight(real, 0, 10*time.Second)
	p.LB[1].MustReload()
	if out := run("undrain", "web", real); !strings.Contains(out, p.LB[1].Name+" still drains it") {
		t.Errorf("lvsd undrain printed\n%s", out)
	}
	lb.WaitWeight(real, 1, 10*time.Second)
	if after := p.ConfigText(); after != before {
		t.Errorf("the file is\n%s\nand was\n%s", after, before)
	}
	// Of edits at the same time none is lost.
	var edits sync.WaitGroup
	for i, r := range p.Real {
		edits.Go(func() {
			args := []string{"weight", "web", r.Addr().String() + ":80", strconv.Itoa(7 + i), "-c", p.ConfigFile, "--director", lb.Name, "--socket", lb.Socket}
			if out, err := lb.LVSD(args...); err != nil {
				t.Errorf("%q: %v\n%s", args, err, out)
			}
		})
	}
	edits.Wait()
	for i, r := range p.Real {
		lb.WaitWeight(r.Addr().String()+":80", 7+i, 10*time.Second)
	}
}

// TestEditCommandsPeers: with [peers] edits, lvsd drain --peers and lvsd undrain --peers
// edit the file of the other director too, which reloads; where its file differs it is left
// alone and named.
func TestEditCommandsPeers(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.ServeLines()
	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 1)
	text := strings.Replace(p.Config()+p.PeerConfig(), "[peers]", "[peers]\nedits = true", 1)
	var files [2]string
	for i, d := range p.LB {
		files[i] = p.WriteFile(d.Name+".toml", text)
		p.ConfigFile = files[i]
		d.StartDaemon()
	}
	lb1, lb2 := p.LB[0], p.LB[1]
	lb1.WaitState("master", 30*time.Second)
	for _, d := range p.LB {
		d.WaitServing(2)
	}
	real := p.Real[1].Addr().String() + ":80"
	content := func(i int) string {
		t.Helper()
		text, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	run := func(want string, args ...string) {
		t.Helper()
		out, err := lb1.LVSD(append(args, "--peers", "-c", files[0], "--director", "lb1", "--socket", lb1.Socket)...)
		if err != nil || !strings.Contains(out, want) {
			t.Fatalf("%q: %v, want %q in\n%s", args, err, want, out)
		}
		t.Log(out)
	}
	run("reloaded", "drain", "web", real)
	for _, d := range p.LB {
		d.WaitWeight(real, 0, 10*time.Second)
	}
	if content(0) == text || content(0) != content(1) {
		t.Errorf("the files are\n%s\nand\n%s", content(0), content(1))
	}
	run("reloaded", "undrain", "web", real)
	for _, d := range p.LB {
		d.WaitWeight(real, 1, 10*time.Second)
	}
	if content(0) != text || content(1) != text {
		t.Errorf("the files are\n%s\nand\n%s\nand were\n%s", content(0), content(1), text)
	}
	other := lvsdtest.Replace(t, text, "weight = 1 }", "weight = 3 }")
	if err := os.WriteFile(files[1], []byte(other), 0o644); err != nil {
		t.Fatal(err)
	}
	p.ConfigFile = files[1]
	lb2.MustReload()
	run("lb2: its file is a different configuration, ", "weight", "web", real, "2")
	lb1.WaitWeight(real, 2, 10*time.Second)
	lb2.WaitWeight(real, 1, 10*time.Second)
	if content(1) != other {
		t.Errorf("the other director's file is\n%s\nand was\n%s", content(1), other)
	}
}
