// The journal writes every event to disk, one JSON object a line, in files of a
// bounded size and number. It works in a task of its own: whoever records never
// waits for a disk. A disk that is full or gone ends nothing: what is waiting is
// tried again until there is no more room for what is new, which is then counted.

package event

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// fileLimit and filesLimit bound the history to 16 MiB, some 50,000 events.
	fileLimit  = 2 << 20
	filesLimit = 8
	// room is how many events wait for the disk.
	room = 8192
	// batchLimit is how many are written at once.
	batchLimit = 1024
	// retryAfter is how long a disk that failed is left alone.
	retryAfter = time.Second
)

// Journal is the history on disk. Make one with NewJournal and Run it.
type Journal struct {
	folder   string
	log      *slog.Logger
	recorder *Recorder
	follower *Follower
	lost     atomic.Uint64 // taken out of the queue, and never written
	problem  atomic.Pointer[string]

	reading sync.Mutex // one reader at a time: each holds a file's events in memory

	// What follows is the task's.
	file  *os.File
	size  int64
	torn  bool // the file may end in the middle of a line
	limit int64
}

// NewJournal makes the journal of a recorder, in a folder that may have one. It
// opens nothing; what is recorded before Run waits for it.
func NewJournal(folder string, r *Recorder, log *slog.Logger) *Journal {
	j := &Journal{folder: folder, log: log, recorder: r, limit: fileLimit}
	if last, err := Read(folder, Query{Limit: 1}); err == nil && len(last) == 1 {
		r.After(last[0].ID)
	}
	j.follower, _ = r.Follow(room)
	return j
}

// Dropped counts the events that never came to disk.
func (j *Journal) Dropped() uint64 { return j.follower.Missed() + j.lost.Load() }

// Problems names what keeps the history from being written.
func (j *Journal) Problems() []string {
	if p := j.problem.Load(); p != nil {
		return []string{*p}
	}
	return nil
}

// Run writes until the context ends, and then what is still waiting, as far as
// the disk takes it at once.
func (j *Journal) Run(ctx context.Context) error {
	defer j.close()
	for {
		select {
		case e := <-j.follower.C:
			j.keep(ctx, j.batch(e))
		case <-ctx.Done():
			j.recorder.Unfollow(j.follower)
			for e := range j.follower.C {
				j.keep(ctx, j.batch(e))
			}
			return nil
		}
	}
}

// batch is what is written at once.
type batch struct {
	lines  []byte
	events uint64
}

// batch takes an event and those that wait behind it.
func (j *Journal) batch(e Event) (b batch) {
	for {
		line, err := json.Marshal(e)
		if err != nil { // nothing in an Event can be refused
			panic(err)
		}
		b.lines, b.events = append(append(b.lines, line...), '\n'), b.events+1
		if b.events == batchLimit || len(b.lines) > fileLimit/2 {
			return b
		}
		select {
		case next, ok := <-j.follower.C:
			if !ok {
				return b
			}
			e = next
		default:
			return b
		}
	}
}

// keep writes a batch, as often as it takes. When the context has ended one try
// is all there is.
func (j *Journal) keep(ctx context.Context, b batch) {
	for {
		err := j.write(b.lines)
		if err == nil {
			j.recovered()
			return
		}
		j.failed(err)
		timer := time.NewTimer(retryAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			j.lost.Add(b.events)
			return
		}
	}
}

// failed says once that the disk does not take the history.
func (j *Journal) failed(err error) {
	text := fmt.Sprintf("the history of events cannot be written: %v: make room in state_dir, or make it writable; meanwhile the newest events are in memory", err)
	if j.problem.Swap(&text) == nil {
		j.log.Error("the history of events cannot be written", "reason", err)
	}
}

func (j *Journal) recovered() {
	if j.problem.Swap(nil) != nil {
		j.log.Info("the history of events is written again", "dropped", j.Dropped())
	}
}

// write appends to the newest file, or leaves it as it was.
func (j *Journal) write(lines []byte) error {
	if err := j.open(len(lines)); err != nil {
		return err
	}
	if j.torn {
		lines = append([]byte{'\n'}, lines...)
	}
	_, err := j.file.Write(lines)
	if err == nil {
		j.size, j.torn = j.size+int64(len(lines)), false
		// A power failure must not take what led to it. A disk that cannot
		// promise that has the lines all the same.
		_ = j.file.Sync()
		return nil
	}
	// Half of a batch must not come twice. Where it cannot be taken back, the
	// next opening finds how the file ends.
	_ = j.file.Truncate(j.size)
	j.close()
	return err
}

// open makes sure that there is a file with room.
func (j *Journal) open(need int) error {
	if j.file != nil && (j.gone() || j.size > 0 && j.size+int64(need) > j.limit) {
		j.close()
	}
	if j.file != nil {
		return nil
	}
	if err := os.MkdirAll(j.folder, 0o700); err != nil {
		return err
	}
	numbers, err := fileNumbers(j.folder)
	if err != nil {
		return err
	}
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1]
		if info, err := os.Stat(fileName(j.folder, next)); err == nil && info.Size() > 0 && info.Size()+int64(need) > j.limit {
			next++
		}
	}
	file, err := os.OpenFile(fileName(j.folder, next), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if j.size, j.torn, err = ending(file); err != nil {
		file.Close()
		return err
	}
	j.file = file
	for len(numbers) > 0 && numbers[0] <= next-filesLimit {
		// What cannot be removed now can be later.
		_ = os.Remove(fileName(j.folder, numbers[0]))
		numbers = numbers[1:]
	}
	return nil
}

// gone says that somebody removed the file, so that what is written is lost.
func (j *Journal) gone() bool {
	var now unix.Stat_t
	return unix.Fstat(int(j.file.Fd()), &now) != nil || now.Nlink == 0
}

func (j *Journal) close() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}

// ending is a file's size, and whether a crash left half a line at its end.
func ending(f *os.File) (size int64, torn bool, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, false, err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return 0, false, err
	}
	return info.Size(), last[0] != '\n', nil
}

// fileName is the history's file of a number; a higher one is newer.
func fileName(folder string, number int) string {
	return filepath.Join(folder, fmt.Sprintf("events-%08d.jsonl", number))
}

// History answers what is known: from disk, and what is in memory and not there
// yet, oldest first.
func (j *Journal) History(recent []Event, q Query) ([]Event, error) {
	j.reading.Lock()
	defer j.reading.Unlock()
	held := make(map[uint64]struct{}, len(recent))
	for _, e := range recent {
		held[e.ID] = struct{}{}
	}
	all, err := Read(j.folder, q)
	kept := all[:0]
	for _, e := range all {
		if _, twice := held[e.ID]; !twice {
			kept = append(kept, e)
		}
	}
	for _, e := range recent {
		if q.wants(e) {
			kept = append(kept, e)
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return kept[max(0, len(kept)-cmp.Or(q.Limit, len(kept))):], err
}
