package persist

import (
	"maps"
	"os"
	"strings"
	"testing"
	"time"
)

func TestHoldsAreKept(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if holds, err := d.LoadStandby(); err != nil || len(holds) != 0 {
		t.Fatalf("at first: %v, %v", holds, err)
	}
	since := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	want := map[string]Standby{"web": {Since: since}, "mail": {Since: since, Until: since.Add(time.Hour)}}
	if err := d.SaveStandby(want); err != nil {
		t.Fatal(err)
	}
	if got, err := d.LoadStandby(); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "{", `{"version":2}`} {
		if err := os.WriteFile(d.standby(), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.LoadStandby(); err == nil || !strings.Contains(err.Error(), "kept as") {
			t.Errorf("%q: %v", bad, err)
		}
		if kept, err := os.ReadFile(d.standby() + badSuffix); err != nil || string(kept) != bad {
			t.Errorf("%q kept as %q, %v", bad, kept, err)
		}
		if holds, err := d.LoadStandby(); err != nil || len(holds) != 0 {
			t.Errorf("after %q: %v, %v", bad, holds, err)
		}
	}
}
