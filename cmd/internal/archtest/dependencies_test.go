// docs/dependencies.md lists the modules of others that lvsd is made of, with their
// licences. It is written by this test, which also refuses a licence that is not known
// to it.
//
//	go test ./cmd/internal/archtest -run TestDependenciesAreListed -update

package archtest

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/dependencies.md")

const dependencies = root + "/docs/dependencies.md"

// module is a module of others.
type module struct {
	Path, Version, Dir string
	Main               bool
}

// modulesOf lists the modules behind packages, with what their tests need or without.
func modulesOf(t *testing.T, tests bool, packages ...string) []module {
	t.Helper()
	args := []string{"list", "-deps", "-json=Module"}
	if tests {
		args = append(args, "-test", "-tags", "man") // with what writes the man pages
	}
	cmd := exec.Command("go", append(args, packages...)...)
	cmd.Dir, cmd.Env, cmd.Stderr = root, append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []module
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ Module *module }
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && !p.Module.Main && !slices.ContainsFunc(all, func(m module) bool { return m.Path == p.Module.Path }) {
			all = append(all, *p.Module)
		}
	}
	slices.SortFunc(all, func(a, b module) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

// licences are recognised by a sentence. All of them allow lvsd to be distributed under
// Apache-2.0.
var licences = []struct{ name, sentence string }{
	{"Apache-2.0", "Apache License Version 2.0, January 2004"},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose"},
	{"BSD-3-Clause", "may be used to endorse or promote products derived from this software without specific prior written permission"},
	{"BSD-2-Clause", "Redistributions in binary form must reproduce the above copyright notice"},
}

// licence reads a module's own licence.
func licence(t *testing.T, m module) string {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(m.Dir, "LICEN[CS]E*"))
	if len(names) == 0 {
		names, _ = filepath.Glob(filepath.Join(m.Dir, "COPYING*"))
	}
	if len(names) == 0 {
		t.Errorf("%s has no licence in %s", m.Path, m.Dir)
		return "none"
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(strings.ReplaceAll(string(text), ">", "")), " ")
	for _, l := range licences {
		if strings.Contains(words, l.sentence) {
			return l.name
		}
	}
	t.Errorf("%s: unknown licence in %s", m.Path, names[0])
	return "unknown"
}

func TestDependenciesAreListed(t *testing.T) {
	program := modulesOf(t, false, "./cmd/lvsd")
	var b strings.Builder
	b.WriteString(`# What lvsd is made of

The modules of others, with their licences. Written by a test that reads them:

    go test ./cmd/internal/archtest -run TestDependenciesAreListed -update

What the direct ones are for is in [decisions/](decisions/), first of all in
[0002](decisions/0002-libraries.md). ` + "`make sbom`" + ` writes the same, with hashes, as a bill of
materials in CycloneDX's form; it comes with the packages.

## In the program

Besides the standard library of Go (BSD-3-Clause), which is linked in, too.

`)
	table(t, &b, program)
	b.WriteString("\n## In tests and tools alone\n\n")
	inProgram := func(m module) bool {
		return slices.ContainsFunc(program, func(p module) bool { return p.Path == m.Path })
	}
	others := slices.DeleteFunc(modulesOf(t, true, "./..."), inProgram)
	table(t, &b, others)
	if len(program) < 20 || len(others) < 3 {
		t.Errorf("%d modules and %d: they are not found", len(program), len(others))
	}
	if *update {
		if err := os.WriteFile(dependencies, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(dependencies)
	if err != nil || string(text) != b.String() {
		t.Errorf("docs/dependencies.md is not what go.mod says (%v): run go test ./cmd/internal/archtest -run TestDependenciesAreListed -update", err)
	}
}

func table(t *testing.T, b *strings.Builder, all []module) {
	b.WriteString("| module | version | licence |\n|---|---|---|\n")
	for _, m := range all {
		fmt.Fprintf(b, "| %s | %s | %s |\n", m.Path, m.Version, licence(t, m))
	}
}
