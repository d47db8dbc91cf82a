package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/cmd/internal/event"
	"lvsd/config"
	"lvsd/integration/lab"
)

// becomes is an instance's change of state.
func becomes(name, from, to string) event.Event {
	return event.Event{Kind: event.KindVRRP, VRRP: name, From: from, To: to, Reason: "why", Priority: 150}
}

// written waits for the lines of a file.
func (s *stand) written(path string, want ...string) {
	s.t.Helper()
	text := strings.Join(want, "\n")
	s.wait("line: "+text, func() bool {
		got, _ := os.ReadFile(path)
		return strings.TrimSpace(string(got)) == text
	})
}

// TestStatePrograms: the program of the state is run, with keepalived's four arguments
// after its own, in the order of the changes, and other events run none.
func TestStatePrograms(t *testing.T) {
	got := filepath.Join(t.TempDir(), "got")
	command := script(t, `echo "$* $LVSD_REASON $(head -c 5)" >> `+got)
	own := append(command, "own")
	s := newStand(t, &config.Config{Instances: []config.Instance{
		{Name: "a", StatePrograms: config.StatePrograms{NotifyMaster: own, NotifyBackup: command, NotifyFault: command, NotifyStop: command}},
		{Name: "b", StatePrograms: config.StatePrograms{NotifyFault: command}},
	}})
	for _, e := range []event.Event{
		becomes("a", "init", "backup"), becomes("a", "backup", "master"),
		becomes("a", "master", event.Contested), becomes("a", event.Contested, "master"), // still master
		becomes("b", "init", "backup"), becomes("c", "backup", "fault"), weight("0"),
		becomes("a", "master", "fault"), becomes("a", "fault", "init"),
	} {
		s.Record(e)
	}
	s.written(got, `INSTANCE a BACKUP 150 why {"id"`, `own INSTANCE a MASTER 150 why {"id"`, `INSTANCE a FAULT 150 why {"id"`, `INSTANCE a STOP 150 why {"id"`)
	s.Record(becomes("b", "backup", "fault"))
	s.wait("program of b", func() bool {
		text, _ := os.ReadFile(got)
		return strings.Contains(string(text), "INSTANCE b FAULT 150 why")
	})
	s.stop()
	if s.Failures() != 0 {
		t.Errorf("%d failures:\n%s", s.Failures(), &s.log)
	}
}

// TestSyncGroupPrograms: a group is in a state when all its instances are, in fault when
// one is, and a reload forgets nothing.
func TestSyncGroupPrograms(t *testing.T) {
	got := filepath.Join(t.TempDir(), "got")
	command := script(t, `echo "$*" >> `+got)
	c := &config.Config{
		Instances: []config.Instance{{Name: "a", SyncGroup: "g"}, {Name: "b", SyncGroup: "g"}, {Name: "c"}},
		SyncGroups: []config.SyncGroup{{Name: "g", StatePrograms: config.StatePrograms{
			NotifyMaster: command, NotifyBackup: command, NotifyFault: command, NotifyStop: command}}},
	}
	s := newStand(t, c)
	record := func(all ...event.Event) {
		for _, e := range all {
			s.Record(e)
		}
	}
	record(becomes("a", "init", "backup"), becomes("c", "init", "backup"), becomes("b", "init", "backup"), becomes("a", "backup", "master"))
	s.written(got, "GROUP g BACKUP 150")
	s.configure(c)
	record(becomes("b", "backup", "master"))
	s.written(got, "GROUP g BACKUP 150", "GROUP g MASTER 150")
	record(becomes("b", "master", "fault"), becomes("a", "master", "fault"), becomes("b", "fault", "backup"), becomes("a", "fault", "backup"),
		becomes("a", "backup", "init"), becomes("b", "backup", "init"))
	s.written(got, "GROUP g BACKUP 150", "GROUP g MASTER 150", "GROUP g FAULT 150", "GROUP g BACKUP 150", "GROUP g STOP 150")
	s.stop()
}

// TestNotifyUser: programs run as that user, and one that does not exist is reported and
// runs none.
func TestNotifyUser(t *testing.T) {
	got := filepath.Join(t.TempDir(), "got")
	c := global(script(t, "id -un >> "+got))
	c.Global.NotifyUser = "no-user-of-that-name"
	s := newStand(t, c)
	s.Record(weight("0"))
	s.wait("failure", func() bool { return s.Failures() == 1 })
	if !strings.Contains(s.log.String(), "cannot be run") || len(lines(got)) != 0 {
		t.Errorf("%q\n%s", lines(got), &s.log)
	}
	s.stop()
	lab.RequireRoot(t)                            // to run a program as another user
	folder, err := os.MkdirTemp("/tmp", "notify") // every folder above the program is open to all
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	program, as := filepath.Join(folder, "notify"), filepath.Join(folder, "got")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nid -un > "+as+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	c = global([]string{program})
	c.Global.NotifyUser = "nobody"
	s = newStand(t, c)
	s.Record(weight("0"))
	s.written(as, "nobody")
	s.stop()
}

// TestAnotherURLIsAnotherWebhook: a reload that changes the URL behind the same host, or
// the format, takes effect.
func TestAnotherURLIsAnotherWebhook(t *testing.T) {
	s := newStand(t, &config.Config{Global: config.Global{Webhook: "https://hooks.example.com/one"}})
	for _, g := range []config.Global{
		{Webhook: "https://hooks.example.com/two"}, {Webhook: "https://hooks.example.com/two", WebhookFormat: "slack"},
	} {
		s.configure(&config.Config{Global: g})
		w := s.targets[0].sender.(*webhook)
		if body, err := w.format.encode([]event.Event{weight("0")}); w.url != g.Webhook || err != nil || strings.Contains(string(body), `"text"`) != (g.WebhookFormat == "slack") {
			t.Errorf("%+v: %s gets %s, %v", g, w.url, body, err)
		}
	}
	s.stop()
}

// TestKinds: a webhook with kinds gets those alone.
func TestKinds(t *testing.T) {
	f := targets(&config.Config{Global: config.Global{Webhook: "http://x.example.com/", WebhookKinds: []string{"vrrp"}}})[0].filter
	if !f.wants(becomes("a", "backup", "master")) || f.wants(weight("0")) {
		t.Errorf("%+v", f)
	}
}
