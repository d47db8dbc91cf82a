// This file has lvsd realserver.

package setup

import (
	"fmt"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/cmd/internal/realserver"
	"lvsd/cmd/internal/units"
)

// realFlags are the flags for addresses and forwarding method.
type realFlags struct {
	vips          []string
	forward, kind string
	port          uint16
	local         string
	checksum      bool
	folder        string
}

func realserverCommand() *cobra.Command {
	var f realFlags
	cmd := &cobra.Command{
		Use:   "realserver",
		Short: "Prepare this host as a real server for direct routing or tunnels",
		Long: "Prepares a real server: adds the service's address to lo (dr) or to a tunnel device\n(tun), without replying to ARP for it. The previous settings are recorded and restored\n" +
			"by down. The settings of up do not outlive a reboot: install applies them at each boot,\nprint prints them for other tools.",
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return command.ExitCode(command.Usage)
		},
	}
	cmd.PersistentFlags().StringVar(&f.folder, "state-dir", realserver.DefaultFolder, "the `FOLDER` in which the previous settings are recorded")
	cmd.PersistentFlags().StringSliceVar(&f.vips, "vip", nil, "the service's `IP` (can be repeated)")
	cmd.AddCommand(realUp(&f), realDown(&f), realStatus(&f), realInstall(&f), realPrint(&f))
	return cmd
}

// tunnelFlags adds the flags for the forwarding method.
func (f *realFlags) tunnelFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.forward, "forward", "dr", "how packets arrive: `dr or tun`")
	cmd.Flags().StringVar(&f.kind, "type", "", "tun: `ipip, gre or gue` (default ipip)")
	cmd.Flags().Uint16Var(&f.port, "port", 0, fmt.Sprintf("gue: the UDP `PORT` (default %d)", realserver.DefaultPort))
	cmd.Flags().BoolVar(&f.checksum, "checksum", false, "gre: packets carry a checksum")
	cmd.Flags().StringVar(&f.local, "local", "", "gre with checksum: the `IP` of this host that the director sends to")
}

// someSpecs are specs, at least one.
func (f *realFlags) someSpecs() ([]realserver.Spec, error) {
	specs, err := f.specs()
	if err == nil && len(specs) == 0 {
		err = command.Misuse("--vip IP is required")
	}
	return specs, err
}

// specs parses the flags; its errors are errors of usage.
func (f *realFlags) specs() ([]realserver.Spec, error) {
	var all []realserver.Spec
	addrs, err := f.addresses()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		w := realserver.Spec{VIP: a, Forward: f.forward, Type: f.kind, Port: f.port, Checksum: f.checksum}
		if f.local != "" {
			if w.Local, err = netip.ParseAddr(f.local); err != nil {
				return nil, command.Misuse("--local: %q is not an IP address", f.local)
			}
		}
		if err := w.Check(); err != nil {
			return nil, command.Misuse("%w", err)
		}
		all = append(all, w)
	}
	return all, nil
}

func (f *realFlags) addresses() ([]netip.Addr, error) {
	var all []netip.Addr
	for _, s := range f.vips {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, command.Misuse("--vip: %q is not an IP address", s)
		}
		all = append(all, a.Unmap())
	}
	return all, nil
}

// printChange prints a change.
func printChange(line string) { fmt.Fprintln(command.Stdout, line) }

func realUp(f *realFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "up --vip IP [--forward dr|tun] [--type ipip|gre|gue]",
		Example: "  lvsd realserver up --vip 10.0.0.88\n  lvsd realserver up --vip 10.0.0.88 --forward tun --type gue",
		Short:   "Accept packets for a service's address",
		Args:    command.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			specs, err := f.someSpecs()
			if err != nil {
				return err
			}
			for _, w := range specs {
				if err := realserver.New(f.folder, printChange).Up(w); err != nil {
					return command.Fail(err)
				}
				fmt.Fprintf(command.Stdout, "%s is up: %s\n", w.VIP, w)
			}
			return nil
		},
	}
	f.tunnelFlags(cmd)
	return cmd
}

func realDown(f *realFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "down [--vip IP]",
		Example: "  lvsd realserver down --vip 10.0.0.88",
		Short:   "Restore the settings from before up; without --vip for every address",
		Args:    command.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			addrs, err := f.addresses()
			if err != nil {
				return err
			}
			h := realserver.New(f.folder, printChange)
			if len(addrs) == 0 {
				if addrs, err = h.Addresses(); err != nil {
					return command.Fail(err)
				}
			}
			for _, a := range addrs {
				if err := h.Down(a); err != nil {
					return command.Fail(err)
				}
				fmt.Fprintf(command.Stdout, "%s is down\n", a)
			}
			return nil
		},
	}
}

func realInstall(f *realFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "install --vip IP [--forward dr|tun] [--type ipip|gre|gue]",
		Example: "  lvsd realserver install --vip 10.0.0.88",
		Short:   "Accept packets for a service's address, now and at each boot",
		Long:    "Enables a systemd unit for each address, lvsd-realserver@IP.service, which runs up at\neach boot. Flags other than --vip are written to /etc/lvsd/realserver/IP.conf. To\nundo it, run systemctl disable --now for the unit.",
		Args:    command.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			specs, err := f.someSpecs()
			if err != nil {
				return err
			}
			i, err := units.New(printChange)
			if err != nil {
				return command.Fail(err)
			}
			for _, w := range specs {
				options := w.Options()
				if f.folder != realserver.DefaultFolder {
					options = strings.TrimSpace(options + " --state-dir " + f.folder)
				}
				changed, err := i.Write("/etc/lvsd/realserver/"+w.VIP.String()+".conf", "OPTIONS="+options+"\n")
				if err == nil {
					err = i.Install(units.RealServer, w.VIP.String(), changed)
				}
				if err != nil {
					return command.Fail(err)
				}
			}
			return nil
		},
	}
	f.tunnelFlags(cmd)
	return cmd
}

func realPrint(f *realFlags) *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use:     "print --for FORM --vip IP [--forward dr|tun] [--type ipip|gre|gue]",
		Example: "  lvsd realserver print --for networkd --vip 10.0.0.88",
		Short:   "Print the settings of up as files of another tool that applies them at boot",
		Long:    "Prints the files, each with its path, for sysctl.d, networkd (systemd-networkd),\nnetworkmanager or ifupdown. Changes nothing.",
		Args:    command.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			specs, err := f.someSpecs()
			if err != nil {
				return err
			}
			text, err := realserver.Print(form, specs)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(command.Stdout, text)
			return err
		},
	}
	cmd.Flags().StringVar(&form, "for", "", "the `FORM`: "+strings.Join(realserver.Forms, ", "))
	f.tunnelFlags(cmd)
	return cmd
}

func realStatus(f *realFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status [--vip IP]",
		Example: "  lvsd realserver status",
		Short:   "Check whether this host is set up as a real server",
		Long:    "Checks every address that is up, or those given. Exits 1 if a setting is missing,\nor if no address is up.",
		Args:    command.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			specs, err := f.specs()
			if err != nil {
				return err
			}
			all, err := realserver.New(f.folder, printChange).Status(specs)
			if err != nil {
				return command.Fail(err)
			}
			if asJSON {
				err = command.PrintJSON(all)
			} else {
				err = printReal(all)
			}
			if err != nil {
				return command.Fail(err)
			}
			for _, s := range all {
				if !s.Up {
					return command.ExitCode(command.Failed)
				}
			}
			if len(all) == 0 {
				return command.ExitCode(command.Failed)
			}
			return nil
		},
	}
	f.tunnelFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printReal(all []realserver.State) error {
	if len(all) == 0 {
		fmt.Fprintln(command.Stdout, "no address is up here")
	}
	w := tabwriter.NewWriter(command.Stdout, 0, 0, 2, ' ', 0)
	for _, s := range all {
		state := "up"
		if !s.Up {
			state = "NOT UP"
		}
		fmt.Fprintf(w, "%s %s: %s\n", s.VIP, s.Spec, state)
		for _, p := range s.Parts {
			mark, have := "ok", p.Have
			if !p.OK {
				mark = "!!"
			}
			if have == "" {
				have = "missing"
			}
			fmt.Fprintf(w, "  %s\t%s %s\t%s\twanted %s\n", mark, p.Kind, p.Name, have, p.Want)
		}
	}
	return w.Flush()
}
