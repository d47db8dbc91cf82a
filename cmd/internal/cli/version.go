package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"lvsd/ipvs/netlink"
)

// buildVersion returns the version and commit of this binary. A build without the
// Makefile knows its commit from the Go toolchain.
func (o *options) buildVersion() (version, commit string) {
	version, commit = cmp.Or(o.version, "devel"), o.commit
	if info, ok := debug.ReadBuildInfo(); ok && commit == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return version, cmp.Or(commit, "unknown")
}

// versions are what a bug report should contain.
type versions struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go_version"`
	IPVS    string `json:"ipvs"` // of the kernel, or why it is not known
}

func versionCommand(o *options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the kernel's IPVS version",
		Args:  cobra.NoArgs,
		RunE: asFailure(func(*cobra.Command, []string) error {
			v, c := o.buildVersion()
			kernel := kernelVersion()
			if asJSON {
				return printJSON(versions{Version: v, Commit: c, Go: runtime.Version(), IPVS: kernel})
			}
			fmt.Fprintf(stdout, "lvsd %s (commit %s, %s)\nkernel IPVS: %s\n", v, c, runtime.Version(), kernel)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// kernelVersion returns the kernel's IPVS version, or why it is not known.
func kernelVersion() string {
	k, err := netlink.Open()
	if err != nil {
		return fmt.Sprintf("not known: %v", err)
	}
	defer k.Close()
	info, err := k.Info()
	if err != nil {
		return fmt.Sprintf("not known: %v", err)
	}
	return info.Version
}
