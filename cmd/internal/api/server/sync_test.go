package server

import (
	"testing"
	"time"

	"lvsd/ipvs"
)

// TestForeignSyncDaemons requires that sync daemons which another process started are
// not shown as ours.
func TestForeignSyncDaemons(t *testing.T) {
	for _, owned := range []bool{true, false} {
		v := healthy()
		v.Kernel.Sync.Master = ipvs.SyncDaemon{Running: true, Interface: "eth1", ID: 5}
		v.Kernel.SyncOwned = owned
		if s := statusOf(v, "1", time.Unix(1, 0)).IPVS.Sync; s == nil || s.Foreign == owned {
			t.Errorf("owned %v: %+v", owned, s)
		}
	}
}
