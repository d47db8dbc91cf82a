// This file removes what a crashed daemon left, for lvsd cleanup.

package daemon

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"time"

	"lvsd/cmd/internal/announce"
	"lvsd/cmd/internal/connhandover"
	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/persist"
	"lvsd/config"
)

// Cleanup is what a cleanup did.
type Cleanup struct {
	Removed   []RemovedAddress `json:"removed"`
	Withdrawn []string         `json:"withdrawn"` // addresses of announcements
	Rules     int              `json:"rules"`     // of routing, against resets; see cmd/internal/connhandover
	Skipped   bool             `json:"spared"`    // addresses left for the daemon that systemd is about to restart
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
// daemon is about to be restarted, it leaves everything in place once in a row. Where the
// record cannot be read, or the disk could not be written and so the record may be old, it
// removes the addresses of the configuration too; c may be nil.
func CleanUp(folder string, c *config.Config, spare bool) (v Cleanup, err error) {
	v.Removed, v.Withdrawn = []RemovedAddress{}, []string{}
	if _, err := disk.Within(folder, func() (os.FileInfo, error) { return os.Stat(folder) }); errors.Is(err, os.ErrNotExist) {
		return v, nil
	}
	dir, err := persist.Open(folder)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	announced, unknown := sweepRoutes(true)
	all, skipped, unread := leftBehind(dir, c, spare, len(announced) > 0)
	unread = errors.Join(unread, unknown)
	if v.Skipped = skipped; skipped || len(all)+len(announced) == 0 {
		return v, unread
	}
	v.Removed, err = removeAll(all)
	err = errors.Join(err, v.cleanUpRoutes())
	var sweepErr error
	if v.Rules, sweepErr = new(connhandover.Rules).RemoveStale(); sweepErr != nil {
		err = errors.Join(err, sweepErr)
	}
	return v, errors.Join(unread, err)
}

// leftBehind returns what a crashed daemon may have left, by the record and, where that
// cannot be read or may be old, by the configuration. announced: there are routes of
// announcements too. skipped: nothing is to be removed this time.
func leftBehind(dir *persist.Dir, c *config.Config, spare, announced bool) (all []persist.Instance, skipped bool, unread error) {
	record, unread := dir.LoadAddresses()
	if spare && (announced || len(record.Instances) > 0) && !record.CleanupSkipped {
		record.CleanupSkipped = true
		saved := func() (bool, error) { return true, dir.SaveAddresses(record) }
		if ok, err := disk.Within(dir.Path(), saved); ok && err == nil { // else it would be skipped forever
			return nil, true, nil
		}
	}
	if all = record.Instances; c != nil && (unread != nil || !dir.Writable()) {
		all = append(all, instancesOf(c)...)
	}
	return all, false, unread
}

// withdrawDelay is how long a cleanup waits between withdrawing addresses and no longer
// accepting packets to them.
const withdrawDelay = 2 * time.Second

// sweepRoutes removes the routes that a crashed run left, and returns their addresses. With
// dryRun it only returns them.
func sweepRoutes(dryRun bool) ([]netip.Addr, error) {
	k, err := announce.OpenKernel()
	if err != nil {
		return nil, err
	}
	defer k.Close()
	return announce.Sweep(k, dryRun, withdrawDelay)
}

// cleanUpRoutes adds the routes to a cleanup.
func (v *Cleanup) cleanUpRoutes() error {
	addresses, err := sweepRoutes(false)
	for _, a := range addresses {
		v.Withdrawn = append(v.Withdrawn, a.String())
	}
	return err
}
