package cli

import (
	"strings"
	"testing"

	"lvsd/cmd/internal/cli/command"
)

func TestNoArgs(t *testing.T) {
	root := rootCommand(&command.Options{})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"statsu"}, `"statsu" is not a command of lvsd; did you mean status?`},
		{[]string{"xyzzy"}, `"xyzzy" is not a command of lvsd`},
		{[]string{"host", "chekc"}, `"chekc" is not a command of lvsd host; did you mean check?`},
		{[]string{"check", "lvsd.toml"}, `lvsd check takes no arguments, but "lvsd.toml" was given; the configuration file is named with -c FILE`},
		{[]string{"version", "x"}, `lvsd version takes no arguments, but "x" was given`},
	} {
		cmd, rest, err := root.Find(c.args)
		if err == nil {
			err = cmd.ValidateArgs(rest)
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

// TestUsageErrors: what is invalid in a command line exits with 2, before anything is done.
func TestUsageErrors(t *testing.T) {
	for _, line := range []string{
		"statsu", "check lvsd.toml", "status --no-such-flag", "status --sort x", "why", "events --since -1h", "watch --interval 1ms", "weight web 10.0.0.9:80 x",
		"drain web 10.0.0.9:80 --until yesterday", "handover --end --force", "alerts --scale 0", "alerts --scrape-interval 0s", "alerts --job=", "realserver up", "realserver up --vip x",
		"realserver up --vip 10.0.0.88 --forward nat", "convert keepalived x.conf",
		"host prepare --persist -c x.toml", "host prepare --persist --director lb1",
	} {
		if code, out, errOut := ran(t, strings.Fields(line)...); code != command.Usage || out != "" || !strings.Contains(errOut, "Usage: lvsd") {
			t.Errorf("%s: exit code %d, %q, %q", line, code, out, errOut)
		}
	}
}
