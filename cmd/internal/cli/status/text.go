// This file has text that several commands share.

package status

import (
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"lvsd/cmd/internal/cli/table"
	"lvsd/cmd/internal/event"
)

// ScreenOf is the screen of a file: as wide as the terminal, otherwise unlimited.
func ScreenOf(f *os.File) table.Screen {
	if !term.IsTerminal(int(f.Fd())) {
		return table.Screen{}
	}
	s := table.Screen{Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		s.Width = width
	}
	return s
}

// shownEvents is how many of the newest events a status shows.
const shownEvents = 5

// LastOf returns the newest events; of the named services only, if any.
func LastOf(events []event.Event, services []string) []event.Event {
	var last []event.Event
	for i := len(events) - 1; i >= 0 && len(last) < shownEvents; i-- {
		if e := events[i]; len(services) == 0 || e.Service != "" && strings.Contains(" "+strings.Join(services, " ")+" ", " "+e.Service+" ") {
			last = append(last, e)
		}
	}
	return last
}

// Clock is the time of day, with the date when it is not today's.
func Clock(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// Detail is a text after a colon, or empty.
func Detail(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// Subject is the object of an event.
func Subject(e event.Event) string {
	var what []string
	for _, s := range []string{e.Peer, e.VRRP, e.Announce, e.Service, e.RealServer} {
		if s != "" {
			what = append(what, s)
		}
	}
	return strings.Join(what, " ")
}

// Timeout bounds a request for the status.
const Timeout = 10 * time.Second
