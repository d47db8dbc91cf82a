// This file has lvsd convert.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/ipvsadm"
	"lvsd/cmd/internal/convert/keepalived"
	"lvsd/cmd/internal/convert/ldirectord"
)

// exitPartly is the exit code of --exit-code for an incomplete conversion.
const exitPartly = 3

func convertCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "convert",
		Short: "Turn another tool's configuration into an lvsd.toml",
		Long: "Prints the lvsd.toml that says what a configuration of keepalived or ldirectord,\nor a table saved by ipvsadm, says. What it prints passes lvsd check. Each line that\n" +
			"is not carried over is named with the reason, on stderr and at the top of the\nresult. It exits 0 when there is a result, also when lines were left out; with\n--exit-code it then exits 3. It exits 1 when there is none.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return exitCode(exitUsage)
		},
	}
	cmd.AddCommand(
		converting("keepalived NAME=FILE [NAME=FILE]", "Convert keepalived.conf, of one director or of both",
			"Converts keepalived.conf with the files that it includes. The files of a pair\nbecome one: lvsd convert keepalived lb1=FILE lb2=FILE, with the directors' names,\nwhich are what keepalived's conditions (@lb1 …) are compared with.",
			cobra.RangeArgs(1, 16), func(args []string, w convert.Env) (convert.Result, error) {
				sources, err := sources(args)
				if err != nil {
					return convert.Result{}, err
				}
				return keepalived.Convert(sources, w)
			}),
		converting("ldirectord FILE", "Convert ldirectord.cf",
			"Converts ldirectord.cf. It has no elections: the addresses came from heartbeat or\nPacemaker, and a [[vrrp]] is yours to add.",
			cobra.ExactArgs(1), func(args []string, w convert.Env) (convert.Result, error) {
				return ldirectord.Convert(args[0], w)
			}),
		converting("ipvsadm FILE", "Convert what ipvsadm -S printed",
			"Converts what ipvsadm -S or ipvsadm -S -n printed, or lvsd export ipvsadm. - is\nstdin. A table knows no checks: its servers count as up until you write some.",
			cobra.ExactArgs(1), func(args []string, w convert.Env) (convert.Result, error) {
				return ipvsadm.Convert(args[0], w)
			}),
	)
	return cmd
}

// converting makes the command for one format.
func converting(use, short, long string, args cobra.PositionalArgs, do func([]string, convert.Env) (convert.Result, error)) *cobra.Command {
	var asJSON, strict bool
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := do(args, world(cmd.Context()))
			var usage usageError
			if errors.As(err, &usage) {
				return err
			}
			if err != nil {
				return failure{err}
			}
			if asJSON {
				err = printJSON(r)
			} else {
				err = printConverted(r)
			}
			if err == nil && strict && !r.Complete() {
				err = exitCode(exitPartly)
			}
			if err != nil && !errors.As(err, new(exitCode)) {
				err = failure{err}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: the file's text and the lines that are not in it")
	cmd.Flags().BoolVar(&strict, "exit-code", false, "exit 3 when something is left out or to do")
	return cmd
}

// usageError is an error in the command line.
type usageError struct{ error }

// sources parses NAME=FILE arguments.
func sources(args []string) ([]keepalived.Source, error) {
	var all []keepalived.Source
	for _, a := range args {
		name, file, ok := strings.Cut(a, "=")
		if !ok || name == "" || file == "" {
			return nil, usageError{fmt.Errorf("%q is not NAME=FILE: say which director the file is of, such as lb1=/etc/keepalived/keepalived.conf", a)}
		}
		all = append(all, keepalived.Source{Director: name, File: file})
	}
	return all, nil
}

// printConverted prints the file to stdout, and what could not be converted to stderr.
func printConverted(r convert.Result) error {
	for _, n := range r.Notes {
		if _, err := fmt.Fprintf(os.Stderr, "%s (%s)\n", n, n.Kind); err != nil {
			return err
		}
	}
	_, err := fmt.Print(r.TOML)
	return err
}

// lookupTimeout bounds the resolution of a name.
const lookupTimeout = 5 * time.Second

// world reads files and uses this machine's resolver.
func world(ctx context.Context) convert.Env {
	return convert.Env{
		Read: readSource,
		Glob: filepath.Glob,
		LookupHost: func(name string) ([]netip.Addr, error) {
			ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		},
		LookupPort: func(network, name string) (int, error) {
			ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			return net.DefaultResolver.LookupPort(ctx, network, name)
		},
	}
}

// sourceLimit keeps a wrong file from filling the memory.
const sourceLimit = 16 << 20

// readSource reads a file, or stdin for -.
func readSource(name string) ([]byte, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, fmt.Errorf("failed to read the configuration: %w", err)
		}
		defer f.Close()
	}
	text, err := io.ReadAll(io.LimitReader(f, sourceLimit+1))
	if err != nil {
		return nil, fmt.Errorf("failed to read the configuration: %w", err)
	}
	if len(text) > sourceLimit {
		return nil, fmt.Errorf("%s is larger than %d MiB: it is no configuration", name, sourceLimit>>20)
	}
	return text, nil
}
