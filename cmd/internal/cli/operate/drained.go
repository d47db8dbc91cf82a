// This file has lvsd drained.

package operate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/cli/status"
)

func drainedCommand(o *command.Options) *cobra.Command {
	var asJSON, all bool
	var timeout time.Duration
	var socket string
	cmd := &cobra.Command{
		Use:     "drained SERVICE REAL",
		Example: "  lvsd drain web 10.0.0.20:80 && lvsd drained web 10.0.0.20:80 --timeout 10m",
		Short:   "Wait until a draining real server has no connections left",
		Long: "Waits until a real server of weight 0 has no active connection left and, for udp\nand persistence, no flow and no template; closed connections are waited for with\n--all only. The other directors are queried as well ([peers]): those that would\nstill use the server are named.\n\n" +
			"Exits 0 when the server is drained, 1 if it is not drained within --timeout or is not\ndraining at all.",
		Args: cobra.ExactArgs(2),
		RunE: command.AsFailure(func(cmd *cobra.Command, args []string) error {
			w := drainWait{client: o.Client(socket), service: args[0], real: args[1], all: all, json: asJSON, begun: time.Now()}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return w.wait(cmd.Context(), ctx.Done())
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one line for each change")
	cmd.Flags().BoolVar(&all, "all", false, "also wait for closed TCP connections (the kernel keeps them for up to 2 minutes)")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "give up after `DURATION`")
	command.SocketFlag(cmd, &socket)
	return cmd
}

// drainInterval is the polling interval: no shorter than the daemon's for the kernel's
// counters.
const drainInterval = 1100 * time.Millisecond

// drainWait is a wait for a drain.
type drainWait struct {
	client        *api.Client
	service, real string
	all, json     bool
	begun         time.Time
	last          string // the text printed last
	open          bool   // the line on the terminal is not ended
}

// wait polls until the server is drained or the deadline has passed.
func (w *drainWait) wait(ctx context.Context, late <-chan struct{}) error {
	var d api.Drained
	for seen := false; ; {
		next, err := w.poll(ctx, d)
		unsure := err == nil && next.Drained && !seen
		seen = err == nil && next.Drained
		switch {
		case unsure:
			// The counters may be as old as one interval: a new connection is in the next ones.
			d = next
			select {
			case <-ctx.Done():
			case <-time.After(drainInterval):
			}
			continue
		case errors.Is(err, api.ErrNoDaemon) && w.last != "":
			// The daemon is being restarted: the drain continues in the kernel.
		case err != nil:
			return err
		default:
			d = next
			if err := w.report(d); err != nil || d.Drained {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted: %s", w.last)
		case <-late:
			return w.late()
		case <-time.After(drainInterval):
		}
	}
}

// late is the result of a wait that timed out.
func (w *drainWait) late() error {
	w.end()
	text := fmt.Sprintf("not drained after %v: %s", time.Since(w.begun).Round(time.Second), w.last)
	if strings.Contains(w.last, "flow") || strings.Contains(w.last, "template") {
		text += ` (clients that keep sending keep their udp flows and, with drain_persistent = "keep", their templates; to end them, remove the server from the file)`
	}
	return errors.New(text)
}

func (w *drainWait) poll(ctx context.Context, before api.Drained) (api.Drained, error) {
	ctx, cancel := context.WithTimeout(ctx, status.Timeout)
	defer cancel()
	status, err := w.client.Status(ctx)
	if err != nil {
		return api.Drained{}, err
	}
	w.real = status.ServerAddress(w.service, w.real)
	peers, err := w.client.PeerDrains(ctx, w.service, w.real)
	if err != nil {
		return api.Drained{}, err
	}
	return api.DrainProgress(status, peers, w.service, w.real, w.all, before)
}

// report prints changes: on a terminal on one line, otherwise line by line.
func (w *drainWait) report(d api.Drained) error {
	text := strings.Join(append(append([]string{}, d.WaitReasons...), d.Unknown...), "; ")
	if d.Drained {
		text = strings.Join(append([]string{fmt.Sprintf("drained after %v", time.Since(w.begun).Round(time.Second))}, d.Unknown...), "; ")
	}
	if text == w.last {
		return nil
	}
	first := w.last == ""
	w.last = text
	line := fmt.Sprintf("%s %s: %s", w.service, w.real, text)
	switch {
	case w.json:
		return command.PrintLine(command.Stdout, d)
	case !terminal(os.Stdout):
		_, err := fmt.Fprintln(command.Stdout, line)
		return err
	case !first:
		fmt.Print("\r\x1b[K")
	}
	fmt.Fprint(command.Stdout, line)
	w.open = true
	if d.Drained {
		w.end()
	}
	return nil
}

// end ends the line on a terminal.
func (w *drainWait) end() {
	if w.open {
		fmt.Println()
		w.open = false
	}
}

// terminal reports whether a stream is a terminal.
func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
