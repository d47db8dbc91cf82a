package operate

import (
	"strings"
	"testing"

	"lvsd/cmd/internal/api"
)

// TestReloadNamesTheOutdated: directors that reply and run another configuration, and only
// those.
func TestReloadNamesTheOutdated(t *testing.T) {
	var out strings.Builder
	printOutdated(&out, "new", []api.PeerStatus{{Director: "lb2", Up: true, ConfigHash: "new"}, {Director: "lb3", Up: true, ConfigHash: "old"},
		{Director: "lb4", ConfigHash: "old"}, {Director: "lb5", Up: true, ConfigHash: "older"}})
	if got := out.String(); !strings.HasPrefix(got, "different configuration on lb3, lb5:") {
		t.Error(got)
	}
	out.Reset()
	printOutdated(&out, "new", []api.PeerStatus{{Director: "lb2", Up: true, ConfigHash: "new"}})
	if out.String() != "" {
		t.Error(out.String())
	}
}
