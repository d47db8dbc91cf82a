// This file has the lines for the journal of systemd.

package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// isJournal reports whether a file leads to the journal, which systemd says in
// JOURNAL_STREAM by device and inode (systemd.exec(5)). The variable is inherited by
// processes whose output goes elsewhere, so both are compared.
func isJournal(to io.Writer) bool {
	file, ok := to.(*os.File)
	stream := os.Getenv("JOURNAL_STREAM")
	if !ok || stream == "" {
		return false
	}
	var s unix.Stat_t
	return unix.Fstat(int(file.Fd()), &s) == nil && stream == fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}

// journalHandler writes text lines that begin with the priority, such as "<6>"
// (sd-daemon(3)). It has a handler for each of the four levels.
type journalHandler [4]slog.Handler

// The priorities of debug, info, warn and error, in the order of journalHandler.
var priorities = [...]byte{'7', '6', '4', '3'}

func newJournalHandler(w io.Writer, level slog.Leveler) slog.Handler {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{} // the journal has both
		}
		return a
	}}
	var h journalHandler
	for i, p := range priorities {
		h[i] = slog.NewTextHandler(prefixed{w, string([]byte{'<', p, '>'})}, options)
	}
	return h
}

// prefixed writes each line after a prefix, in one write.
type prefixed struct {
	io.Writer
	prefix string
}

func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.Writer.Write(append([]byte(p.prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

func (h journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h[0].Enabled(ctx, level)
}

func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	i := 0
	for i < len(h)-1 && r.Level >= [...]slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError}[i] {
		i++
	}
	return h[i].Handle(ctx, r)
}

func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for i := range h { // h is a copy
		h[i] = h[i].WithAttrs(attrs)
	}
	return h
}

func (h journalHandler) WithGroup(name string) slog.Handler {
	for i := range h {
		h[i] = h[i].WithGroup(name)
	}
	return h
}
