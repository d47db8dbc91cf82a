// This file has the live status. It polls the daemon, draws the page on the terminal's
// alternate screen, and restores the terminal at its end.

package status

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

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cli/table"
	"lvsd/cmd/internal/event"
)

// Watcher is the state of lvsd watch.
type Watcher struct {
	In, Out *os.File
	Client  *api.Client
	Every   time.Duration
	Wanted  Selection

	status api.Status // received last; its Director is empty before
	events []event.Event
	failed error // why the newest request failed
	top    int   // the first line that is shown
	help   bool  // the keys are shown instead
	typing bool  // the filter is being typed
	filter string
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

// Run draws until it is ended, and restores the terminal.
func (w *Watcher) Run(ctx context.Context) error {
	if !term.IsTerminal(int(w.In.Fd())) || !term.IsTerminal(int(w.Out.Fd())) {
		return errors.New("lvsd watch needs a terminal: lvsd status prints the same once")
	}
	before, err := term.MakeRaw(int(w.In.Fd()))
	if err != nil {
		return fmt.Errorf("failed to set up the terminal: %w", err)
	}
	defer term.Restore(int(w.In.Fd()), before)
	if _, err := w.Out.WriteString(enterScreen); err != nil {
		return err
	}
	defer w.Out.WriteString(leaveScreen)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys, stop, err := readKeys(w.In)
	if err != nil {
		return err
	}
	defer stop()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	return w.loop(ctx, keys, resized)
}

func (w *Watcher) loop(ctx context.Context, keys <-chan string, resized <-chan os.Signal) error {
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
			again.Reset(w.Every)
		case <-again.C:
			go ask(w.newest())
		}
	}
}

// newest is the ID of the newest event received.
func (w *Watcher) newest() uint64 {
	if len(w.events) == 0 {
		return 0
	}
	return w.events[len(w.events)-1].ID
}

// ask requests the status and the events after an ID.
func (w *Watcher) ask(ctx context.Context, after uint64) (t response) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if t.status, t.err = w.Client.Status(ctx); t.err == nil {
		t.events, _ = w.Client.Events(ctx, api.EventQuery{After: after})
	}
	return t
}

// keptEvents bounds the events in memory.
const keptEvents = 1000

func (w *Watcher) take(t response) {
	if w.failed = t.err; t.err != nil {
		return
	}
	w.status = t.status
	w.events = append(w.events, t.events...)
	w.events = slices.Clone(w.events[max(len(w.events)-keptEvents, 0):])
}

// press handles a key, and returns false to end.
func (w *Watcher) press(key string) bool {
	_, height, _ := term.GetSize(int(w.Out.Fd()))
	page := max(height-2, 1)
	switch {
	case w.typing:
		return w.typeFilter(key)
	case w.help:
		w.help = false
		return key != "q" && key != "Q" && key != "\x03" && key != "\x04"
	}
	switch key {
	case "?", "h":
		w.help = true
	case "/":
		w.typing, w.top = true, 0
	case "\x1b":
		w.filter, w.top = "", 0
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
		w.Wanted.unhealthy, w.Wanted.all, w.top = !w.Wanted.unhealthy, false, 0
	case "a":
		w.Wanted.all, w.Wanted.unhealthy, w.top = !w.Wanted.all, false, 0
	case "s":
		w.Wanted.sort = orders[(slices.Index(orders, cmp.Or(w.Wanted.sort, orders[0]))+1)%len(orders)]
	}
	return true
}

// typeFilter handles a key while the filter is typed: enter keeps it, escape removes it.
func (w *Watcher) typeFilter(key string) bool {
	switch {
	case key == "\x03" || key == "\x04":
		return false
	case key == "\r":
		w.typing = false
	case key == "\x1b":
		w.typing, w.filter = false, ""
	case key == "\x7f" || key == "\b":
		w.filter = w.filter[:max(len(w.filter)-1, 0)]
	case len(key) == 1 && key[0] > ' ' && key[0] < 0x7f && len(w.filter) < 64:
		w.filter += key
	}
	return true
}

// keysHelp is shown by the key "?".
const keysHelp = `Keys
  q            quit
  ↑ ↓ j k      move by a line
  space b      move by a page
  g G          to the start, to the end
  /            filter services and real servers by name or address; escape: show all
  u            show only what does not serve with its full weight
  a            show all real servers
  s            change the order
  ?            these keys; any key goes back
`

// filtered keeps the services and real servers that have a text in their name or address.
func filtered(s *api.Status, text string) {
	text = strings.ToLower(text)
	has := func(of string) bool { return strings.Contains(strings.ToLower(of), text) }
	kept := s.Services[:0:0]
	for _, svc := range s.Services {
		if !has(svc.Name) && !has(svc.Address) {
			svc.RealServers = slices.DeleteFunc(slices.Clone(svc.RealServers), func(rs api.RealServerStatus) bool { return !has(rs.Address) })
			if len(svc.RealServers) == 0 {
				continue
			}
		}
		kept = append(kept, svc)
	}
	s.Services = kept
}

// draw draws the page.
func (w *Watcher) draw() error {
	width, height, err := term.GetSize(int(w.Out.Fd()))
	if err != nil || width < 1 || height < 2 {
		width, height = 80, 24
	}
	s := ScreenOf(w.Out)
	s.Width = width
	lines := strings.Split(strings.TrimSuffix(w.text(s), "\n"), "\n")
	room := height - 1
	w.top = max(min(w.top, len(lines)-room), 0)
	shown := lines[w.top:min(w.top+room, len(lines))]
	order := "order: " + cmp.Or(w.Wanted.sort, orders[0])
	foot := fmt.Sprintf("q quit  ? keys  / filter  u unhealthy  a all  s %s", order)
	if w.filter != "" || w.typing {
		foot = "/" + w.filter + "  " + foot
	}
	if w.typing {
		foot = "filter: " + w.filter + "_  enter: apply, escape: show all"
	}
	if len(lines) > room {
		foot = fmt.Sprintf("lines %d to %d of %d  %s", w.top+1, w.top+len(shown), len(lines), foot)
	}
	_, err = w.Out.WriteString(frame(shown, room, s.Paint(table.Faint, table.Cut(foot, width))))
	return err
}

// text is the whole page.
func (w *Watcher) text(s table.Screen) string {
	if w.help {
		return keysHelp
	}
	var out strings.Builder
	if w.failed != nil {
		s.Wrap(&out, "! ", table.Bad, w.failed.Error())
		if w.status.Director != "" {
			s.Wrap(&out, "  ", table.Bad, "showing the state of "+Clock(w.status.At, time.Now()))
		}
	}
	if w.status.Director == "" {
		if w.failed == nil {
			out.WriteString("waiting for the daemon\n")
		}
		return out.String()
	}
	shown := w.status
	if w.filter != "" {
		filtered(&shown, w.filter)
	}
	note, err := w.Wanted.Apply(&shown)
	if err != nil {
		s.Wrap(&out, "! ", table.Bad, err.Error())
	}
	out.WriteString(Draw(s, Page{Status: shown, Events: LastOf(w.events, w.Wanted.Services), Note: note}))
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
