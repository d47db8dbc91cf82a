package main

// lvsd events: the history of state changes with their causes.

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/event"
)

func eventsCommand(o *options) *cobra.Command {
	var asJSON, follow bool
	var since time.Duration
	var socket string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show the changes of state with their causes",
		Long:  "Shows what changed since the daemon was started (the newest 1,024 changes), with\nthe cause of each. With -f it goes on with what changes now.",
		Args:  cobra.NoArgs,
		RunE: works(func(cmd *cobra.Command, _ []string) error {
			client := o.client(socket)
			from := time.Time{}
			if since > 0 {
				from = time.Now().Add(-since)
			}
			for {
				ctx, cancel := context.WithTimeout(cmd.Context(), statusLimit)
				events, err := client.Events(ctx)
				cancel()
				if err != nil {
					return err
				}
				for _, e := range events {
					if !e.At.After(from) {
						continue
					}
					from = e.At
					if err := printEvent(os.Stdout, e, asJSON); err != nil {
						return err
					}
				}
				if !follow {
					return nil
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(followLook):
				}
			}
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one event a line")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what changes now")
	cmd.Flags().DurationVar(&since, "since", 0, "only what changed in the last `DURATION` (1h)")
	socketFlag(cmd, &socket)
	return cmd
}

// followLook is how often -f looks for news.
const followLook = 500 * time.Millisecond

func printEvent(out io.Writer, e event.Event, asJSON bool) error {
	if asJSON {
		return printLine(out, e)
	}
	var what []string
	for _, s := range []string{e.VRRP, e.Service, e.RealServer} {
		if s != "" {
			what = append(what, s)
		}
	}
	change := e.To
	if e.From != "" {
		change = e.From + " → " + e.To
	}
	_, err := fmt.Fprintf(out, "%s  %-7s %s  %s  %s\n", e.At.Local().Format("2006-01-02 15:04:05.000"), e.Kind, strings.Join(what, " "), change, e.Reason)
	return err
}
