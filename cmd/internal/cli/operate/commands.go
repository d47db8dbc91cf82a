package operate

import (
	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
)

// Commands returns the commands in the order of the help.
func Commands(o *command.Options) []*cobra.Command {
	return []*cobra.Command{planCommand(o), reloadCommand(o), drainCommand(o), undrainCommand(o), weightCommand(o),
		drainedCommand(o), handoverCommand(o), zeroCommand(o)}
}
