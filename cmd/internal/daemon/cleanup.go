// This file removes what a crashed daemon left, for lvsd cleanup.

package daemon

import (
	"errors"
	"os"
	"slices"

	"lvsd/cmd/internal/connhandover"
	"lvsd/cmd/internal/persist"
)

// Cleanup is what a cleanup did.
type Cleanup struct {
	Removed []RemovedAddress `json:"removed"`
	Rules   int              `json:"rules"`  // of routing, against resets; see cmd/internal/connhandover
	Skipped bool             `json:"spared"` // addresses left for the daemon that systemd is about to restart
}

// RemovedAddress is an address that was removed from an interface.
type RemovedAddress struct {
	VRRP      string `json:"vrrp"`
	Interface string `json:"interface"`
	Address   string `json:"address"`
}

// Restarts reports whether systemd starts the daemon again after this result
// (systemd.exec(5), SERVICE_RESULT, under Restart=always). "success" is a requested
// stop, "timeout" one that had to be enforced.
func Restarts(result string) bool {
	return slices.Contains([]string{"exit-code", "signal", "core-dump", "watchdog", "oom-kill"}, result)
}

// CleanUp removes what the record in the folder names. With spare, because the
// daemon is about to be restarted, it leaves everything in place once in a row.
func CleanUp(folder string, spare bool) (v Cleanup, err error) {
	v.Removed = []RemovedAddress{}
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		return v, nil
	}
	dir, err := persist.Open(folder)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	record, err := dir.LoadAddresses()
	if err != nil || len(record.Instances) == 0 {
		return v, err
	}
	if spare && !record.CleanupSkipped {
		record.CleanupSkipped, v.Skipped = true, true
		return v, dir.SaveAddresses(record)
	}
	v.Removed, err = removeAll(record.Instances)
	var sweepErr error
	if v.Rules, sweepErr = new(connhandover.Rules).RemoveStale(); sweepErr != nil {
		err = errors.Join(err, sweepErr)
	}
	return v, err
}
