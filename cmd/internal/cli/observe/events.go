// This file has lvsd events.

package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/status"
	"lvsd/cmd/internal/event"
)

func eventsCommand(o *command.Options) *cobra.Command {
	var asJSON, follow bool
	var since time.Duration
	var socket string
	cmd := &cobra.Command{
		Use:     "events",
		Example: "  lvsd events --since 1h\n  lvsd events -f",
		Short:   "Show the changes of state with their causes",
		Long: "Shows the changes of state with their causes, also from before a restart of the\ndaemon: the newest 1,000, or with --since all of that time that state_dir still has\n" +
			"(16 MiB, some 50,000). With -f it keeps printing new events, also\nacross restarts of the daemon. While the daemon is down, the history is read from\nstate_dir.",
		Args: command.NoArgs,
		RunE: command.AsFailure(func(cmd *cobra.Command, _ []string) error {
			if since < 0 {
				return command.Misuse("--since must be a positive duration, such as 1h")
			}
			ask := asking{client: o.Client(socket), folder: o.StateDir, query: api.EventQuery{Since: since}, json: asJSON}
			if follow {
				return ask.follow(cmd.Context())
			}
			return ask.once(cmd.Context())
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one event a line")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "follow: keep printing new events")
	cmd.Flags().DurationVar(&since, "since", 0, "show only the changes of the last `DURATION`, such as 1h")
	command.SocketFlag(cmd, &socket)
	return cmd
}

// asking is a request for events.
type asking struct {
	client *api.Client
	folder func() string
	query  api.EventQuery
	json   bool
}

// followRetry is the interval in which -f tries to reach the daemon again.
const followRetry = 500 * time.Millisecond

func (a *asking) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, status.Timeout)
	defer cancel()
	events, err := a.client.Events(ctx, a.query)
	if errors.Is(err, api.ErrNoDaemon) {
		events, err = a.fromDisk(err)
	}
	if err != nil {
		return err
	}
	return a.print(events)
}

// fromDisk reads the events from state_dir without a daemon, and says so.
func (a *asking) fromDisk(noDaemon error) ([]event.Event, error) {
	events, err := a.query.History(a.folder())
	if err != nil {
		return nil, fmt.Errorf("%w; and %w", noDaemon, err)
	}
	fmt.Fprintf(command.Stderr, "lvsd: the daemon is not running; showing the history in %s\n", a.folder())
	return events, nil
}

// follow prints new events until it is interrupted, across restarts of the daemon.
func (a *asking) follow(ctx context.Context) error {
	for gone := false; ; gone = true {
		err := a.client.FollowEvents(ctx, a.query, a.one)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, api.ErrNoDaemon):
			return err
		case err != nil && !gone:
			events, err := a.fromDisk(err)
			if err == nil {
				err = a.print(events)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(command.Stderr, "lvsd: waiting for the daemon")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followRetry):
		}
	}
}

func (a *asking) print(events []event.Event) error {
	for _, e := range events {
		if err := a.one(e); err != nil {
			return err
		}
	}
	return nil
}

func (a *asking) one(e event.Event) error {
	a.query.After = e.ID
	return printEvent(command.Stdout, e, a.json)
}

func printEvent(out io.Writer, e event.Event, asJSON bool) error {
	if asJSON {
		return command.PrintLine(out, e)
	}
	change := e.To
	if e.From != "" {
		change = e.From + " → " + e.To
	}
	_, err := fmt.Fprintf(out, "%s  %-8s %s  %s  %s\n", e.At.Local().Format("2006-01-02 15:04:05.000"), e.Kind, status.Subject(e), change, e.Reason)
	return err
}
