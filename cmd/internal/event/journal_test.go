package event

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// history is a recorder with its journal in a folder.
type history struct {
	*Recorder
	*Journal
	t    *testing.T
	log  bytes.Buffer
	stop func()
}

// begin starts a run of the daemon, as far as the history is concerned. It is
// used within a bubble.
func begin(t *testing.T, folder string, limit int64) *history {
	h := &history{Recorder: &Recorder{Director: "lb1"}, t: t}
	h.Journal = NewJournal(folder, h.Recorder, slog.New(slog.NewTextHandler(&h.log, nil)))
	h.limit = limit
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Journal.Run(ctx) }()
	h.stop = func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return h
}

// happen records events named from to to.
func (h *history) happen(from, to int) {
	for i := from; i <= to; i++ {
		h.Record(Event{Kind: KindWeight, Service: "web", To: fmt.Sprint(i), Reason: "weight 3 in the file, line 9"})
	}
	synctest.Wait()
}

// names are the files of the folder.
func names(t *testing.T, folder string, q Query) string {
	t.Helper()
	events, err := Read(folder, q)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, e := range events {
		out = append(out, e.To)
		if i > 0 && e.ID <= events[i-1].ID {
			t.Errorf("event %d has the number %d after %d", i, e.ID, events[i-1].ID)
		}
	}
	return strings.Join(out, " ")
}

func TestHistoryOverRestartsAndACrashInALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "made")
		h := begin(t, folder, fileLimit)
		h.happen(1, 3)
		h.stop()
		f, err := os.OpenFile(fileName(folder, 1), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"id":99999999999999,"at":"2026-`); err != nil {
			t.Fatal(err)
		}
		f.Close()
		h = begin(t, folder, fileLimit)
		h.happen(4, 5)
		if got := names(t, folder, Query{}); got != "1 2 3 4 5" {
			t.Errorf("kept %q", got)
		}
		if got := names(t, folder, Query{Limit: 2}); got != "4 5" {
			t.Errorf("the newest two are %q", got)
		}
		h.stop()
		if h.log.Len() > 0 || h.Dropped() > 0 {
			t.Errorf("%d dropped, %s", h.Dropped(), &h.log)
		}
	})
}

// TestHistoryIsBounded writes many times what the files may hold.
func TestHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		const limit, n = 2000, 300
		h := begin(t, folder, limit)
		for i := range n {
			h.happen(i, i)
		}
		h.stop()
		files, _ := filepath.Glob(filepath.Join(folder, "*"))
		total := int64(0)
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		if len(files) != filesLimit || total > filesLimit*limit || total < (filesLimit-1)*limit/2 {
			t.Errorf("%d files with %d bytes: %q", len(files), total, files)
		}
		got := strings.Fields(names(t, folder, Query{}))
		for i, name := range got {
			if want := fmt.Sprint(n - len(got) + i); name != want {
				t.Fatalf("event %d is %s, want %s", i, name, want)
			}
		}
		events, _ := Read(folder, Query{})
		if got := names(t, folder, Query{After: events[len(events)-30].ID}); len(strings.Fields(got)) != 29 {
			t.Errorf("the last 29 are %q", got)
		}
	})
}

// TestDiskThatFails breaks the folder in the ways that a disk does, and repairs
// it: nothing that fits into the queue is lost, and each failure is reported once.
func TestDiskThatFails(t *testing.T) {
	for name, c := range map[string]struct{ harm, repair func(folder string) error }{
		"full": {
			func(folder string) error {
				if err := os.Remove(fileName(folder, 1)); err != nil {
					return err
				}
				return os.Symlink("/dev/full", fileName(folder, 1))
			},
			func(folder string) error { return os.Remove(fileName(folder, 1)) },
		},
		"no folder": {
			func(folder string) error {
				if err := os.RemoveAll(folder); err != nil {
					return err
				}
				return os.WriteFile(folder, nil, 0o600)
			},
			os.Remove,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				folder := filepath.Join(t.TempDir(), "state")
				h := begin(t, folder, fileLimit)
				h.happen(1, 1)
				if err := c.harm(folder); err != nil {
					t.Fatal(err)
				}
				h.happen(2, 2)
				time.Sleep(10 * retryAfter) // of the bubble
				h.happen(3, 3)
				if p := h.Problems(); len(p) != 1 || !strings.Contains(p[0], "state_dir") {
					t.Errorf("problems %q", p)
				}
				if got := len(h.Recent()); got != 3 {
					t.Errorf("%d events in memory, want 3", got)
				}
				if err := c.repair(folder); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * retryAfter)
				synctest.Wait()
				if got := names(t, folder, Query{}); got != "2 3" { // the first went with its file
					t.Errorf("kept %q", got)
				}
				if h.Problems() != nil || h.Dropped() != 0 {
					t.Errorf("afterwards: %q, %d dropped", h.Problems(), h.Dropped())
				}
				h.stop()
				for _, want := range []string{"cannot be written", "written again"} {
					if n := strings.Count(h.log.String(), want); n != 1 {
						t.Errorf("%q is logged %d times:\n%s", want, n, &h.log)
					}
				}
			})
		})
	}
}

// TestRecordingNeverWaits: nothing reads, and every event is stored or counted.
func TestRecordingNeverWaits(t *testing.T) {
	var r Recorder
	j := NewJournal(t.TempDir(), &r, slog.New(slog.DiscardHandler))
	for range room + 10 {
		r.Record(Event{Kind: KindWeight})
	}
	if got := j.Dropped(); got != 10 {
		t.Errorf("%d dropped, want 10", got)
	}
}

// TestStopWithAFullDisk ends at once and counts what is lost.
func TestStopWithAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		if err := os.Symlink("/dev/full", fileName(folder, 1)); err != nil {
			t.Fatal(err)
		}
		h := begin(t, folder, fileLimit)
		h.happen(1, 5)
		h.stop()
		if h.Dropped() != 5 {
			t.Errorf("%d dropped, want 5", h.Dropped())
		}
	})
}

// TestFileTakenAway: another process cleans up the folder while the daemon runs.
func TestFileTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		h := begin(t, folder, fileLimit)
		h.happen(1, 1)
		if err := os.Remove(fileName(folder, 1)); err != nil {
			t.Fatal(err)
		}
		h.happen(2, 2)
		if got := names(t, folder, Query{}); got != "2" {
			t.Errorf("kept %q", got)
		}
		h.stop()
	})
}

// TestHistoryJoinsDiskAndMemory: nothing is missing and nothing twice, whatever
// of it is on disk already.
func TestHistoryJoinsDiskAndMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		h := begin(t, folder, fileLimit)
		h.happen(1, 2)
		h.stop()
		h = begin(t, folder, fileLimit)
		h.happen(3, 4)
		h.stop()
		h.happen(5, 5) // the task has ended: in memory only
		for _, c := range []struct {
			q    Query
			want string
		}{
			{Query{}, "1 2 3 4 5"}, {Query{Limit: 2}, "4 5"}, {Query{After: h.Recent()[1].ID}, "5"},
			{Query{Since: time.Now().Add(-time.Hour)}, "1 2 3 4 5"}, {Query{Since: time.Now().Add(time.Hour)}, ""},
		} {
			events, err := h.History(h.Recent(), c.q)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range events {
				got = append(got, e.To)
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("%+v: %q, want %q", c.q, text, c.want)
			}
		}
	})
}

// FuzzRead: whatever is in the folder, reading ends and returns the valid events.
func FuzzRead(f *testing.F) {
	f.Add([]byte("{"))
	f.Add([]byte("{\"id\":1}\n\x00\x00{\"id\":2}\nnull\n[]\n"))
	f.Add([]byte(`{"id":18446744073709551615,"at":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		folder := t.TempDir()
		sound := []byte("\n{\"id\":7,\"at\":\"2026-01-02T03:04:05Z\",\"kind\":\"weight\"}\n")
		if err := os.WriteFile(fileName(folder, 1), append(text, sound...), 0o600); err != nil {
			t.Fatal(err)
		}
		events, err := Read(folder, Query{})
		if err != nil || len(events) == 0 || events[len(events)-1].ID != 7 {
			t.Errorf("%v, %v", events, err)
		}
	})
}
