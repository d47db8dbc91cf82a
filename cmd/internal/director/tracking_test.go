package director

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/checker"
	"lvsd/config"
)

// TestServicesAdjustPriorities covers the loss of a quorum and its return, and a reload
// without tracking.
func TestServicesAdjustPriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withElection(5, "eth0")
		c.Instances[0].TrackServices = []config.TrackedService{{Name: "web", Weight: -60}}
		c.Services[0].RealServers[0].Checks = []config.Check{{CheckSettings: &config.CheckSettings{Type: "http", Interval: 2 * time.Second, Timeout: time.Second}}}
		r := newRig(t, c)
		defer r.stop()
		r.table.read(kernelWith(5))
		if got := r.engine(0).now().PreemptDelay; got != 3*time.Second {
			t.Errorf("preempts after %v: before a round of the checks", got)
		}
		tracked := func(v checker.State) []string {
			r.checker.say(v)
			r.Wake()
			time.Sleep(time.Second)
			synctest.Wait()
			return slices.DeleteFunc(r.take(), func(s string) bool { return s[:4] != "web@" || s == "web@eth0 updated" })
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.take()
		if got := tracked(checker.Up); got != nil {
			t.Errorf("in good health: %q", got)
		}
		if got := tracked(checker.Down); !slices.Equal(got, []string{"web@eth0 service web -60 false"}) {
			t.Errorf("lost: %q", got)
		}
		if got := tracked(checker.Down); got != nil {
			t.Errorf("said again: %q", got)
		}
		if got := tracked(checker.Up); !slices.Equal(got, []string{"web@eth0 service web 0 false"}) {
			t.Errorf("back: %q", got)
		}
		tracked(checker.Down)
		r.next = withElection(5, "eth0")
		if o := r.Reload(t.Context()); o.Refused != nil {
			t.Fatal(o.Refused)
		}
		if got := tracked(checker.Down); !slices.Equal(got, []string{"web@eth0 service web 0 false"}) {
			t.Errorf("no longer tracked: %q", got)
		}
	})
}
