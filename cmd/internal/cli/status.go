// This file has lvsd status.

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/table"
	"lvsd/cmd/internal/event"
)

func statusCommand(o *options) *cobra.Command {
	var asJSON, connections bool
	var socket string
	var wanted selection
	cmd := &cobra.Command{
		Use:   "status [SERVICE]...",
		Short: "Show both directors, elections, virtual services and real servers",
		Long: "Shows what is wrong, how both directors are, who is master, what changed last,\nand every virtual service and real server with its weight, the reason for it and\n" +
			"its connections; with a SERVICE that one alone. Of many real servers only those\nthat do not serve with their full weight are shown unless --all asks for them.\nExits 1 when something is wrong.\nWith --connections it lists the kernel's connections, of one service or of all.",
		Args: func(cmd *cobra.Command, args []string) error {
			if connections {
				return cobra.MaximumNArgs(1)(cmd, args)
			}
			return wanted.check(cmd, args)
		},
		RunE: works(func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), statusLimit)
			defer cancel()
			client := o.client(socket)
			if connections {
				return showConnections(ctx, client, strings.Join(args, ""), asJSON)
			}
			wanted.services = append(wanted.services, args...)
			return showStatus(ctx, client, wanted, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&connections, "connections", false, "list the kernel's connections instead, of SERVICE or of all")
	wanted.flags(cmd)
	socketFlag(cmd, &socket)
	return cmd
}

const statusLimit = 10 * time.Second

func showStatus(ctx context.Context, client *api.Client, wanted selection, asJSON bool) error {
	s, err := client.Status(ctx)
	if err != nil {
		return err
	}
	note, err := wanted.apply(&s)
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(s)
	} else {
		events, _ := client.Events(ctx, api.EventQuery{}) // the status is shown without events too
		_, err = io.WriteString(os.Stdout, draw(screenOf(os.Stdout), page{Status: s, events: lastOf(events, wanted.services), note: note}))
	}
	if err == nil && !s.Healthy {
		err = exitCode(exitFailed)
	}
	return err
}

// screenOf is the screen of a file: as wide as the terminal, otherwise unlimited.
func screenOf(f *os.File) table.Screen {
	if !term.IsTerminal(int(f.Fd())) {
		return table.Screen{}
	}
	s := table.Screen{Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		s.Width = width
	}
	return s
}

// shownEvents is how many of the newest events a status shows.
const shownEvents = 5

// lastOf returns the newest events; of the named services only, if any.
func lastOf(events []event.Event, services []string) []event.Event {
	var last []event.Event
	for i := len(events) - 1; i >= 0 && len(last) < shownEvents; i-- {
		if e := events[i]; len(services) == 0 || e.Service != "" && strings.Contains(" "+strings.Join(services, " ")+" ", " "+e.Service+" ") {
			last = append(last, e)
		}
	}
	return last
}

// printLine prints JSON on one line.
func printLine(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// clock is the time of day, with the date when it is not today's.
func clock(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// detail is a text after a colon, or empty.
func detail(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// counted is a number with a noun: "1 problem", "2 problems".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
