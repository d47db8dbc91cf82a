package runner

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFrames(t *testing.T) {
	var link bytes.Buffer
	w := &frameWriter{w: &link}
	long := bytes.Repeat([]byte{0, '\n', 0xff}, 100_000)
	for _, content := range [][]byte{nil, []byte("x"), long} {
		if err := w.send(frameStdout, content); err != nil {
			t.Fatal(err)
		}
		k, got, err := readFrame(&link)
		if k != frameStdout || !bytes.Equal(got, content) || err != nil {
			t.Errorf("a frame of %d bytes came back as %q with %d bytes, %v", len(content), k, len(got), err)
		}
	}
	if _, _, err := readFrame(strings.NewReader("o\x00\x00\x00\x05abc")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a frame that was cut: %v", err)
	}
	if _, _, err := readFrame(strings.NewReader("o\xff\xff\xff\xffabc")); err == nil {
		t.Error("a frame of 4 GiB is believed")
	}
}

// line is a guest's serial line, with a limited capacity.
type line struct {
	t    *testing.T
	full int
	held int
	pipe *io.PipeWriter
}

func (l *line) Write(p []byte) (int, error) {
	if l.held += len(p); l.held > l.full {
		l.t.Errorf("%d bytes in a line for %d", l.held, l.full)
	}
	l.held = 0 // the write returns when the pipe was read
	return l.pipe.Write(p)
}

func TestWindowIsNeverOverrun(t *testing.T) {
	pr, pw := io.Pipe()
	win := newWindow(&line{t: t, full: lineWindow, pipe: pw})
	sent := bytes.Repeat([]byte("0123456789"), 5_000)
	creditOut, creditIn := io.Pipe()
	go func() { // the runner's receiving side
		for {
			k, content, err := readFrame(creditOut)
			if err != nil {
				return
			}
			if k == frameCredit {
				win.grant(content)
			}
		}
	}()
	go func() {
		if n, err := win.Write(sent); n != len(sent) || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
		pw.Close()
	}()
	got, err := io.ReadAll(&creditReader{pr, &frameWriter{w: creditIn}})
	creditIn.Close()
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came through: %v", len(got), len(sent), err)
	}
}

func TestDependenciesAreLoadedFirst(t *testing.T) {
	dir := t.TempDir()
	text := "a/ip_vs_wlc.ko: a/ip_vs.ko b/nf_conntrack.ko b/crc.ko\na/ip_vs.ko: b/nf_conntrack.ko b/crc.ko\nb/nf-conntrack.ko:\n"
	if err := os.WriteFile(filepath.Join(dir, "modules.dep"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := ReadDependencies(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b/crc.ko", "b/nf_conntrack.ko", "a/ip_vs.ko", "a/ip_vs_wlc.ko"}, d.Files("ip_vs_wlc")); diff != "" {
		t.Error(diff)
	}
	if d.file["nf_conntrack"] != "b/nf-conntrack.ko" {
		t.Errorf("names: %v", d.file)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tl tail
	for range 1000 {
		io.WriteString(&tl, "a line of the console\r\n")
	}
	io.WriteString(&tl, "the last\r\n")
	if s := tl.String(); len(s) > tailLimit || !strings.HasSuffix(s, "console\nthe last") {
		t.Errorf("%d bytes, ending in %q", len(s), s[max(0, len(s)-40):])
	}
}

func TestLookPathFindsRootsPrograms(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")) // lookPath changes it
	_, env, err := LookPath("sh", []string{"A=b", "PATH=/usr/bin:/bin"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"A=b", "PATH=/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Error(diff)
	}
	if _, _, err := LookPath("no-such-program", nil); StartStatus(err) != ExitNotFound {
		t.Errorf("status %d of %v", StartStatus(err), err)
	}
}
