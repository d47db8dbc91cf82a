package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"--kernel", "5.10", "--cpus", "4", "--", "cmd", "--kernel", "x"})
	if err != nil || o.kernel != "5.10" || o.cpus != 4 || strings.Join(o.Command, " ") != "cmd --kernel x" {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse([]string{"cmd"}); err != nil || o.kernel != "6.12" || o.cpus != 2 {
		t.Errorf("the defaults: %+v, %v", o, err)
	}
	for _, bad := range [][]string{{"--kernel", "2.4", "x"}, {"--cpus", "0", "x"}, {"--accel", "none", "x"}, {}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestArchive(t *testing.T) {
	var out bytes.Buffer
	a := &archive{w: bufio.NewWriter(&out)}
	a.add("d", modeFolder|0o755, nil)
	a.add("d/file", modeFile|0o644, []byte("text!"))
	a.add("TRAILER!!!", 0, nil)
	if err := a.w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "070701" + "00000001000041ed0000000000000000000000010000000000000000" + "00000000000000000000000000000000" + "0000000200000000" + "d\x00" +
		"070701" + "00000002000081a40000000000000000000000010000000000000005" + "00000000000000000000000000000000" + "0000000700000000" + "d/file\x00\x00\x00\x00" + "text!\x00\x00\x00"
	if got := out.String(); !strings.HasPrefix(got, want) || len(got)%4 != 0 {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFindNeedsACompleteKernel(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("boot/vmlinuz-6.1.0-9-amd64")
	if k, err := find(dir); err == nil {
		t.Errorf("without modules.dep: %+v", k)
	}
	write("lib/modules/6.1.0-9-amd64/modules.dep")
	if k, err := find(dir); err != nil || k.version != "6.1.0-9-amd64" || k.modules != filepath.Join(dir, "lib/modules/6.1.0-9-amd64") {
		t.Errorf("%+v, %v", k, err)
	}
}

// One boot tests what the two runners do not share: the root file system, the link, the
// modules, several processors, and that nothing is left.
func TestBoot(t *testing.T) {
	_, err := exec.LookPath("qemu-system-x86_64")
	folder, _ := filepath.Abs("../../../bin/kernels")
	if err == nil {
		_, err = find(filepath.Join(folder, "6.12"))
	}
	if err != nil {
		// Fetched by make test-kernels, which tests all of it.
		lab.Skip(t, fmt.Errorf("no kernel to boot (make test-kernels fetches it): %w", err))
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "qemu")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "--kernels", folder, "--", "sh", "-c",
		`cat; nproc; modprobe ip_vs && head -c 17 /proc/net/ip_vs; echo "$LAB_TEST in $PWD" >&2; exit 7`)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "LAB_TEST=a b")
	cmd.Stdin = strings.NewReader(strings.Repeat("0123456789\n", 2000))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Fatalf("%v, want the command's status 7\n%s", err, errs.String())
	}
	if want := strings.Repeat("0123456789\n", 2000) + "2\nIP Virtual Server"; out.String() != want {
		t.Errorf("%d bytes, ending in %q", out.Len(), out.String()[max(0, out.Len()-40):])
	}
	if here, _ := os.Getwd(); errs.String() != "a b in "+here+"\n" {
		t.Errorf("stderr: %q", errs.String())
	}
	if _, ok := lab.Poll(10*time.Second, func() bool {
		files, _ := filepath.Glob(tmp + "/*")
		return len(files) == 0
	}); !ok {
		t.Errorf("files are left in %s", tmp)
	}
}
