package host

// Prepare changes what Findings reports as missing or wrong, and nothing else.

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/sysctl"
	"lvsd/config"
)

// Prepare sets up this host for the configuration. It calls say before each change;
// with dry it makes none. After a failure it continues with the rest.
func Prepare(c *config.Config, dry bool, say func(string)) error {
	if !dry {
		_ = kernel() // ip_vs brings its settings with it; Findings has the reason where there is none
	}
	var failed error
	for _, f := range Findings(c) {
		switch {
		case f.OK:
			continue
		case !f.Automatic():
			failed = errors.Join(failed, fmt.Errorf("%s", f))
			continue
		}
		say(f.change())
		if dry {
			continue
		}
		if err := f.fix(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("failed to change %s: %w", f.Name, err))
		}
	}
	return failed
}

// change describes the change that a finding needs.
func (f Finding) change() string {
	if f.Kind == "sysctl" {
		return fmt.Sprintf("%s = %s (was %s): %s", f.Name, f.Want, f.Have, f.Why)
	}
	return fmt.Sprintf("%s: %s: %s\n%s", f.Name, f.Want, f.Why, strings.TrimRight(f.rules, "\n"))
}

func (f Finding) fix() error {
	if f.Kind == "sysctl" {
		err := sysctl.Write(f.Name, f.Want)
		if errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("%w: run as root", err)
		}
		return err
	}
	_, err := run(f.rules, "nft", "-f", "-")
	return err
}

// runLimit is far above what loading a module or a table takes.
const runLimit = 30 * time.Second

// run runs a program with an input, and returns what it printed.
func run(input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound) && name == "nft":
		return "", fmt.Errorf("nft not found: install nftables, or load the printed rules by other means")
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%s does not exist", name)
	case err != nil && name == "nft" && strings.Contains(complaint.String(), "peration not supported"):
		return "", errors.New("this kernel does not support nftables for these packets: filter and masquerade by other means")
	case err != nil:
		first, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		return "", fmt.Errorf("%s: %w: %s", name, err, first)
	}
	return out.String(), nil
}

// loaded reports whether a table is there with a rule that has these words and names
// exactly these addresses.
func loaded(family, table, words string, addresses []netip.Addr) (have string, ok bool) {
	text, err := run("", "nft", "list", "table", family, table)
	if err != nil {
		return "", false
	}
	if !strings.Contains(text, words) {
		return fmt.Sprintf("present, without %q", words), false
	}
	named := map[string]bool{}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n,{}", r) }) {
		if a, err := netip.ParseAddr(word); err == nil {
			named[a.String()] = true
		}
	}
	for _, a := range addresses {
		if !named[a.String()] {
			return "present, without " + a.String(), false
		}
	}
	return "there", len(named) == len(addresses)
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// Release returns the version of the running kernel; empty where it is unknown.
func Release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
