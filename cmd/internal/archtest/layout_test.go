package archtest

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxFiles is how many Go files a folder has, outside tests (rule 12).
const maxFiles = 15

// largeFolders have more, for a reason.
var largeFolders = map[string]string{
	"cmd/internal/cli": "one file a command",
	"vrrp":             "being split",
}

// documentedFolders have a doc.go, and file headers detached from the package clause.
var documentedFolders = []string{
	"checker", "checker/checktest", "checker/netpoll", "checker/outcome", "checker/probe", "checker/probe/wire", "checker/program",
	"checker/resolver", "checker/trace",
	"cmd/lvsd", "cmd/internal/alerts", "cmd/internal/api", "cmd/internal/api/server", "cmd/internal/archtest", "cmd/internal/charts",
	"cmd/internal/cli", "cmd/internal/cli/status", "cmd/internal/cli/table", "cmd/internal/configfile", "cmd/internal/daemon", "cmd/internal/event",
	"cmd/internal/filewatch", "cmd/internal/httpgzip", "cmd/internal/logging", "cmd/internal/metrics", "cmd/internal/notify",
	"cmd/internal/page", "cmd/internal/peers", "cmd/internal/realserver",
	"cmd/internal/convert", "cmd/internal/convert/converttest", "cmd/internal/convert/keepalived", "cmd/internal/convert/ldirectord",
	"cmd/internal/convert/ipvsadm", "config", "config/reader", "config/schema", "config/tomlpos", "config/values",
	"ipvs", "ipvs/connsync", "ipvs/ipvsadm", "ipvs/ipvstest", "ipvs/netlink",
}

func TestFoldersAreSmall(t *testing.T) {
	count := map[string]int{}
	goFiles(t, func(folder, path string) {
		if !strings.HasSuffix(path, "_test.go") {
			count[folder]++
		}
	})
	for folder, n := range count {
		if reason := largeFolders[folder]; n > maxFiles && reason == "" {
			t.Errorf("%s has %d Go files outside tests, more than %d", folder, n, maxFiles)
		}
	}
	for folder := range largeFolders {
		if count[folder] <= maxFiles {
			t.Errorf("%s has %d Go files and needs no exception", folder, count[folder])
		}
	}
}

// TestPackagesAreDocumented: the package's comment is in doc.go, or in main.go of a
// program, and nowhere else.
func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	goFiles(t, func(folder, path string) {
		if !slices.Contains(documentedFolders, folder) {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		home := "doc.go"
		if file.Name.Name == "main" {
			home = "main.go"
		}
		switch isHome := filepath.Base(path) == home; {
		case file.Doc != nil && isHome:
			documented[folder] = true
		case file.Doc != nil:
			t.Errorf("%s: detach the header from the package clause by an empty line", path)
		}
	})
	for _, folder := range documentedFolders {
		if !documented[folder] {
			t.Errorf("%s has no doc.go with the package's comment", folder)
		}
	}
}

// TestSignalsAreNotIgnored: an ignored signal stays ignored in every program that
// lvsd starts. signal.Notify with a channel that nothing reads is not inherited.
func TestSignalsAreNotIgnored(t *testing.T) {
	goFiles(t, func(folder, path string) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(folder, "integration") {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "signal."+"Ignore(") {
			t.Errorf("%s ignores signals", path)
		}
	})
}
