package host

import (
	"os/user"
	"strings"
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
		c := &config.Config{Services: []config.Service{{RealServers: []config.RealServer{{Checks: []config.Check{{CheckSettings: &config.CheckSettings{Type: "exec", User: name}}}}}}}}
		if got := otherUser(c); got != want {
			t.Errorf("user %q: %q", name, got)
		}
	}
}

// TestProgramsAsTheDaemon: those that could use the daemon's rights to its files are
// named, each once.
func TestProgramsAsTheDaemon(t *testing.T) {
	check := func(program, user string) config.RealServer {
		return config.RealServer{Checks: []config.Check{{CheckSettings: &config.CheckSettings{Type: "connect"}}, {CheckSettings: &config.CheckSettings{Type: "exec", Command: []string{program, "secret"}, User: user}}}}
	}
	c := &config.Config{Services: []config.Service{{RealServers: []config.RealServer{check("/a", ""), check("/a", ""), check("/b", "nobody")}}},
		Instances: []config.Instance{{Notify: []string{"/n"}, TrackScripts: []config.TrackedScript{{Command: []string{"/s", "secret"}}}}}}
	all := programs(c)
	if len(all) != 1 || !strings.Contains(all[0], "notify /n, script /s, check /a: ") || strings.Contains(all[0], "secret") {
		t.Errorf("%q", all)
	}
	if all := programs(&config.Config{Services: []config.Service{{RealServers: []config.RealServer{check("/b", "nobody")}}}}); all != nil {
		t.Errorf("%q", all)
	}
}
