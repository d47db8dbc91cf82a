package persist

// What was decided last, so that a daemon that is started again goes on where the
// one before it ended. It is written by a task of its own; what the last moment
// before a crash decided may be missing, and the kernel's weights hold then.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"lvsd/cmd/internal/decision"
)

const (
	// keptFor is how old what was decided may be: a daemon that was away for
	// longer knows nothing of the servers.
	keptFor = 10 * time.Minute
	// keepEvery is how often it is looked whether there is something to write;
	// a write that takes long makes it seldomer.
	keepEvery = time.Second
)

func (d *Dir) kept() string { return keptPath(d.path) }

func keptPath(dir string) string { return filepath.Join(dir, "decided") }

// LoadDecision reads what was decided before. None, one that is too old, and one
// that cannot be read are no reason not to start; of the latter two the log tells.
func (d *Dir) LoadDecision(log *slog.Logger, now time.Time) *decision.Decision {
	return PeekDecision(d.path, log, now)
}

// PeekDecision is LoadDecision of a directory that need not be ours.
func PeekDecision(dir string, log *slog.Logger, now time.Time) *decision.Decision {
	file := keptPath(dir)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		log.Warn("what was decided before cannot be read: the kernel's weights hold until the first probes", "reason", err)
		return nil
	}
	age := now.Sub(info.ModTime())
	if age > keptFor {
		log.Info("what was decided before is too old", "file", file, "age", age.Round(time.Second).String())
		return nil
	}
	plan, err := decision.Restore(text, now)
	if err != nil {
		log.Warn("what was decided before is left aside: the kernel's weights hold until the first probes", "file", file, "reason", err)
		return nil
	}
	return plan
}

// WriteDecisions writes what was decided, whenever that changed, until the context
// ends, and then once more.
func (d *Dir) WriteDecisions(ctx context.Context, log *slog.Logger, decided func() *decision.Decision) error {
	k := keeper{dir: d, log: log, decided: decided}
	timer := time.NewTimer(keepEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			k.look()
			return nil
		case <-timer.C:
			timer.Reset(max(keepEvery, 20*k.look()))
		}
	}
}

// keeper is one run of KeepDecision.
type keeper struct {
	dir     *Dir
	log     *slog.Logger
	decided func() *decision.Decision
	last    *decision.Decision // that was looked at
	text    []byte             // that is in the file
}

// look writes what is new, and says how long that took. What is old is touched:
// the file's age is how long nobody has been there.
func (k *keeper) look() time.Duration {
	begin := time.Now()
	plan := k.decided()
	if plan == nil {
		return 0
	}
	if plan != k.last || k.text == nil {
		text, err := plan.Save()
		if err == nil && !bytes.Equal(text, k.text) {
			if err = replaceFile(k.dir.kept(), text); err == nil {
				k.text = text
			}
		}
		if k.tell(err); err != nil {
			return time.Since(begin)
		}
		k.last = plan
	}
	if os.Chtimes(k.dir.kept(), begin, begin) != nil {
		k.text = nil // it is gone: write it again
	}
	return time.Since(begin)
}

// tell says once that the decision cannot be kept, and once that it can again.
func (k *keeper) tell(err error) {
	if err == nil {
		if k.dir.unkept.Swap(nil) != nil {
			k.log.Info("what was decided is kept again")
		}
		return
	}
	text := fmt.Sprintf("what was decided cannot be kept for the next start: %v: make room in state_dir, or make it writable", err)
	if k.dir.unkept.Swap(&text) == nil {
		k.log.Error("what was decided cannot be kept for the next start", "reason", err)
	}
}
