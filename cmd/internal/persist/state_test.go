package persist

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/ipvs"
)

func TestSecondDaemonIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "when", "missing")
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "another lvsd") {
		t.Fatalf("a second daemon: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	again.Close()
}

func TestLedgerKeepsWhatItWasGiven(t *testing.T) {
	dir, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	ledger := dir.Ledger()
	if owned, err := ledger.Load(); err != nil || len(owned) != 0 {
		t.Fatalf("a new ledger: %v, %v", owned, err)
	}
	want := ipvs.Owned{
		{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort("10.0.0.88:80")}: {
			netip.MustParseAddrPort("10.0.1.1:80"): {}, netip.MustParseAddrPort("10.0.1.2:8080"): {}},
		{Protocol: ipvs.UDP, Address: netip.MustParseAddrPort("[2001:db8::1]:53")}: {},
		{Mark: 7}:             {netip.MustParseAddrPort("10.0.1.1:0"): {}},
		{Mark: 7, IPv6: true}: {},
	}
	want.SetSync(true)
	for range 2 { // the second replaces the first
		if err := ledger.Save(want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := dir.Ledger().Load()
	if err != nil || !got.Equal(want) {
		t.Fatalf("loaded %v, %v, want %v", got, err, want)
	}
	if left, _ := filepath.Glob(filepath.Join(dir.path, "*.new")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// A record from before there were marks has the same meaning.
func TestLedgerOfAnOlderVersion(t *testing.T) {
	dir, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	text := `{"version":1,"services":[{"protocol":6,"address":"10.0.0.88:80","destinations":["10.0.1.1:80"]}]}`
	if err := os.WriteFile(filepath.Join(dir.path, "owned"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := ipvs.Owned{{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort("10.0.0.88:80")}: {netip.MustParseAddrPort("10.0.1.1:80"): {}}}
	if got, err := dir.Ledger().Load(); err != nil || !got.Equal(want) || got.Sync() {
		t.Errorf("%v, %v", got, err)
	}
}

func TestBrokenLedgerIsReportedAndRenamed(t *testing.T) {
	for _, text := range []string{"{", `{"version": 99}`, ""} {
		dir, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		path := filepath.Join(dir.path, "owned")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if dir.Problems() != nil {
			t.Error("a problem before anything was read")
		}
		if _, err := dir.Ledger().Load(); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
		if err := dir.Ledger().Save(ipvs.Owned{}); err != nil { // the daemon continues
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(path + ".bad"); err != nil || string(kept) != text {
			t.Errorf("%q became %q, %v", text, kept, err)
		}
		if got := dir.Problems(); len(got) != 1 || !strings.Contains(got[0], "owned.bad") {
			t.Errorf("problems: %q", got)
		}
	}
}
