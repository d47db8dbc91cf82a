package persist

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/disk"
)

const (
	// maxDecisionAge is how old a saved decision may be: after a longer time it says nothing about
	// the servers any more.
	maxDecisionAge = 10 * time.Minute
	// saveInterval is how often a changed decision is written; slow writes make it less
	// frequent.
	saveInterval = time.Second
)

func (d *Dir) decisionFile() string { return decisionPath(d.path) }

func decisionPath(dir string) string { return filepath.Join(dir, "decision") }

// LoadDecision reads the last decision of an earlier run; nil where there is none, or it is
// too old or unreadable, which is logged. It never prevents a start.
func (d *Dir) LoadDecision(log *slog.Logger, now time.Time) *decision.Decision {
	return PeekDecision(d.path, log, now)
}

// PeekDecision is LoadDecision for a directory that is not locked by us.
func PeekDecision(dir string, log *slog.Logger, now time.Time) *decision.Decision {
	file := decisionPath(dir)
	text, err := disk.Read(file, recordLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var info fs.FileInfo
	if err == nil {
		info, err = disk.Within(file, func() (fs.FileInfo, error) { return os.Stat(file) })
	}
	if err != nil {
		log.Warn("saved health unreadable: keeping the kernel's weights until the first probes", "reason", err)
		return nil
	}
	age := now.Sub(info.ModTime())
	if age > maxDecisionAge {
		log.Info("saved health expired", "file", file, "age", age.Round(time.Second).String())
		return nil
	}
	plan, err := decision.Restore(text, now)
	if err != nil {
		log.Warn("saved health ignored: keeping the kernel's weights until the first probes", "file", file, "reason", err)
		return nil
	}
	return plan
}

// WriteDecisions writes the decision whenever it changed, until the context ends, and once
// more then. Changes of the last second before a crash may be missing.
func (d *Dir) WriteDecisions(ctx context.Context, log *slog.Logger, decided func() *decision.Decision) error {
	w := writer{dir: d, log: log, decided: decided}
	timer := time.NewTimer(saveInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			w.write()
			return nil
		case <-timer.C:
			timer.Reset(max(saveInterval, 20*w.write()))
		}
	}
}

// writer is one run of WriteDecisions.
type writer struct {
	dir     *Dir
	log     *slog.Logger
	decided func() *decision.Decision
	last    *decision.Decision // that is in the file
	text    [sha256.Size]byte  // the hash of what is in the file; zero: it must be written
}

// write writes a changed decision, and returns how long that took. An unchanged file gets
// the present time: its age is how long no daemon has been running.
func (w *writer) write() time.Duration {
	begin := time.Now()
	w.dir.saving.Store(&begin)
	defer w.dir.saving.Store(nil)
	w.dir.findLost()
	plan := w.decided()
	if plan == nil {
		return 0
	}
	if plan != w.last || w.text == [sha256.Size]byte{} {
		text, err := plan.Save()
		if sum := sha256.Sum256(text); err == nil && sum != w.text {
			if err = disk.ReplaceFile(w.dir.decisionFile(), text, 0o600); err == nil {
				w.text = sum
			}
		}
		if w.report(err); err != nil {
			return time.Since(begin)
		}
		w.last = plan
	}
	if os.Chtimes(w.dir.decisionFile(), begin, begin) != nil {
		w.text = [sha256.Size]byte{} // it was removed: write it again
	}
	return time.Since(begin)
}

// report logs once that the decision cannot be saved, and once that it can again.
func (w *writer) report(err error) {
	if err == nil {
		w.dir.openProblem.Store(nil)
		if w.dir.saveProblem.Swap(nil) != nil {
			w.log.Info("saving health works again")
		}
		return
	}
	text := fmt.Sprintf("health cannot be saved for the next start: %v: make room in state_dir, or make it writable", err)
	if w.dir.saveProblem.Swap(&text) == nil {
		w.log.Error("health cannot be saved for the next start", "reason", err)
	}
}
