package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"lvsd/ipvs/netlink"
)

// version and commit are set by the build.
var version, commit string

// buildVersion answers the version and commit of this binary. A build without
// the Makefile still knows its commit from the Go toolchain.
func buildVersion() (v, c string) {
	v, c = version, commit
	if v == "" {
		v = "devel"
	}
	if c == "" {
		c = "unknown"
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					c = s.Value
				}
			}
		}
	}
	return v, c
}

// versions are what a report of a fault should name.
type versions struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go_version"`
	IPVS    string `json:"ipvs"` // of the kernel, or why it is not known
}

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the kernel's IPVS version",
		Args:  cobra.NoArgs,
		RunE: works(func(*cobra.Command, []string) error {
			v, c := buildVersion()
			kernel := kernelVersion()
			if asJSON {
				return printJSON(versions{Version: v, Commit: c, Go: runtime.Version(), IPVS: kernel})
			}
			fmt.Printf("lvsd %s (commit %s, %s)\nkernel IPVS: %s\n", v, c, runtime.Version(), kernel)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// kernelVersion answers the kernel's IPVS version, or why it is not known.
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
