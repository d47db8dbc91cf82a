package host

import (
	"os/user"
	"testing"

	"lvsd/config"
)

// TestOtherUser: the right to change users is asked for where a program needs it.
func TestOtherUser(t *testing.T) {
	us, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"": "", us.Username: "", "no-such-user": "no-such-user"} {
		c := &config.Config{Services: []config.Service{{RealServers: []config.RealServer{{Checks: []config.Check{{Type: "exec", User: name}}}}}}}
		if got := otherUser(c); got != want {
			t.Errorf("user %q: %q", name, got)
		}
	}
}
