// This file has the root command.

package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/observe"
	"lvsd/cmd/internal/cli/operate"
	"lvsd/cmd/internal/cli/setup"
	"lvsd/cmd/internal/configfile"
)

// manPages writes the man pages into a folder. Only a build with the tag man has it.
var manPages func(folder string) error

// Run executes one command line and returns the exit code. The version and commit
// are those that the build has set, if any.
func Run(args []string, version, commit string) int {
	if manPages != nil {
		if err := manPages(args[0]); err != nil {
			fmt.Fprintln(command.Stderr, err)
			return command.Failed
		}
		return command.Done
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	root := rootCommand(&command.Options{Version: version, Commit: commit})
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var code command.ExitCode
	switch {
	case err == nil:
		return command.Done
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, new(command.Failure)):
		fmt.Fprintf(command.Stderr, "lvsd: %v\n", err)
		return command.Failed
	default:
		// Rejected by cobra: an unknown command, flag or argument.
		fmt.Fprintf(command.Stderr, "lvsd: %v\nUsage: %s\nTry: %s --help\n", err, cmd.UseLine(), cmd.CommandPath())
		return command.Usage
	}
}

// daemonGroup is the last group of the help.
const daemonGroup = "Daemon and others"

func rootCommand(o *command.Options) *cobra.Command {
	root := &cobra.Command{
		Use:           "lvsd",
		Short:         "A director for Linux Virtual Server",
		Long:          "lvsd elects the director that holds the virtual addresses (VRRP), checks the\nreal servers and keeps the kernel's IPVS table in line with the configuration and\nthe results of the checks.\n\nStart with `lvsd check` for the file, `lvsd check --host` for the machine, `lvsd run`\nand `lvsd status`; see lvsd(8) and lvsd.toml(5).",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return command.ExitCode(command.Usage)
		},
	}
	version, _ := o.BuildVersion()
	root.Version = version
	root.SetVersionTemplate("lvsd {{.Version}}\n")
	root.PersistentFlags().StringVarP(&o.Path, "config", "c", configfile.DefaultPath, "the configuration `FILE`")
	root.PersistentFlags().StringVar(&o.Director, "director", "", "the `NAME` of this director in the file (default: the host name)")
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Status", observe.Commands(o)},
		{"Operation", operate.Commands(o)},
		{"Set-up", setup.Commands(o)},
		{daemonGroup, []*cobra.Command{runCommand(o), cleanupCommand(o), exportCommand(), versionCommand(o)}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, c := range g.commands {
			c.GroupID = g.title
			root.AddCommand(c)
		}
	}
	root.AddCommand(electionsCommand())
	root.SetHelpCommandGroupID(daemonGroup)
	root.SetCompletionCommandGroupID(daemonGroup)
	complete(root, o)
	return root
}
