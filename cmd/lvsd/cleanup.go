package main

// lvsd cleanup: takes off the addresses that a crashed daemon left on this
// host's interfaces, so that they are not on two directors.

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/connhandover"
	"lvsd/cmd/internal/persist"
)

// cleaned is what a cleaning up did.
type cleaned struct {
	Removed []removedAddress `json:"removed"`
	Rules   int              `json:"rules"`  // of routing, against resets; see cmd/internal/connhandover
	Spared  bool             `json:"spared"` // the daemon is about to be started again
}

type removedAddress struct {
	VRRP      string `json:"vrrp"`
	Interface string `json:"interface"`
	Address   string `json:"address"`
}

func cleanupCommand(o *options) *cobra.Command {
	var asJSON bool
	var folder string
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Take off the addresses that a crashed daemon left behind",
		Long: "Takes off this host's interfaces the virtual addresses that state_dir says a\ncrashed daemon had, so that they are on one director only, and the routes and\nrules that move with them. It refuses while a daemon runs. The kernel's IPVS table is not touched.\n\n" +
			"As ExecStopPost= of a systemd unit it leaves the addresses where they are after a\nfirst crash: the daemon that is started again at once goes on serving them. When\nthat does not come up either, or none is started, they go.",
		Args: cobra.NoArgs,
		RunE: works(func(*cobra.Command, []string) error {
			if folder == "" {
				folder = defaultStateDir
				if c, _, err := o.load(); err == nil {
					folder = c.Global.StateDir
				}
			}
			v, err := cleanUp(folder, restarts(os.Getenv("SERVICE_RESULT")))
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(v)
			}
			v.print()
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&folder, "state-dir", "", "the daemon's `FOLDER` (default: the configuration's state_dir)")
	return cmd
}

// restarts says whether systemd starts the daemon again after it ended this way
// (systemd.exec(5), SERVICE_RESULT, under Restart=always). "success" is a stop
// that was asked for, "timeout" one that had to be enforced.
func restarts(result string) bool {
	return slices.Contains([]string{"exit-code", "signal", "core-dump", "watchdog", "oom-kill"}, result)
}

// cleanUp takes off what the record in the folder names. Once in a row it spares
// it where the daemon is about to be back.
func cleanUp(folder string, spare bool) (v cleaned, err error) {
	v.Removed = []removedAddress{}
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		return v, nil
	}
	dir, err := persist.Open(folder)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	record, err := dir.LoadAddresses()
	if err != nil || len(record.Elections) == 0 {
		return v, err
	}
	if spare && !record.Spared {
		record.Spared, v.Spared = true, true
		return v, dir.SaveAddresses(record)
	}
	v.Removed, err = takeOff(record.Elections)
	var noSweep error
	if v.Rules, noSweep = new(connhandover.Hush).Sweep(); noSweep != nil {
		err = errors.Join(err, noSweep)
	}
	return v, err
}

func (v cleaned) print() {
	switch {
	case v.Spared:
		fmt.Println("addresses stay for the daemon that is started again")
	case len(v.Removed) == 0 && v.Rules == 0:
		fmt.Println("nothing to take off")
	}
	for _, r := range v.Removed {
		fmt.Printf("%s: took %s off %s\n", r.VRRP, r.Address, r.Interface)
	}
	if v.Rules > 0 {
		fmt.Printf("took %d routing rules away that keep unknown connections from being reset\n", v.Rules)
	}
}
