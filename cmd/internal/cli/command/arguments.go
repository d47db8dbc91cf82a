// This file rejects arguments that a command does not take, with what may have been meant.

package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// NoArgs rejects arguments. Of a command with subcommands the first is an unknown one;
// any other command just takes none.
func NoArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasAvailableSubCommands():
		hint := ""
		if strings.HasSuffix(args[0], ".toml") {
			hint = "; the configuration file is named with -c FILE"
		}
		return fmt.Errorf("%s takes no arguments, but %q was given%s", cmd.CommandPath(), args[0], hint)
	}
	cmd.SuggestionsMinimumDistance = 2
	message := fmt.Sprintf("%q is not a command of %s", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("%s", message)
}
