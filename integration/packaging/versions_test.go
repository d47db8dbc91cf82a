package packaging_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// previousProgram returns the path of the lvsd of the release before.
func previousProgram(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if out, err := exec.Command("dpkg-deb", "-x", previousPackage(t), folder).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(folder, "usr/sbin/lvsd")
}

// TestReleaseTwoVersionsInAPair: a director of the release before and one of this release
// are a pair, as master and as backup; each takes the other's place with its state, forward
// and back, and a connection survives all of it.
func TestReleaseTwoVersionsInAPair(t *testing.T) {
	previous := previousProgram(t)
	p := lvsdtest.NewPair(t, 2)
	p.ServeLines()
	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 1)
	p.WriteConfigText(strings.Replace(p.Config()+p.PeerConfig(), "[peers]", "[peers]\nedits = true", 1))
	p.EnableSync()
	lb1, lb2 := p.LB[0], p.LB[1]
	lb1.Program = previous
	p.StartBoth()
	conversation := lab.Converse(p.Client, lvsdtest.VIPPort)
	real := p.Real[1].Addr().String() + ":80"
	arguments := func(d *lvsdtest.Director, args ...string) []string {
		return append(args, "-c", p.ConfigFile, "--director", d.Name, "--socket", d.Socket)
	}
	// works hands over from one to the other and back.
	works := func(what string) {
		t.Helper()
		for _, d := range p.LB {
			d.WaitServing(2)
			d.WaitProblem("another version of lvsd", true)
		}
		for _, command := range [][]string{{"handover"}, {"handover", "--end"}} {
			var out string
			p.WaitUntil(60*time.Second, what+": "+strings.Join(command, " "), func() bool {
				var err error
				out, err = lb1.LVSD(arguments(lb1, command...)...)
				return err == nil
			})
			want := "backup"
			if len(command) > 1 {
				want = "master"
			}
			lb1.WaitState(want, 30*time.Second)
			if err := conversation.Say(10 * time.Second); err != nil {
				t.Fatalf("%s: after %v the connection is gone: %v\n%s", what, command, err, out)
			}
		}
		// Both have one file here; each sees that the other has not read an edit.
		for _, command := range []string{"drain", "undrain"} {
			if out, err := lb1.LVSD(arguments(lb1, command, "web", real)...); err != nil {
				t.Fatalf("%s: %s: %v\n%s", what, command, err, out)
			}
			for _, d := range p.LB {
				d.WaitProblem("another configuration", true)
			}
			lb2.MustReload()
			for _, d := range p.LB {
				d.WaitProblem("another configuration", false)
			}
		}
		for _, d := range p.LB {
			d.WaitWeight(real, 1, 20*time.Second)
		}
	}
	works("the release before is master")
	// lb2 first, as docs/upgrading.md has it.
	for _, step := range []struct {
		what             string
		first, second    string // the programs of lb1 and lb2
		restart, waiting *lvsdtest.Director
	}{
		{"lb1 upgraded", "", "", lb1, lb2},
		{"lb2 downgraded", "", previous, lb2, lb1},
		{"lb1 downgraded", previous, previous, lb1, lb2},
		{"lb2 upgraded", previous, "", lb2, lb1},
	} {
		step.restart.StopDaemon()
		step.waiting.WaitState("master", 30*time.Second)
		lb1.Program, lb2.Program = step.first, step.second
		step.restart.StartDaemon()
		lb1.WaitState("master", 60*time.Second)
		lb2.WaitState("backup", 60*time.Second)
		if step.first != step.second {
			works(step.what)
		}
		if aside, _ := filepath.Glob(p.Path(step.restart.Name+".state", "*.bad")); len(aside) > 0 {
			t.Errorf("%s: it could not read %v", step.what, aside)
		}
	}
	conversation.Close()
}
