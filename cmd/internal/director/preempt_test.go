package director

import (
	"testing"
	"testing/synctest"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/config"
	"lvsd/vrrp"
)

// TestOnlyAReadyDirectorPreempts covers a start, a fault and its end.
func TestOnlyAReadyDirectorPreempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withElection(5, "eth0")
		c.Instances[0].Preempt = true
		r := newRig(t, c)
		defer r.stop()
		engine := r.engine(0)
		preempts := func() bool {
			engine.mu.Lock()
			defer engine.mu.Unlock()
			return engine.config.Preempt
		}
		settle := func() { time.Sleep(time.Second); synctest.Wait() }
		if preempts() || r.waiting() == "" {
			t.Error("ready before the kernel was read")
		}
		r.table.read(kernelWith(5))
		r.Wake()
		settle()
		if preempts() {
			t.Error("ready without a result")
		}
		r.checker.set(checker.Health{State: checker.Up, Checks: []checker.CheckHealth{{Type: probe.TypeConnect, Last: outcome.Result{At: time.Now()}}}})
		settle() // no wake: a probe that changes nothing sends no wake-up
		if !preempts() || r.waiting() != "" {
			t.Errorf("not ready with all checks in: %q", r.waiting())
		}
		engine.setState(vrrp.Fault)
		r.Wake()
		settle()
		if preempts() {
			t.Error("ready in a fault")
		}
		engine.setState(vrrp.Backup)
		r.Wake()
		settle()
		if preempts() {
			t.Error("ready with what was probed before the fault's end")
		}
		r.checker.set(checker.Health{State: checker.Up, Checks: []checker.CheckHealth{{Type: probe.TypeConnect, Last: outcome.Result{At: time.Now()}}}})
		settle()
		if !preempts() {
			t.Error("not ready with all checks in after the fault")
		}
	})
}

// TestAFaultBindsItsOwnInstance: an instance that is in fault for ever keeps no other one from
// preempting, nor the director from being ready for a handover.
func TestAFaultBindsItsOwnInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withElection(5, "eth0")
		c.Instances = append(c.Instances, config.Instance{Name: "mail", Interface: "eth9", VRID: 52, Preempt: true})
		c.Instances[0].Preempt, c.Instances[0].SyncHold, c.IPVS.Sync = true, 30*time.Second, &config.Sync{}
		r := newRig(t, c)
		defer r.stop()
		r.engine(1).setState(vrrp.Fault)
		r.table.read(kernelWith(5))
		// In the bubble's time, which costs none.
		settle := func(after time.Duration) { r.Wake(); time.Sleep(after); synctest.Wait() }
		result := func() {
			r.checker.set(checker.Health{State: checker.Up, Checks: []checker.CheckHealth{{Type: probe.TypeConnect, Last: outcome.Result{At: time.Now()}}}})
			settle(31 * time.Second) // longer than sync_hold
		}
		settle(time.Second)
		result()
		if !r.engine(0).now().Preempt || r.engine(1).now().Preempt || r.waiting() != "" {
			t.Errorf("in a fault of the other: preempts %v, the other %v, waiting %q", r.engine(0).now().Preempt, r.engine(1).now().Preempt, r.waiting())
		}
		r.engine(1).setState(vrrp.Backup)
		settle(time.Second)
		if r.engine(0).now().Preempt || r.engine(1).now().Preempt {
			t.Error("ready with what was probed before the fault's end")
		}
		result()
		if !r.engine(0).now().Preempt || !r.engine(1).now().Preempt || r.waiting() != "" {
			t.Errorf("after the fault: %q", r.waiting())
		}
	})
}

// TestSyncHold: an instance does not preempt before its time is over, another one
// that holds nothing does; without [ipvs.sync] no instance waits.
func TestSyncHold(t *testing.T) {
	for _, synced := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := withElection(5, "eth0")
			c.Instances = append(c.Instances, config.Instance{Name: "mail", Interface: "eth0", VRID: 52, Preempt: true})
			c.Instances[0].Preempt, c.Instances[0].SyncHold = true, time.Minute
			if synced {
				c.IPVS.Sync = &config.Sync{}
			}
			r := newRig(t, c)
			defer r.stop()
			r.table.read(kernelWith(5))
			r.checker.set(checker.Health{State: checker.Up, Checks: []checker.CheckHealth{{Type: probe.TypeConnect, Last: outcome.Result{At: time.Now().Add(time.Second)}}}})
			r.Wake()
			time.Sleep(59 * time.Second)
			synctest.Wait()
			if r.engine(0).now().Preempt == synced || !r.engine(1).now().Preempt {
				t.Errorf("synced %v: preempts %v, and the other %v", synced, r.engine(0).now().Preempt, r.engine(1).now().Preempt)
			}
			if v := r.Snapshot(); (v.InstanceWaitReasons["web"] != "") != synced || v.InstanceWaitReasons["mail"] != "" || (v.WaitReason != "") != synced {
				t.Errorf("synced %v: %q, %q", synced, v.InstanceWaitReasons, v.WaitReason)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if !r.engine(0).now().Preempt || r.Snapshot().WaitReason != "" {
				t.Errorf("synced %v: waits after its time: %q", synced, r.Snapshot().WaitReason)
			}
		})
	}
}
