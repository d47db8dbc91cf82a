package filewatch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lvsd/cmd/internal/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEveryWayToChange: each way in which people and programs change a file is
// reported, also the second time.
func TestEveryWayToChange(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(t *testing.T, dir, path, text string){
		"written": func(t *testing.T, _, path, text string) { write(t, path, text) },
		"replaced by rename": func(t *testing.T, dir, path, text string) {
			write(t, filepath.Join(dir, "new"), text)
			must(t, os.Rename(filepath.Join(dir, "new"), path))
		},
		"removed and made": func(t *testing.T, _, path, text string) {
			must(t, os.Remove(path))
			write(t, path, text)
		},
		"a link turned elsewhere": func(t *testing.T, dir, path, text string) {
			elsewhere := filepath.Join(t.TempDir(), "file")
			write(t, elsewhere, text)
			must(t, os.Symlink(elsewhere, filepath.Join(dir, "link")))
			must(t, os.Rename(filepath.Join(dir, "link"), path))
		},
		"what the link leads to": func(t *testing.T, dir, path, text string) {
			real, err := filepath.EvalSymlinks(path)
			must(t, err)
			write(t, real, text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "file")
			path := filepath.Join(dir, "lvsd.toml")
			write(t, elsewhere, "")
			must(t, os.Symlink(elsewhere, path))
			reported := make(chan string)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- Files(ctx, func() []string { return []string{path} }, 10*time.Millisecond, func() {
					text, _ := os.ReadFile(path)
					select {
					case reported <- string(text):
					case <-ctx.Done():
					}
				})
			}()
			wait := func(text string) {
				t.Helper()
				for limit := time.After(20 * time.Second); ; {
					select {
					case got := <-reported:
						if got == text {
							return
						}
					case <-limit:
						t.Fatalf("%q was never reported", text)
					}
				}
			}
			wait("") // what happened before it looked
			for _, text := range []string{"once", "twice"} {
				change(t, dir, path, text)
				wait(text)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNoFolder: what cannot be watched is reported.
func TestNoFolder(t *testing.T) {
	none := func() []string { return []string{filepath.Join(t.TempDir(), "none", "lvsd.toml")} }
	if err := Files(t.Context(), none, time.Millisecond, func() {}); err == nil {
		t.Error("a folder that is not there is watched")
	}
}

// TestAFolderThatHangs: a disk that does not reply at the start is watched from when it does.
func TestAFolderThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lvsd.toml")
	hangs, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = disk.Within(filepath.Dir(path), func() (struct{}, error) { <-hangs; return struct{}{}, nil })
	}()
	<-ended // it has missed the deadline
	ctx, cancel := context.WithCancel(t.Context())
	seen, done, asked := make(chan struct{}), make(chan error, 1), 0
	paths := func() []string {
		if asked++; asked == 2 { // the start has found that it hangs
			close(hangs)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Error(err)
			}
		}
		return []string{path}
	}
	go func() {
		done <- Files(ctx, paths, time.Millisecond, func() {
			if _, err := os.Stat(path); err == nil {
				close(seen)
				<-ctx.Done()
			}
		})
	}()
	select {
	case <-seen:
	case err := <-done:
		t.Fatalf("it is not watched: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
