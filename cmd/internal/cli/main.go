// This file has the root command, what all commands share and the exit codes.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/configfile"
	"lvsd/cmd/internal/printable"
)

// Exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	// exitDiffers is the result of plan --exit-code.
	exitDiffers = 3
)

// manPages writes the man pages into a folder. Only a build with the tag man has it.
var manPages func(folder string) error

// Run executes one command line and returns the exit code. The version and commit
// are those that the build has set, if any.
func Run(args []string, version, commit string) int {
	if manPages != nil {
		if err := manPages(args[0]); err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailed
		}
		return exitDone
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	root := rootCommand(&options{version: version, commit: commit})
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var code exitCode
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, new(failure)):
		fmt.Fprintf(stderr, "lvsd: %v\n", err)
		return exitFailed
	default:
		// Rejected by cobra: an unknown command, flag or argument.
		fmt.Fprintf(stderr, "lvsd: %v\nUsage: %s\nTry: %s --help\n", err, cmd.UseLine(), cmd.CommandPath())
		return exitUsage
	}
}

// stdout and stderr are where commands print. Only the pages that draw on a terminal
// write to it themselves; the parts of which they are made clean the text.
var (
	stdout = printable.Writer{To: func() io.Writer { return os.Stdout }}
	stderr = printable.Writer{To: func() io.Writer { return os.Stderr }}
)

// failure is an error of the work, not of the command line.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// exitCode is an error that has been printed already.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// options are the flags that every command has, and the build.
type options struct {
	configfile.Source
	version, commit string
}

// client returns a client of the daemon that runs with this configuration file.
func (o *options) client(socket string) *api.Client {
	if socket == "" {
		socket = o.ControlSocket()
	}
	return api.NewClient(socket)
}

func rootCommand(o *options) *cobra.Command {
	root := &cobra.Command{
		Use:           "lvsd",
		Short:         "A director for Linux Virtual Server",
		Long:          "lvsd elects the director that holds the virtual addresses (VRRP), checks the\nreal servers and keeps the kernel's IPVS table at what the configuration and\nthe checks say.\n\nBegin with `lvsd check` on the file, `lvsd check --host` on the machine, `lvsd run`,\nand `lvsd status`; the pages are lvsd(8) and lvsd.toml(5).",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return exitCode(exitUsage)
		},
	}
	version, _ := o.buildVersion()
	root.Version = version
	root.SetVersionTemplate("lvsd {{.Version}}\n")
	root.PersistentFlags().StringVarP(&o.Path, "config", "c", configfile.DefaultPath, "the configuration `FILE`")
	root.PersistentFlags().StringVar(&o.Director, "director", "", "the `NAME` of this director in the file (default: the host name)")
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"See how it is", []*cobra.Command{statusCommand(o), watchCommand(o), whyCommand(o), eventsCommand(o), probeCommand(o)}},
		{"Change something", []*cobra.Command{planCommand(o), reloadCommand(o), drainCommand(o), undrainCommand(o), weightCommand(o), drainedCommand(o), handoverCommand(o), zeroCommand(o)}},
		{"Set up", []*cobra.Command{checkCommand(o), hostCommand(o), realserverCommand(), convertCommand(), alertsCommand(o), schemaCommand()}},
		{"The daemon, and the rest", []*cobra.Command{runCommand(o), cleanupCommand(o), exportCommand(), versionCommand(o)}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, c := range g.commands {
			c.GroupID = g.title
			root.AddCommand(c)
		}
	}
	root.AddCommand(electionsCommand())
	root.SetHelpCommandGroupID("The daemon, and the rest")
	root.SetCompletionCommandGroupID("The daemon, and the rest")
	complete(root, o)
	return root
}

// asFailure wraps a command's function: its errors are failures, not incorrect usage.
func asFailure(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd, args)
		if err == nil || errors.As(err, new(exitCode)) {
			return err
		}
		return failure{err}
	}
}
