package server

import (
	"testing"
	"time"

	"lvsd/cmd/internal/director"
	"lvsd/config"
	"lvsd/vrrp"
)

// A backup that never preempts waits for nothing.
func TestWhoWaits(t *testing.T) {
	for preempt, want := range map[bool]string{true: "waiting for connections", false: ""} {
		v := director.View{Config: &config.Config{Instances: []config.Instance{{Name: "web", Preempt: preempt}}},
			Instances:           []vrrp.Status{{Name: "web", State: vrrp.Backup}},
			InstanceWaitReasons: map[string]string{"web": "waiting for connections"}}
		if got := statusOf(v, "", time.Now()).VRRP[0].WaitReason; got != want {
			t.Errorf("preempt %v: %q", preempt, got)
		}
	}
}
