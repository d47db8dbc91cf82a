package director

import (
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"lvsd/checker/probe"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/markprobe"
	"lvsd/config"
	"lvsd/ipvs"
)

// fakeHost routes everything by eth0.
type fakeHost struct{}

func (fakeHost) Route(netip.Addr) (netip.Addr, string, error) {
	return netip.MustParseAddr("10.0.0.12"), "eth0", nil
}

func (fakeHost) AcceptLocal([]string) error { return nil }

// throughFile is two services over the same servers, probed through.
func throughFile(t *testing.T, servers ...string) *config.Config {
	t.Helper()
	var b strings.Builder
	for i, port := range []int{80, 443} {
		fmt.Fprintf(&b, "[[virtual_service]]\nname = \"s%d\"\naddress = \"10.0.0.88:%d\"\ncheck = { type = \"connect\", through = true }\nreal_servers = [\n", i, port)
		for _, s := range servers {
			fmt.Fprintf(&b, "  { address = \"%s:%d\" },\n", s, port)
		}
		b.WriteString("]\n")
	}
	f, err := config.Parse("lvsd.toml", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNoProbeBeforeItsPath: a probe without its path would go to whichever host has the
// address: the peer, or this director itself.
func TestNoProbeBeforeItsPath(t *testing.T) {
	marks := markprobe.New(&fakeHost{}, slog.New(slog.DiscardHandler))
	c := throughFile(t, "10.0.0.9")
	change, err := marks.Prepare(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	ts := targets{paths: marks.Paths()}
	if list, all := ts.list(c, ipvs.Table{}); len(list) != 0 || all {
		t.Errorf("%d probes begin without a path", len(list))
	}
	list, all := ts.list(c, decision.Decide(decision.Inputs{Config: c, MarkServices: marks.Paths().Services()}).Desired.Table)
	if len(list) != 2 || !all {
		t.Fatalf("%d targets, all %v", len(list), all)
	}
	for i, want := range []string{"10.0.0.88:80", "10.0.0.88:443"} {
		k := list[i].Checks[0]
		if k.Address.String() != want || k.Mark != 0x6c760000 || k.From.String() != "10.0.0.12" {
			t.Errorf("%s, mark %d, from %s", k.Address, k.Mark, k.From)
		}
	}
}

// TestImpossibleChecks: what this machine cannot check is named once a check of the file,
// whatever the number of servers.
func TestImpossibleChecks(t *testing.T) {
	f, err := config.Parse("lvsd.toml", []byte(`[[virtual_service]]
name = "web"
address = "10.0.0.88:80"
check = [{ type = "exec", command = ["/usr/local/bin/no-such-probe"] }, { type = "connect", address = "127.0.0.1:9" }]
real_servers = [{ address = "10.0.0.9:80" }, { address = "10.0.0.10:80" }]
`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.For("lb1")
	if err != nil {
		t.Fatal(err)
	}
	all := Impossible(t.Context(), c, probe.NewShared())
	if len(all) != 1 || !strings.HasPrefix(all[0].Error(), "lvsd.toml:4:10: virtual_service web: exec check: ") || !strings.Contains(all[0].Error(), "no-such-probe") {
		t.Errorf("%q", all)
	}
}

// TestStepsAreWhole: every key of a step reaches the probe.
func TestStepsAreWhole(t *testing.T) {
	var step config.Step
	from := reflect.ValueOf(&step).Elem()
	for i := range from.NumField() {
		switch field := from.Field(i); field.Kind() {
		case reflect.String:
			field.SetString("x")
		case reflect.Bool:
			field.SetBool(true)
		default:
			t.Fatalf("%s is a %s", from.Type().Field(i).Name, field.Kind())
		}
	}
	made := new(targets).check(config.Check{CheckSettings: &config.CheckSettings{Type: "tcp", Steps: []config.Step{step}}})
	to := reflect.ValueOf(made.Steps[0])
	for i := range from.NumField() {
		name := from.Type().Field(i).Name
		if got := to.FieldByName(name); !got.IsValid() || got.IsZero() {
			t.Errorf("the probe has no %s", name)
		}
	}
}
