// This file has lvsd status.

package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/status"
)

func statusCommand(o *command.Options) *cobra.Command {
	var asJSON, connections, check bool
	var socket string
	var wanted status.Selection
	cmd := &cobra.Command{
		Use:     "status [SERVICE]...",
		Example: "  lvsd status\n  lvsd status web --json\n  lvsd status --check",
		Short:   "Show both directors, VRRP instances, virtual services and real servers",
		Long: "Shows problems, directors, VRRP state, the last changes, and every virtual service\nand real server with its weight, the reason for it and its connections, or only the\nSERVICEs named. With many real servers only those that do not serve with their full\n" +
			"weight are shown; --all shows all. Exits 1 if there is a problem.\n\nWith --check it prints one line as monitoring plugins do and exits 0 OK, 1 WARNING,\n2 CRITICAL or 3 UNKNOWN. With --connections it lists the kernel's connections, of one\nservice or of all.",
		Args: func(cmd *cobra.Command, args []string) error {
			if connections {
				return cobra.MaximumNArgs(1)(cmd, args)
			}
			return wanted.Check(cmd, args)
		},
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), status.Timeout)
			defer cancel()
			client := o.Client(socket)
			if connections {
				return showConnections(ctx, client, strings.Join(args, ""), asJSON)
			}
			wanted.Services = append(wanted.Services, args...)
			if check {
				return checkStatus(ctx, client, wanted.Services)
			}
			return showStatus(ctx, client, wanted, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&connections, "connections", false, "list the kernel's connections instead, of SERVICE or of all")
	cmd.Flags().BoolVar(&check, "check", false, "print one line as a monitoring plugin does, with its exit codes")
	wanted.Flags(cmd)
	command.SocketFlag(cmd, &socket)
	return cmd
}

// checkStatus prints the status as a monitoring plugin.
func checkStatus(ctx context.Context, client *api.Client, services []string) error {
	var line string
	var code int
	s, err := client.Status(ctx)
	if err == nil {
		named := status.Selection{Services: services}
		_, err = named.Apply(&s)
	}
	if err != nil {
		line, code = status.CheckFailure(err, errors.Is(err, api.ErrNoDaemon))
	} else {
		line, code = status.Check(s, services)
	}
	fmt.Fprintln(command.Stdout, line)
	return command.ExitCode(code)
}

func showStatus(ctx context.Context, client *api.Client, wanted status.Selection, asJSON bool) error {
	s, err := client.Status(ctx)
	if err != nil {
		return err
	}
	note, err := wanted.Apply(&s)
	if err != nil {
		return err
	}
	if asJSON {
		err = command.PrintJSON(s)
	} else {
		events, _ := client.Events(ctx, api.EventQuery{}) // the status is shown without events too
		_, err = io.WriteString(os.Stdout, status.Draw(status.ScreenOf(os.Stdout), status.Page{Status: s, Events: status.LastOf(events, wanted.Services), Note: note}))
	}
	if err == nil && !s.Healthy {
		err = command.ExitCode(command.Failed)
	}
	return err
}
