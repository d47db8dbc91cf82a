// Command mutants applies the bugs of PACKAGE/testdata/mutants/*.patch, one at a time, and
// reports those for which no test fails. It changes no file of the tree, but compiles
// patched copies.
//
//	go run ./integration/mutants [-run WORD]
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	only := flag.String("run", "", "only patches whose path contains this")
	flag.Parse()
	var patches []string
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(filepath.Dir(path), "/testdata/mutants") && filepath.Ext(path) == ".patch" {
			patches = append(patches, path)
		}
		return err
	})
	if err == nil && len(patches) == 0 {
		err = fmt.Errorf("no patches: run it at the top of the repository")
	}
	failed := 0
	unpatched := map[string]error{} // what the tests of each package report as it is
	for _, p := range patches {
		if !strings.Contains(p, *only) {
			continue
		}
		pkg, why := packageOf(p)
		if _, done := unpatched[pkg]; !done && why == nil {
			unpatched[pkg] = test(pkg)
		}
		if why == nil && unpatched[pkg] != nil {
			why = fmt.Errorf("the tests of %s fail without it: %w", pkg, unpatched[pkg])
		}
		began, killed := time.Now(), false
		if why == nil {
			killed, why = try(p, pkg)
		}
		switch {
		case why != nil: // a test that fails would say nothing
			fmt.Printf("BROKEN   %s: %v\n", p, why)
			failed++
		case !killed:
			fmt.Printf("SURVIVES %s\n", p)
			failed++
		default:
			fmt.Printf("killed   %s (%v)\n", p, time.Since(began).Round(100*time.Millisecond))
		}
	}
	if err != nil || failed > 0 {
		fmt.Fprintln(os.Stderr, "mutants:", failed, "not killed;", err)
		os.Exit(1)
	}
}

// try reports whether a test of the patched package fails. A patch that does not apply or
// compile is an error.
func try(patch, pkg string) (killed bool, err error) {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	text, err := os.ReadFile(patch)
	if err != nil {
		return false, err
	}
	replace := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, ok := strings.CutPrefix(line, "+++ b/")
		if !ok {
			continue
		}
		name = strings.TrimSpace(name)
		source, err := os.ReadFile(name)
		if err != nil {
			return false, err
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return false, err
		}
		if err := os.WriteFile(to, source, 0o644); err != nil {
			return false, err
		}
		from, err := filepath.Abs(name)
		if err != nil {
			return false, err
		}
		replace[from] = to
	}
	apply := exec.Command("patch", "-s", "-F0", "-p1", "-d", dir)
	apply.Stdin = bytes.NewReader(text)
	if out, err := apply.CombinedOutput(); err != nil {
		return false, fmt.Errorf("it does not apply: %s", out)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return false, err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		return false, err
	}
	if out, err := exec.Command("go", "build", "-overlay", file, pkg).CombinedOutput(); err != nil {
		return false, fmt.Errorf("it does not compile: %s", out)
	}
	return test(pkg, "-overlay", file) != nil, nil
}

// packageOf returns the package that a patch changes.
func packageOf(patch string) (string, error) {
	text, err := os.ReadFile(patch)
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "+++ b/"); ok {
			return "./" + filepath.Dir(strings.TrimSpace(name)), nil
		}
	}
	return "", errors.Join(err, errors.New("it changes no file"))
}

// test runs the tests of a package, without those that need a kernel, which are too slow.
func test(pkg string, flags ...string) error {
	return exec.Command("go", append(append([]string{"test", "-failfast", "-timeout", "5m", "-skip", "Kernel"}, flags...), pkg)...).Run()
}
