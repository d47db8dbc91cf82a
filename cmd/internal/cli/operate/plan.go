// This file has lvsd plan.

package operate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/daemon"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/host"
	"lvsd/cmd/internal/persist"
	"lvsd/cmd/internal/preview"
	"lvsd/config"
	"lvsd/ipvs/netlink"
)

func planCommand(o *command.Options) *cobra.Command {
	var asJSON, byExit bool
	var socket string
	cmd := &cobra.Command{
		Use:     "plan",
		Example: "  lvsd plan\n  lvsd plan -c new.toml --exit-code",
		Short:   "Print what a reload or a start with the file would change",
		Long:    "Prints what a reload of the file would change, service by service: what would be\nadded, changed and removed in the kernel's table, the connections that each change\naffects, what drains first, what happens to VRRP instances and their addresses, and\nwhich checks restart. If no daemon is running, it prints what a start would do. The\nresult is computed by the daemon itself; nothing is changed. It needs the rights of\n`lvsd reload`, without a daemon those of `lvsd run`. Exits 1 if the file would be\nrejected, and with --exit-code 3 if there is a difference.",
		Args:    command.NoArgs,
		RunE: command.AsFailure(func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), planLimit)
			defer cancel()
			p, err := planOf(ctx, o, socket)
			if err != nil {
				return err
			}
			if asJSON {
				err = command.PrintJSON(p)
			} else {
				err = preview.Print(os.Stdout, p, coloured(os.Stdout))
			}
			switch {
			case err != nil:
				return err
			case len(p.Refused) > 0:
				return command.ExitCode(command.Failed)
			case byExit && p.Differs:
				return command.ExitCode(command.Differs)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&byExit, "exit-code", false, "exit 3 if something would change")
	command.SocketFlag(cmd, &socket)
	return cmd
}

const planLimit = time.Minute

// planOf asks the daemon, or computes what a start would do where none is running.
func planOf(ctx context.Context, o *command.Options, socket string) (preview.Preview, error) {
	text, err := o.Text()
	if err != nil {
		return preview.Preview{}, err
	}
	p, err := o.Client(socket).Plan(ctx, o.Path, o.Director, string(text))
	if !errors.Is(err, api.ErrNoDaemon) || socket != "" {
		return p, err
	}
	return planStart(o, text)
}

// planStart returns what a start would do.
func planStart(o *command.Options, text []byte) (preview.Preview, error) {
	name, err := o.DirectorName()
	if err != nil {
		return preview.Preview{}, err
	}
	file, err := config.Parse(o.Path, text)
	var c *config.Config
	if err == nil {
		c, err = file.For(name)
	}
	if err != nil {
		return preview.Refuse(name, o.Path, time.Now(), api.Lines(err)), nil
	}
	owned, held, err := persist.Peek(c.Global.StateDir)
	switch {
	case err != nil:
		return preview.Preview{}, withRemedy(err)
	case held:
		return preview.Preview{}, fmt.Errorf("a running daemon uses state_dir %s but does not reply on %s: name its control socket with --socket", c.Global.StateDir, c.Global.ControlSocket)
	}
	kernel, err := netlink.Open()
	if err != nil {
		return preview.Preview{}, withRemedy(err)
	}
	defer kernel.Close()
	silent := slog.New(slog.DiscardHandler)
	before := persist.PeekDecision(c.Global.StateDir, silent, time.Now())
	dry, err := director.DryRunStart(c, kernel, owned, before, host.ReplyAcceptor{Log: silent})
	if err != nil {
		return preview.Preview{}, withRemedy(err)
	}
	var warnings []string
	for _, w := range file.Warnings {
		warnings = append(warnings, w.Error())
	}
	refused := api.Lines(daemon.Try(c, silent, true))
	for _, line := range api.Lines(daemon.Try(c, silent, false)) {
		if !slices.Contains(refused, line) {
			warnings = append(warnings, "starts in fault: "+line)
		}
	}
	return preview.Build(dry, refused, warnings), nil
}

// withRemedy adds what to do about missing permissions.
func withRemedy(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w (without a daemon to ask, the plan needs root, or CAP_NET_ADMIN and CAP_NET_RAW and access to state_dir)", err)
	}
	return err
}

// coloured reports whether a stream is a terminal with colours
// (https://no-color.org).
func coloured(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
