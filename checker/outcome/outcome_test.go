package outcome

import (
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReasonOfErrno(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want Reason
	}{
		{io.EOF, Closed}, {io.ErrUnexpectedEOF, Closed}, {fmt.Errorf("x: %w", io.EOF), Closed},
		{errnoError("ECONNREFUSED"), Refused}, {errnoError("ETIMEDOUT"), Timeout}, {errnoError("ECONNRESET"), Reset},
		{errnoError("EPIPE"), Reset}, {errnoError("EHOSTUNREACH"), Unreachable}, {errnoError("ENETUNREACH"), Unreachable},
		{errnoError("EMFILE"), Local}, {errnoError("ENFILE"), Local}, {errnoError("ENOBUFS"), Local}, {errnoError("ENOMEM"), Local},
		{errnoError("EADDRNOTAVAIL"), Local}, {errnoError("EADDRINUSE"), Local}, {errnoError("ENODEV"), Local},
		{errnoError("EPERM"), Unreachable}, {errnoError("EACCES"), Unreachable}, {errnoError("EINVAL"), Unreachable},
		{&LocalError{errnoError("EINVAL")}, Local}, {&LocalError{errnoError("EPERM")}, Local},
		{&LocalError{errnoError("ENOPROTOOPT")}, Local}, {errnoError("ENOPROTOOPT"), Unreachable},
	} {
		if got := ReasonOf(tt.err); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 5, ""}, {"abc", 3, "abc"}, {"abcd", 3, "..."}, {"abcdef", 5, "ab..."}, {"a\x00b", 9, `a\x00b`},
		{"\r\n\t\"\\", 20, `\r\n\t"\`}, {"aé", 20, `a\xc3\xa9`}, {"\x00\x00", 7, `\x00...`}, {"\x00\x00", 6, "..."}, {"\x00\x00", 8, `\x00\x00`},
	} {
		if got := Printable(tt.in, tt.limit); got != tt.want || len(got) > tt.limit {
			t.Errorf("%q in %d bytes is %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

// FuzzShown: whatever a server sends is shown as printable ASCII, and bounded.
func FuzzShown(f *testing.F) {
	for _, s := range []string{"200 OK", "\x00\x1b[2J", "\xff\xfe", string(make([]byte, 1000)), "ä€"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		shown := Printable(s, MaxDetail)
		if len(shown) > MaxDetail {
			t.Fatalf("%d bytes", len(shown))
		}
		for _, c := range []byte(shown) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q", shown)
			}
		}
		if percent, alone := ParseWeight(s); alone && (percent < 0 || percent > 100) {
			t.Fatalf("%q: %d %%", s, percent)
		}
	})
}

func TestAgentWords(t *testing.T) {
	for _, tt := range []struct {
		before AgentReport
		line   string
		want   AgentReport
		known  bool
	}{
		{NoReport, "up", NoReport, true},
		{NoReport, "75%", AgentReport{Weight: 75}, true},
		{NoReport, "UP 75%", AgentReport{Weight: 75}, true},
		{NoReport, "150%", NoReport, true},
		{NoReport, "drain", AgentReport{Weight: 100, Drain: true}, true},
		{NoReport, "maint,50%\tmaxconn:30", AgentReport{Weight: 50, Maint: true}, true},
		{AgentReport{Weight: 50, Maint: true}, "ready", AgentReport{Weight: 50}, true},
		{AgentReport{Weight: 50, Drain: true}, "maint", AgentReport{Weight: 50, Maint: true}, true},
		{AgentReport{Weight: 50, Maint: true}, "up", AgentReport{Weight: 50, Maint: true}, true},
		{NoReport, "down#the database is gone, up soon", AgentReport{Weight: 100, Down: true}, true},
		{NoReport, "stopped", AgentReport{Weight: 100, Down: true}, true},
		{NoReport, "failed #x", AgentReport{Weight: 100, Down: true}, true},
		{AgentReport{Weight: 30, Down: true}, "100%", AgentReport{Weight: 100, Down: true}, true},
		{AgentReport{Weight: 30, Down: true}, "up ready 100%", NoReport, true},
		{NoReport, "weird 40%", AgentReport{Weight: 40}, true},
		{NoReport, "", NoReport, true}, // HAProxy: no change
		{AgentReport{Weight: 30, Down: true}, " ", AgentReport{Weight: 30, Down: true}, true},
		{NoReport, "weight:80%", AgentReport{Weight: 80}, true}, {NoReport, "up weight:50", AgentReport{Weight: 50}, true},
		{NoReport, "75.5%", AgentReport{Weight: 75}, true}, {NoReport, "+75%", AgentReport{Weight: 75}, true},
		{NoReport, "weight:", NoReport, false}, {NoReport, "75.%", NoReport, false},
		{NoReport, "# up", NoReport, false},
		{NoReport, "HTTP/1.1 200 OK", NoReport, false},
		{NoReport, "-5% 5 % x%", NoReport, false},
	} {
		s := tt.before
		if known := s.Apply(tt.line); s != tt.want || known != tt.known {
			t.Errorf("%q makes %+v of %+v, %v", tt.line, s, tt.before, known)
		}
	}
}

func TestParseWeight(t *testing.T) {
	for text, want := range map[string]int{"75%": 75, "75.5%\nmore": 75, "+10%": 10} {
		if got, ok := ParseWeight(text); got != want || !ok {
			t.Errorf("%q is %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "\n75%", "load 75%", "75% of 4 cores", "-75%", "75 %"} {
		if got, ok := ParseWeight(text); ok {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func FuzzAgent(f *testing.F) {
	for _, s := range []string{"up 75% drain #x", "maint,ready", "down", "9999999%", "maxconn:5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s := NoReport
		known := s.Apply(line)
		if s.Weight < 0 || s.Weight > 100 || s.Maint && s.Drain || !known && s != NoReport {
			t.Fatalf("%q makes %+v", line, s)
		}
		again := s
		if again.Apply(line); again != s {
			t.Fatalf("%q twice makes %+v of %+v", line, again, s)
		}
	})
}

// errnoError is an error as the kernel's come: wrapped.
func errnoError(name string) error {
	for e := unix.Errno(1); e < 200; e++ {
		if unix.ErrnoName(e) == name {
			return &os.PathError{Op: "connect", Path: "probe", Err: e}
		}
	}
	panic("no errno " + name)
}
