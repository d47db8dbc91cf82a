package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestKernelsTable: the running kernel has those modules and settings of IPVS that its
// column of docs/kernels.md has.
func TestKernelsTable(t *testing.T) {
	lab.RequireKernel(t)
	release := lab.Kernel().Release
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	modules := filepath.Join("/lib/modules", release)
	lists := read(filepath.Join(modules, "modules.dep")) + read(filepath.Join(modules, "modules.builtin"))
	isModule := func(prefix string) func(name string) bool {
		return func(name string) bool { return strings.Contains(lists, "/"+prefix+name+".ko") }
	}
	isSetting := func(name string) bool {
		_, err := os.Stat("/proc/sys/net/ipv4/vs/" + strings.TrimPrefix(name, "net.ipv4.vs."))
		return err == nil
	}
	kinds := map[string]func(name string) bool{
		"scheduler": isModule("ip_vs_"), "modules ": isModule(""), "`net.ipv4.vs.": isSetting,
	}
	names := regexp.MustCompile("`([^`]+)`")
	column, compared := 0, 0
	for line := range strings.Lines(read(lvsdtest.RepositoryFile(t, "docs/kernels.md"))) {
		cells := strings.Split(line, "|")
		if strings.HasPrefix(line, "| feature |") {
			for i, cell := range cells {
				if f := strings.Fields(cell); len(f) > 0 && strings.HasPrefix(release, f[0]+".") {
					column = i
				}
			}
		}
		for kind, has := range kinds {
			if column == 0 || len(cells) <= column || !strings.HasPrefix(strings.TrimSpace(cells[1]), kind) {
				continue
			}
			yes := strings.HasPrefix(strings.TrimSpace(cells[column]), "yes")
			for _, name := range names.FindAllStringSubmatch(cells[1], -1) {
				if compared++; has(name[1]) != yes {
					t.Errorf("%s: the page says %q of kernel %s", name[1], strings.TrimSpace(cells[column]), release)
				}
			}
		}
	}
	if column == 0 {
		lab.Skip(t, fmt.Errorf("docs/kernels.md has no column for kernel %s", release))
	}
	t.Logf("compared %d modules and settings", compared)
	if compared < 20 {
		t.Error("the table was not found")
	}
}
