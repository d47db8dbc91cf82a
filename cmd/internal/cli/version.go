package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/ipvs/netlink"
)

// versions are what a bug report should contain.
type versions struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go_version"`
	IPVS    string `json:"ipvs"` // of the kernel, or why it is not known
}

func versionCommand(o *command.Options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the kernel's IPVS version",
		Args:  command.NoArgs,
		RunE: command.AsFailure(func(*cobra.Command, []string) error {
			v, c := o.BuildVersion()
			kernel := kernelVersion()
			if asJSON {
				return command.PrintJSON(versions{Version: v, Commit: c, Go: runtime.Version(), IPVS: kernel})
			}
			fmt.Fprintf(command.Stdout, "lvsd %s (commit %s, %s)\nkernel IPVS: %s\n", v, c, runtime.Version(), kernel)
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
		return fmt.Sprintf("unknown: %v", err)
	}
	defer k.Close()
	info, err := k.Info()
	if err != nil {
		return fmt.Sprintf("unknown: %v", err)
	}
	return info.Version
}
