package keepalived

import (
	"strings"
	"testing"

	"lvsd/cmd/internal/convert"
	"lvsd/cmd/internal/convert/converttest"
)

// noteCase is a configuration, what the result has and has not, and a note of it.
type noteCase struct {
	conf, has, hasNot string
	kind              convert.Kind
	why               string // "" = no note of this kind
}

func (c noteCase) test(t *testing.T) {
	r, err := Convert([]Source{{"lb1", "f"}}, converttest.File(c.conf))
	if err != nil {
		t.Fatal(err)
	}
	converttest.Passes(t, r)
	if !strings.Contains(body(r), c.has) || c.hasNot != "" && strings.Contains(body(r), c.hasNot) {
		t.Errorf("want %q, and not %q:\n%s", c.has, c.hasNot, r.TOML)
	}
	if got := hasNote(r, c.kind, c.why); got != (c.why != "") {
		t.Errorf("want the note %q: %v", c.why, r.Notes)
	}
}

// TestUsersOfPrograms: as whom programs ran is said, and no line changes it for others.
func TestUsersOfPrograms(t *testing.T) {
	scriptUser := "global_defs {\n script_user nobody\n}\n"
	for name, c := range map[string]noteCase{
		"nothing said":              {instanceConf("A", `notify_master "/etc/k/n.sh"`), "notify_master", "notify_user", convert.ToDo, "keepalived_script"},
		"nothing said, a script":    {"vrrp_script chk {\n script /bin/chk\n}\n" + instanceConf("A", "track_script {\n chk\n }"), "/bin/chk", "setpriv", convert.ToDo, "keepalived_script"},
		"nothing said, a check":     {checkConf("MISC_CHECK {\n misc_path /bin/chk\n}"), "/bin/chk", "user =", convert.ToDo, "keepalived_script"},
		"script_user":               {scriptUser + instanceConf("A", `notify_master "/etc/k/n.sh"`), `notify_user = "nobody"`, "", convert.ToDo, "CAP_SETUID"},
		"a word read as a user":     {instanceConf("A", `notify_master /etc/k/n.sh master`), `notify_master = ["/etc/k/n.sh"]`, "notify_user", convert.ToDo, "reads the word after the program, master, as a user"},
		"the same with script_user": {scriptUser + instanceConf("A", `notify_master /etc/k/n.sh master`), `notify_user = "nobody"`, "", convert.ToDo, "as one user, nobody"},
		"a line with a user":        {scriptUser + instanceConf("A", `notify_stop "/etc/k/n.sh" root`), `notify_user = "nobody"`, "", convert.ToDo, "runs the program as root"},
		"its own user is the same":  {scriptUser + instanceConf("A", `notify "/etc/k/n.sh" nobody`), `notify_user = "nobody"`, "", convert.ToDo, "CAP_SETUID"},
		"more arguments":            {scriptUser + instanceConf("A", `notify_backup "/etc/k/n.sh b"`), `["/etc/k/n.sh", "b"]`, "", convert.ToDo, "appends four arguments"},
	} {
		t.Run(name, c.test)
	}
}
