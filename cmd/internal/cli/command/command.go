package command

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/configfile"
	"lvsd/cmd/internal/printable"
)

// Exit codes of every command.
const (
	Done   = 0
	Failed = 1
	Usage  = 2
	// Differs is the result of --exit-code: plan found a difference, convert left
	// something out.
	Differs = 3
)

// ExitCode is an error that has been printed already.
type ExitCode int

func (c ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Failure is an error of the work, not of the command line.
type Failure struct{ err error }

// Fail returns an error as a Failure.
func Fail(err error) error { return Failure{err} }

func (f Failure) Error() string { return f.err.Error() }
func (f Failure) Unwrap() error { return f.err }

// UsageError is an error in the command line.
type UsageError struct{ error }

// Misuse returns a UsageError.
func Misuse(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// AsFailure wraps a command's function: its errors are failures, except for a UsageError.
func AsFailure(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd, args)
		if err == nil || errors.As(err, new(ExitCode)) || errors.As(err, new(UsageError)) {
			return err
		}
		return Fail(err)
	}
}

// Options are the flags that every command has, and the build.
type Options struct {
	configfile.Source
	Version, Commit string
}

// Client returns a client of the daemon that runs with this configuration file.
func (o *Options) Client(socket string) *api.Client {
	if socket == "" {
		socket = o.ControlSocket()
	}
	return api.NewClient(socket)
}

// SocketFlag adds --socket, for commands that need the daemon.
func SocketFlag(cmd *cobra.Command, socket *string) {
	cmd.Flags().StringVar(socket, "socket", "", "the daemon's control socket (default: the configuration's)")
}

// BuildVersion returns the version and commit of this binary. A build without the
// Makefile knows its commit from the Go toolchain.
func (o *Options) BuildVersion() (version, commit string) {
	version, commit = cmp.Or(o.Version, "devel"), o.Commit
	if info, ok := debug.ReadBuildInfo(); ok && commit == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return version, cmp.Or(commit, "unknown")
}

// Stdout and Stderr are where commands print. Only the pages that draw on a terminal
// write to it themselves; the parts of which they are made clean the text.
var (
	Stdout = printable.Writer{To: func() io.Writer { return os.Stdout }}
	Stderr = printable.Writer{To: func() io.Writer { return os.Stderr }}
)

// PrintJSON prints indented JSON.
func PrintJSON(v any) error {
	e := json.NewEncoder(Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// PrintLine prints JSON on one line.
func PrintLine(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }
