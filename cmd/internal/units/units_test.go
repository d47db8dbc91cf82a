package units

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestInstall: without the package the unit is written for this program; with it only
// enabled. What is there already is not written again.
func TestInstall(t *testing.T) {
	var ran, said []string
	i := Installer{Root: t.TempDir(), Program: "/opt/lvsd/lvsd", Run: func(args ...string) error { ran = append(ran, strings.Join(args, " ")); return nil },
		Log: func(line string) { said = append(said, line) }}
	for range 2 {
		if err := i.Install(RealServer, "2001:db8::88", false); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(i.Root, ownUnits, RealServer))
	if err != nil || !strings.Contains(string(text), "ExecStart=/opt/lvsd/lvsd realserver up --vip %i $OPTIONS\n") || strings.Contains(string(text), packagedProgram) {
		t.Errorf("%v\n%s", err, text)
	}
	unit := "lvsd-realserver@2001:db8::88.service"
	once := []string{"daemon-reload", "enable " + unit, "start " + unit}
	if !slices.Equal(ran, slices.Concat(once, once)) || !slices.Equal(said, []string{ownUnits + "/" + RealServer + " written", unit + " enabled", unit + " enabled"}) {
		t.Errorf("ran %q, said %q", ran, said)
	}
	packaged := filepath.Join(i.Root, packagedUnits, Host)
	if err := os.MkdirAll(filepath.Dir(packaged), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(packaged, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ran = nil
	if err := i.Install(Host, "", true); err != nil || !slices.Equal(ran, []string{"enable " + Host, "restart " + Host}) {
		t.Errorf("%v, ran %q", err, ran)
	}
	if _, err := os.Stat(filepath.Join(i.Root, ownUnits, Host)); err == nil {
		t.Error("the package's unit is written again")
	}
	i.Run = func(...string) error { return errors.New("no") }
	if err := i.Install(Host, "", true); err == nil {
		t.Error("a failure of systemctl is none")
	}
}
