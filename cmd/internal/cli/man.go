//go:build man

// This file writes the man pages from the help texts, by cobra's generator. Only
// `make docs` builds it.

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra/doc"

	"lvsd/cmd/internal/cli/command"
	"lvsd/docs"
)

func init() {
	manPages = func(folder string) error {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		root := rootCommand(&command.Options{})
		root.DisableAutoGenTag = true
		header := &doc.GenManHeader{Title: "LVSD", Section: "8", Source: "lvsd", Manual: "System Administration"}
		if err := doc.GenManTree(root, header, folder); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, "lvsd.toml.5"), []byte(referencePage()), 0o644)
	}
}

// referencePage is docs/lvsd.toml as a page of section 5.
func referencePage() string {
	var b strings.Builder
	b.WriteString(".TH LVSD.TOML 5 \"\" lvsd \"File Formats\"\n.SH NAME\nlvsd.toml \\- the configuration of lvsd\n" +
		".SH DESCRIPTION\nEvery key with its default. This text is itself a valid configuration.\n.SH KEYS\n.nf\n")
	for line := range strings.Lines(docs.Reference) {
		line = strings.ReplaceAll(line, `\`, `\e`)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		b.WriteString(strings.ReplaceAll(line, "-", `\-`))
	}
	fmt.Fprint(&b, ".fi\n.SH SEE ALSO\n.BR lvsd (8)\n")
	return b.String()
}
