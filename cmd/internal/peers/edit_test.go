package peers

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/config/edit"
)

// TestEdit: a peer makes an edit where its file lets it, and may take longer for it than
// for other requests.
func TestEdit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, two := pairOf(t)
		var got Edit
		two.o.Edit = func(_ context.Context, service, real string, e Edit) Edited {
			time.Sleep(10 * requestTimeout)
			got = e
			return Edited{Hash: "after", Error: strings.Repeat("x", 10*maxText)}
		}
		until := time.Date(2026, 12, 1, 6, 0, 0, 0, time.UTC)
		want := Edit{edit.Change{Do: "drain", Until: until}, "abc"}
		if e, err := one.RequestEdit(t.Context(), "lb2", "web", "10.0.0.9:80", want); err != nil || !strings.Contains(e.Error, "edits is not true") || got.Do != "" {
			t.Errorf("%+v, %v: %+v was made", e, err, got)
		}
		two.config.Exchange.Edits = true
		two.reload()
		e, err := one.RequestEdit(t.Context(), "lb2", "web", "10.0.0.9:80", want)
		if err != nil || e.Hash != "after" || len(e.Error) != maxText || got != want {
			t.Errorf("%+v, %v: %+v was made, want %+v", e, err, got, want)
		}
		if _, err := one.RequestEdit(t.Context(), "lb9", "web", "", want); err == nil {
			t.Error("it asks a director that is not there")
		}
	})
}

// TestNoAnswerInTime: a timeout is reported as such, with the time of the request, also
// where the reader sees the connection closed first.
func TestNoAnswerInTime(t *testing.T) {
	for _, err := range []error{os.ErrDeadlineExceeded, context.DeadlineExceeded, &net.OpError{Op: "read", Err: net.ErrClosed}} {
		if got := explain(err, timeoutOf(wantEdit)).Error(); got != "no reply within 30s" {
			t.Errorf("%v: %s", err, got)
		}
	}
}
