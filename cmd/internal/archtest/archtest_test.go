package archtest

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../../.."

// leaves import none of each other and nothing under cmd/ (rule 1).
var leaves = []string{"lvsd/config", "lvsd/checker", "lvsd/vrrp", "lvsd/ipvs"}

// pure are the files of rule 2, without their tests.
var pure = []string{
	"checker/rise_fall.go", "checker/schedule.go", "checker/outcome/agent_report.go", "checker/outcome/result.go", "checker/netpoll/tcp_header.go",
	"checker/probe/wire/grpc_message.go", "checker/probe/wire/http_response.go", "checker/probe/wire/proxy_header.go",
	"vrrp/vrrp.go", "vrrp/config.go", "vrrp/machine.go", "vrrp/adverts.go", "vrrp/transitions.go", "vrrp/events.go", "vrrp/release.go", "vrrp/packet.go",
	"vrrp/auth/hmac.go", "vrrp/checksum/checksum.go", "vrrp/conflict/conflict.go", "ipvs/diff.go", "cmd/internal/decision/*.go",
	"cmd/internal/convert/*.go", "cmd/internal/convert/keepalived/*.go", "cmd/internal/convert/ldirectord/*.go", "cmd/internal/convert/ipvsadm/*.go",
	"cmd/internal/preview/*.go", "config/*.go", "config/edit/*.go", "config/include/*.go", "config/reader/*.go", "config/schema/*.go", "config/tomlpos/*.go", "config/values/*.go", "cmd/internal/alerts/*.go", "cmd/internal/cli/table/*.go",
	"cmd/internal/peers/compare.go", "cmd/internal/peers/frame.go", "cmd/internal/peers/message.go", "cmd/internal/peers/state.go",
}

// sharedByLeaves is a pure function of RFC 1071 with no types of its own, which VRRP
// packets and TCP segments both need. Otherwise it would be written twice.
const sharedByLeaves = "lvsd/vrrp/checksum"

func TestLeavesImportNoneOfEachOther(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		own := leafOf(p.ImportPath)
		if own == "" {
			continue
		}
		seen++
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if i == sharedByLeaves {
				continue
			}
			if other := leafOf(i); other != "" && other != own || strings.HasPrefix(i, "lvsd/cmd/") {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
	if seen < len(leaves) {
		t.Errorf("found %d packages of the leaves, want at least %d", seen, len(leaves))
	}
}

func leafOf(path string) string {
	for _, l := range leaves {
		if path == l || strings.HasPrefix(path, l+"/") {
			return l
		}
	}
	return ""
}

func TestPureFilesArePure(t *testing.T) {
	listed := map[string]bool{}
	for _, pattern := range pure {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(names) == 0 {
			t.Errorf("no file matches %s (%v)", pattern, err)
		}
		for _, n := range names {
			listed[n] = !strings.HasSuffix(n, "_test.go")
		}
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		if !listed[path] {
			return nil
		}
		for _, offence := range offences(files, file) {
			t.Error(offence)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOffencesAreFound gives the finder one of each thing that it must find.
func TestOffencesAreFound(t *testing.T) {
	for _, code := range []string{
		`import "os"`, `import "net"`, `import "log/slog"`, `import "sync"`, `import "sync/atomic"`, `import "context"`,
		`import "time"; var x = time.Now()`, `import "time"; func f() { time.Sleep(1) }`, `import "time"; var t *time.Timer`,
		`import clock "time"; var x = clock.Now()`,
		`import "math/rand/v2"; var x = rand.Int()`,
		`func f() { go f() }`, `var c chan int`, `func f() { select {} }`,
	} {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, "x.go", "package x; "+code, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(offences(files, file)) == 0 {
			t.Errorf("nothing found in %q", code)
		}
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "x.go", `package x
import ("time"; "net/netip"; "math/rand/v2")
func f(now time.Time, r *rand.Rand, a netip.Addr) time.Time { return now.Add(time.Duration(r.IntN(3)) * time.Second) }`, 0)
	if err != nil {
		t.Fatal(err)
	}
	if found := offences(files, file); len(found) != 0 {
		t.Errorf("a pure file is accused: %v", found)
	}
}

// forbidden packages carry a clock, a socket, a file, a lock or a logger.
var forbidden = []string{"os", "net", "log", "sync", "syscall", "context", "io/ioutil", "crypto/rand",
	"golang.org/x/sys", "golang.org/x/net", "github.com/vishvananda", "github.com/mdlayher", "github.com/moby"}

// plainTime is what of package time is a value or a calculation.
var plainTime = []string{"Duration", "Time", "Month", "Weekday", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour",
	"RFC3339", "RFC3339Nano", "DateTime", "DateOnly", "TimeOnly", "ParseDuration", "Parse", "Unix", "UnixMilli", "UTC", "Date"}

// plainRand is what of math/rand uses a source that was handed in.
var plainRand = []string{"Rand", "New", "NewPCG", "NewSource", "Source", "PCG", "ChaCha8", "NewChaCha8"}

func offences(files *token.FileSet, file *ast.File) []string {
	var found []string
	say := func(at token.Pos, what string) { found = append(found, files.Position(at).String()+": "+what) }
	limited := map[string][]string{} // by the name the file uses
	for _, i := range file.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		name := filepath.Base(path)
		if strings.HasPrefix(path, "math/rand") {
			name = "rand"
		}
		if i.Name != nil {
			name = i.Name.Name
		}
		switch {
		case path == "net/netip", path == "net/url":
		case path == "time":
			limited[name] = plainTime
		case strings.HasPrefix(path, "math/rand"):
			limited[name] = plainRand
		default:
			for _, f := range forbidden {
				if path == f || strings.HasPrefix(path, f+"/") {
					say(i.Pos(), "imports "+path)
				}
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			say(n.Pos(), "starts a goroutine")
		case *ast.ChanType:
			say(n.Pos(), "names a channel")
		case *ast.SelectStmt:
			say(n.Pos(), "selects")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Obj == nil {
				if plain, ok := limited[x.Name]; ok && !slices.Contains(plain, n.Sel.Name) {
					say(n.Pos(), "names "+x.Name+"."+n.Sel.Name)
				}
			}
		}
		return true
	})
	return found
}
