// This file has the journal, which writes every event to disk, one JSON object a
// line, in files bounded in size and number. It works in a task of its own, so that
// recording never waits for a disk. A failed write is retried; new events are dropped
// and counted only when the queue is full.

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

	"lvsd/cmd/internal/disk"
)

const (
	// fileLimit and filesLimit bound the history to 16 MiB, about 50,000 events.
	fileLimit  = 2 << 20
	filesLimit = 8
	// room is the number of events that can wait for the disk.
	room = 8192
	// batchLimit is the number of events of one write.
	batchLimit = 1024
	// retryAfter is the delay before a failed write is tried again.
	retryAfter = time.Second
)

// Journal is the history on disk. Make one with NewJournal and Run it.
type Journal struct {
	folder   string
	log      *slog.Logger
	recorder *Recorder
	follower *Follower
	lost     atomic.Uint64 // taken from the queue and never written
	problem  atomic.Pointer[string]

	reading sync.Mutex // one reader at a time: each has a file's events in memory

	// The rest belongs to the task.
	file  *os.File
	size  int64
	torn  bool // the file may end within a line
	limit int64
}

// NewJournal makes the journal of a recorder, in a folder that may have one. It
// opens nothing: events recorded before Run wait for it.
func NewJournal(folder string, r *Recorder, log *slog.Logger) *Journal {
	j := &Journal{folder: folder, log: log, recorder: r, limit: fileLimit}
	if last, err := Read(folder, Query{Limit: 1}); err == nil && len(last) == 1 {
		r.After(last[0].ID)
	}
	j.follower, _ = r.Follow(room)
	return j
}

// Dropped is the number of events that were never written.
func (j *Journal) Dropped() uint64 { return j.follower.Missed() + j.lost.Load() }

// Problems returns what keeps the history from being written.
func (j *Journal) Problems() []string {
	if p := j.problem.Load(); p != nil {
		return []string{*p}
	}
	return nil
}

// Run writes until the context ends, and then what is still queued, without retrying.
func (j *Journal) Run(ctx context.Context) error {
	defer j.close()
	for {
		select {
		case e := <-j.follower.C:
			j.store(ctx, j.batch(e))
		case <-ctx.Done():
			j.recorder.Unfollow(j.follower)
			for e := range j.follower.C {
				j.store(ctx, j.batch(e))
			}
			return nil
		}
	}
}

// batch is what one write contains.
type batch struct {
	lines  []byte
	events uint64
}

// batch takes an event and those queued behind it.
func (j *Journal) batch(e *Event) (b batch) {
	for {
		line, err := json.Marshal(e)
		if err != nil { // an Event can always be encoded
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

// store writes a batch, retrying until it succeeds. After the end of the context it
// tries once.
func (j *Journal) store(ctx context.Context, b batch) {
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

// failed logs the first failure in a row.
func (j *Journal) failed(err error) {
	text := fmt.Sprintf("the event history cannot be written: %v: make room in state_dir, or make it writable; meanwhile the newest events are kept in memory", err)
	if j.problem.Swap(&text) == nil {
		j.log.Error("the event history cannot be written", "reason", err)
	}
}

func (j *Journal) recovered() {
	if j.problem.Swap(nil) != nil {
		j.log.Info("the event history is written again", "dropped", j.Dropped())
	}
}

// write appends to the newest file, or leaves it unchanged.
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
		// So that a power failure does not lose what led to it. Without the sync the lines
		// are written anyway.
		_ = j.file.Sync()
		return nil
	}
	// A partial batch must not be written twice. If it cannot be removed, the next
	// open finds how the file ends.
	_ = j.file.Truncate(j.size)
	j.close()
	return err
}

// open makes sure that there is a file with room.
func (j *Journal) open(need int) error {
	if j.file != nil && (j.removed() || j.size > 0 && j.size+int64(need) > j.limit) {
		j.close()
	}
	if j.file != nil {
		return nil
	}
	if err := disk.MakeDir(j.folder, 0o700); err != nil {
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
	if j.size, j.torn, err = endOf(file); err != nil {
		file.Close()
		return err
	}
	j.file = file
	for len(numbers) > 0 && numbers[0] <= next-filesLimit {
		// removed at the next open otherwise
		_ = os.Remove(fileName(j.folder, numbers[0]))
		numbers = numbers[1:]
	}
	return nil
}

// removed reports that the file was removed, so that what is written is lost.
func (j *Journal) removed() bool {
	var now unix.Stat_t
	return unix.Fstat(int(j.file.Fd()), &now) != nil || now.Nlink == 0
}

func (j *Journal) close() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}

// endOf returns a file's size, and whether a crash left a partial line at its end.
func endOf(f *os.File) (size int64, torn bool, err error) {
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

// fileName returns the path of a file of the history; higher numbers are newer.
func fileName(folder string, number int) string {
	return filepath.Join(folder, fmt.Sprintf("events-%08d.jsonl", number))
}

// History returns the events on disk and those in memory that are not on disk yet,
// oldest first.
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
		if q.matches(e) {
			kept = append(kept, e)
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return kept[max(0, len(kept)-cmp.Or(q.Limit, len(kept))):], err
}
