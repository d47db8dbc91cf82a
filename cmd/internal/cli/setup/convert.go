// This file has lvsd convert.

package setup

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/ipvsadm"
	"lvsd/cmd/internal/convert/keepalived"
	"lvsd/cmd/internal/convert/ldirectord"
)

func convertCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "convert",
		Short: "Convert another tool's configuration to lvsd.toml",
		Long: "Prints the lvsd.toml that is equivalent to a configuration of keepalived or\nldirectord, or to a table saved by ipvsadm. The result passes lvsd check. Each line that\n" +
			"is not carried over is listed with the reason, on stderr and at the top of the\nresult. It exits 1 if a whole virtual service or VRRP instance is missing from the\n" +
			"result, unless --allow-losses is given, and if there is no result; otherwise 0. With\n--exit-code it exits 3 if lines were left out.",
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return command.ExitCode(command.Usage)
		},
	}
	cmd.AddCommand(
		converting("keepalived NAME=FILE [NAME=FILE]", "Convert keepalived.conf, of one director or of both",
			"Converts keepalived.conf with the files that it includes. The files of a pair\nare merged: lvsd convert keepalived lb1=FILE lb2=FILE, with the directors' names,\nwhich are compared with keepalived's conditions (@lb1 …).",
			cobra.RangeArgs(1, 16), func(args []string, w convert.Env) (convert.Result, error) {
				sources, err := sources(args)
				if err != nil {
					return convert.Result{}, err
				}
				return keepalived.Convert(sources, w)
			}),
		converting("ldirectord FILE", "Convert ldirectord.cf",
			"Converts ldirectord.cf. It has no VRRP, as the addresses came from heartbeat or\nPacemaker: add the [[vrrp]] yourself.",
			cobra.ExactArgs(1), func(args []string, w convert.Env) (convert.Result, error) {
				return ldirectord.Convert(args[0], w)
			}),
		converting("ipvsadm FILE", "Convert the output of ipvsadm -S",
			"Converts the output of ipvsadm -S, ipvsadm -S -n or lvsd export ipvsadm; - is stdin.\nA table has no checks: its servers are considered up until you add some.",
			cobra.ExactArgs(1), func(args []string, w convert.Env) (convert.Result, error) {
				return ipvsadm.Convert(args[0], w)
			}),
	)
	return cmd
}

// converting makes the command for one format.
func converting(use, short, long string, args cobra.PositionalArgs, do func([]string, convert.Env) (convert.Result, error)) *cobra.Command {
	var asJSON, strict, lossy, diff, check bool
	tool, _, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: args,
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			if check {
				askParser(cmd.Context(), tool, args)
			}
			r, err := do(args, world(cmd.Context()))
			switch {
			case err != nil:
			case asJSON:
				err = command.PrintJSON(r)
			default:
				err = printConverted(r, diff)
			}
			switch {
			case err != nil:
				return err
			case r.Lost() && !lossy:
				return command.ExitCode(command.Failed)
			case strict && !r.Complete():
				return command.ExitCode(command.Differs)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: the resulting file and the lines that are not in it")
	cmd.Flags().BoolVar(&strict, "exit-code", false, "exit 3 if something is left out or to do")
	cmd.Flags().BoolVar(&lossy, "allow-losses", false, "do not exit 1 if a whole virtual service or instance is missing")
	cmd.Flags().BoolVar(&diff, "diff", false, "print each old line beside its result, by service")
	if tool == "keepalived" {
		cmd.Flags().BoolVar(&check, "check", false, "first have keepalived test its files, if it is installed")
	}
	return cmd
}

// parserTimeout bounds the other daemon's own test of its files.
const parserTimeout = 30 * time.Second

// askParser lets keepalived test its files, and prints on stderr what it says. The
// conversion does not depend on it.
func askParser(ctx context.Context, tool string, args []string) {
	program, err := exec.LookPath(tool)
	if err != nil {
		fmt.Fprintf(command.Stderr, "%s is not installed here, so it did not test its files\n", tool)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, parserTimeout)
	defer cancel()
	for _, a := range args {
		name, file, ok := strings.Cut(a, "=")
		if !ok || file == "-" {
			continue // a usage error, or text that keepalived cannot read
		}
		out, err := exec.CommandContext(ctx, program, "--config-test", "--use-file="+file, "--config-id="+name).CombinedOutput()
		outcome := "accepts"
		if err != nil {
			outcome = fmt.Sprintf("objects to (%v)", err)
		}
		fmt.Fprintf(command.Stderr, "%s %s %s for %s\n", program, outcome, file, name)
		for line := range strings.Lines(string(out)) {
			fmt.Fprintf(command.Stderr, "  %s\n", strings.TrimSpace(line))
		}
	}
}

// sources parses NAME=FILE arguments.
func sources(args []string) ([]keepalived.Source, error) {
	var all []keepalived.Source
	for _, a := range args {
		name, file, ok := strings.Cut(a, "=")
		if !ok || name == "" || file == "" {
			return nil, command.Misuse("%q is not NAME=FILE: name the director of the file, such as lb1=/etc/keepalived/keepalived.conf", a)
		}
		all = append(all, keepalived.Source{Director: name, File: file})
	}
	return all, nil
}

// printConverted prints the file, or how it compares with the old one, to stdout, and what
// could not be converted to stderr.
func printConverted(r convert.Result, diff bool) error {
	for _, g := range r.Groups() {
		if _, err := fmt.Fprintf(command.Stderr, "%s: %s\n", g.Kind, g); err != nil {
			return err
		}
	}
	for _, w := range r.Warnings {
		if _, err := fmt.Fprintf(command.Stderr, "warning: %s\n", w); err != nil {
			return err
		}
	}
	text := r.TOML
	if diff {
		text = r.Diff()
	}
	_, err := fmt.Fprint(command.Stdout, text)
	return err
}

// lookupTimeout bounds the resolution of a name.
const lookupTimeout = 5 * time.Second

// world reads files and uses this machine's resolver.
func world(ctx context.Context) convert.Env {
	return convert.Env{
		Read: func(name string) ([]byte, error) { return readSource(ctx, name) },
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

// readSource is readFile until the context ends: stdin and a FIFO can block forever.
func readSource(ctx context.Context, name string) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := readFile(name)
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("interrupted while reading %s", name)
	}
}

// readFile reads a file, or stdin for -.
func readFile(name string) ([]byte, error) {
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
		return nil, fmt.Errorf("%s is larger than %d MiB: not a configuration", name, sourceLimit>>20)
	}
	return text, nil
}
