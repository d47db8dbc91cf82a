// This file has lvsd watch. It polls the daemon, draws the page on the terminal's
// alternate screen, and restores the terminal at its end.

package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/table"
	"lvsd/cmd/internal/event"
)

func watchCommand(o *options) *cobra.Command {
	var socket string
	w := watcher{in: os.Stdin, out: os.Stdout}
	cmd := &cobra.Command{
		Use:   "watch [SERVICE]...",
		Short: "Show the status, live",
		Long: "Shows what lvsd status shows, and draws it again every second. Keys: q ends;\nthe arrows, page up and down move; u shows only what does not serve with its full\n" +
			"weight, a shows all, s changes the order.",
		Args: func(cmd *cobra.Command, args []string) error {
			if w.every < 100*time.Millisecond {
				return errors.New("--interval must be at least 100ms")
			}
			return w.wanted.check(cmd, args)
		},
		RunE: works(func(cmd *cobra.Command, args []string) error {
			w.client = o.client(socket)
			w.wanted.services = append(w.wanted.services, args...)
			return w.run(cmd.Context())
		}),
	}
	cmd.Flags().DurationVar(&w.every, "interval", time.Second, "how often the daemon is asked")
	w.wanted.flags(cmd)
	socketFlag(cmd, &socket)
	return cmd
}

// watcher is the state of lvsd watch.
type watcher struct {
	in, out *os.File
	client  *api.Client
	every   time.Duration
	wanted  selection

	status api.Status // received last; its Director is empty before
	events []event.Event
	failed error // why the newest request failed
	top    int   // the first line that is shown
}

// The escape sequences of the start and the end: alternate screen, no cursor, no
// automatic line wrap.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// response is the outcome of a request.
type response struct {
	status api.Status
	events []event.Event
	err    error
}

// run draws until it is ended, and restores the terminal.
func (w *watcher) run(ctx context.Context) error {
	if !term.IsTerminal(int(w.in.Fd())) || !term.IsTerminal(int(w.out.Fd())) {
		return errors.New("lvsd watch needs a terminal: lvsd status prints the same once")
	}
	before, err := term.MakeRaw(int(w.in.Fd()))
	if err != nil {
		return fmt.Errorf("failed to take the terminal: %w", err)
	}
	defer term.Restore(int(w.in.Fd()), before)
	if _, err := w.out.WriteString(enterScreen); err != nil {
		return err
	}
	defer w.out.WriteString(leaveScreen)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys, stop, err := readKeys(w.in)
	if err != nil {
		return err
	}
	defer stop()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	return w.loop(ctx, keys, resized)
}

func (w *watcher) loop(ctx context.Context, keys <-chan string, resized <-chan os.Signal) error {
	answers := make(chan response, 1) // one request at a time
	ask := func(after uint64) { answers <- w.ask(ctx, after) }
	go ask(0)
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		if err := w.draw(); err != nil {
			return fmt.Errorf("failed to write to the terminal: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case key, ok := <-keys:
			if !ok || !w.press(key) {
				return nil
			}
		case <-resized:
		case a := <-answers:
			w.take(a)
			again.Reset(w.every)
		case <-again.C:
			go ask(w.newest())
		}
	}
}

// newest is the ID of the newest event received.
func (w *watcher) newest() uint64 {
	if len(w.events) == 0 {
		return 0
	}
	return w.events[len(w.events)-1].ID
}

// ask requests the status and the events after an ID.
func (w *watcher) ask(ctx context.Context, after uint64) (t response) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	if t.status, t.err = w.client.Status(ctx); t.err == nil {
		t.events, _ = w.client.Events(ctx, api.EventQuery{After: after})
	}
	return t
}

// keptEvents bounds the events in memory.
const keptEvents = 1000

func (w *watcher) take(t response) {
	if w.failed = t.err; t.err != nil {
		return
	}
	w.status = t.status
	w.events = append(w.events, t.events...)
	w.events = slices.Clone(w.events[max(len(w.events)-keptEvents, 0):])
}

// press handles a key, and returns false to end.
func (w *watcher) press(key string) bool {
	_, height, _ := term.GetSize(int(w.out.Fd()))
	page := max(height-2, 1)
	switch key {
	case "q", "Q", "\x03", "\x04": // control C and D
		return false
	case "k", "\x1b[A", "\x1bOA":
		w.top--
	case "j", "\x1b[B", "\x1bOB", "\r":
		w.top++
	case " ", "\x1b[6~":
		w.top += page
	case "b", "\x1b[5~":
		w.top -= page
	case "g", "\x1b[H", "\x1b[1~":
		w.top = 0
	case "G", "\x1b[F", "\x1b[4~":
		w.top = 1 << 30
	case "u":
		w.wanted.unhealthy, w.wanted.all, w.top = !w.wanted.unhealthy, false, 0
	case "a":
		w.wanted.all, w.wanted.unhealthy, w.top = !w.wanted.all, false, 0
	case "s":
		w.wanted.sort = orders[(slices.Index(orders, cmp.Or(w.wanted.sort, orders[0]))+1)%len(orders)]
	}
	return true
}

// draw draws the page.
func (w *watcher) draw() error {
	width, height, err := term.GetSize(int(w.out.Fd()))
	if err != nil || width < 1 || height < 2 {
		width, height = 80, 24
	}
	s := screenOf(w.out)
	s.Width = width
	lines := strings.Split(strings.TrimSuffix(w.text(s), "\n"), "\n")
	room := height - 1
	w.top = max(min(w.top, len(lines)-room), 0)
	shown := lines[w.top:min(w.top+room, len(lines))]
	order := "order: " + cmp.Or(w.wanted.sort, orders[0])
	foot := fmt.Sprintf("q ends  u unhealthy  a all  s %s", order)
	if len(lines) > room {
		foot = fmt.Sprintf("lines %d to %d of %d  %s", w.top+1, w.top+len(shown), len(lines), foot)
	}
	_, err = w.out.WriteString(frame(shown, room, s.Paint(table.Faint, table.Cut(foot, width))))
	return err
}

// text is the whole page.
func (w *watcher) text(s table.Screen) string {
	var out strings.Builder
	if w.failed != nil {
		s.Wrap(&out, "! ", table.Bad, w.failed.Error())
		if w.status.Director != "" {
			s.Wrap(&out, "  ", table.Bad, "what follows is from "+clock(w.status.At, time.Now()))
		}
	}
	if w.status.Director == "" {
		if w.failed == nil {
			out.WriteString("asking the daemon\n")
		}
		return out.String()
	}
	shown := w.status
	note, err := w.wanted.apply(&shown)
	if err != nil {
		s.Wrap(&out, "! ", table.Bad, err.Error())
	}
	out.WriteString(draw(s, page{Status: shown, events: lastOf(w.events, w.wanted.services), note: note}))
	return out.String()
}

// frame is one picture: each line overwrites the previous one, so that nothing
// flickers, with the foot on the last.
func frame(lines []string, room int, foot string) string {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i := range room {
		if i < len(lines) {
			b.WriteString(lines[i])
		}
		b.WriteString("\x1b[K\r\n")
	}
	return b.String() + foot + "\x1b[K"
}

// readKeys returns the keys that are pressed, until stop. The channel closes when the
// terminal is gone.
func readKeys(in *os.File) (<-chan string, func(), error) {
	end, begin, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("failed to make a pipe: %w", err)
	}
	keys, done := make(chan string), make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer close(keys)
		buf := make([]byte, 256)
		for {
			// A read from a terminal cannot be interrupted, a poll can.
			fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}, {Fd: int32(end.Fd()), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
				return
			}
			if fds[1].Revents != 0 {
				return
			}
			if fds[0].Revents == 0 {
				continue
			}
			n, err := unix.Read(int(in.Fd()), buf)
			if n <= 0 || err != nil {
				return
			}
			for _, key := range splitKeys(buf[:n]) {
				select {
				case keys <- key:
				case <-done:
					return
				}
			}
		}
	}()
	return keys, func() {
		close(done)
		begin.Close()
		<-over
		end.Close()
	}, nil
}

// splitKeys splits the input of a terminal into keys: single bytes, and the escape
// sequences of arrows and similar keys.
func splitKeys(b []byte) (keys []string) {
	for len(b) > 0 {
		n := 1
		if len(b) > 2 && b[0] == 0x1b && (b[1] == '[' || b[1] == 'O') {
			n = 2 + bytes.IndexFunc(b[2:], func(r rune) bool { return r >= '@' && r <= '~' }) + 1
			if n == 2 { // incomplete
				n = len(b)
			}
		}
		keys = append(keys, string(b[:n]))
		b = b[n:]
	}
	return keys
}
