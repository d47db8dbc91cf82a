package persist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/disk"
	"lvsd/integration/lab"
	"lvsd/integration/lab/fusedisk"
	"lvsd/ipvs"
)

// recorded are the records with functions that write and read them.
var recorded = []struct {
	name string
	save func(*Dir) error
	load func(*Dir) (found bool, err error)
}{
	{"owned",
		func(d *Dir) error {
			return d.Ledger().Save(ipvs.Owned{{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort("10.0.0.88:80")}: {}})
		},
		func(d *Dir) (bool, error) { owned, err := d.Ledger().Load(); return len(owned) > 0, err }},
	{"addresses",
		func(d *Dir) error { return d.SaveAddresses(Addresses{Instances: []Instance{{Name: "web"}}}) },
		func(d *Dir) (bool, error) { a, err := d.LoadAddresses(); return len(a.Instances) > 0, err }},
	{"standby",
		func(d *Dir) error { return d.SaveStandby(map[string]Standby{"web": {}}) },
		func(d *Dir) (bool, error) { held, err := d.LoadStandby(); return len(held) > 0, err }},
	{"sysctls",
		func(d *Dir) error { return d.SaveSysctls(map[string]string{"net.ipv4.conf.eth0.rp_filter": "1"}) },
		func(d *Dir) (bool, error) { found, err := d.LoadSysctls(); return len(found) > 0, err }},
}

// TestDamagedRecords: each record in each state of damage is reported, renamed and
// shown, its content is not used, and the next write works.
func TestDamagedRecords(t *testing.T) {
	damages := map[string]func(t *testing.T, path string, whole []byte){
		"empty":     func(t *testing.T, path string, _ []byte) { put(t, path, nil) },
		"garbage":   func(t *testing.T, path string, _ []byte) { put(t, path, []byte("\x00\xff{")) },
		"cut short": func(t *testing.T, path string, whole []byte) { put(t, path, whole[:len(whole)/2]) },
		"of a newer version": func(t *testing.T, path string, _ []byte) {
			put(t, path, []byte(`{"version":2,"elections":7,"services":7}`))
		},
		"of the wrong types": func(t *testing.T, path string, _ []byte) { put(t, path, []byte(`[1]`)) },
		"a folder":           func(t *testing.T, path string, _ []byte) { must(t, path, os.Mkdir(path, 0o700)) },
		"a FIFO":             func(t *testing.T, path string, _ []byte) { must(t, path, unix.Mkfifo(path, 0o600)) },
		"a link to a device": func(t *testing.T, path string, _ []byte) { must(t, path, os.Symlink("/dev/zero", path)) },
		"larger than allowed": func(t *testing.T, path string, _ []byte) {
			put(t, path, nil)
			must(t, path, os.Truncate(path, recordLimit+1))
		},
	}
	for _, r := range recorded {
		for name, damage := range damages {
			t.Run(r.name+" "+name, func(t *testing.T) {
				d, err := Open(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				path := filepath.Join(d.Path(), r.name)
				if err := r.save(d); err != nil {
					t.Fatal(err)
				}
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				damage(t, path, whole)
				found, err := r.load(d)
				if found || err == nil || !strings.Contains(err.Error(), path) {
					t.Fatalf("found %v, %v", found, err)
				}
				if name != "larger than allowed" { // which the disk may have less room to keep
					if p := d.Problems(); len(p) != 1 || !strings.Contains(p[0], path+badSuffix) {
						t.Errorf("problems: %q", p)
					}
				}
				if _, err := os.Lstat(path + badSuffix); err == nil {
					if found, err := r.load(d); found || err != nil {
						t.Errorf("after it was set aside: %v, %v", found, err)
					}
				}
				if err := r.save(d); err != nil {
					t.Error(err)
				}
				if found, err := r.load(d); !found || err != nil {
					t.Errorf("written again: %v, %v", found, err)
				}
			})
		}
	}
}

func put(t *testing.T, path string, text []byte) {
	t.Helper()
	must(t, path, os.WriteFile(path, text, 0o600))
}

func must(t *testing.T, path string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// inDisk runs the rest of a test as another process, in which a folder is a file system
// with these mount options. It returns the folder there, and "" in the test itself, which
// has nothing left to do.
func inDisk(t *testing.T, options string, prepare func(folder string)) string {
	t.Helper()
	if folder := os.Getenv("LVSD_TEST_DISK"); folder != "" {
		if err := unix.Mount("tmpfs", folder, "tmpfs", 0, options); err != nil {
			t.Fatal(err)
		}
		prepare(folder)
		return folder
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "LVSD_TEST_DISK="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) { // of clone(2)
		lab.Require(t, fmt.Errorf("this machine lets no user mount a file system: %w", err))
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return ""
}

// TestReadOnlyDisk: a director starts on a disk that became read-only, reads what is
// there, locks out a second one and reports what is lost, until it can write.
func TestReadOnlyDisk(t *testing.T) {
	folder := inDisk(t, "", func(folder string) {
		before, err := Open(filepath.Join(folder, "state"))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recorded {
			if err := r.save(before); err != nil {
				t.Fatal(err)
			}
		}
		before.Close()
		must(t, folder, unix.Mount("", folder, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	})
	if folder == "" {
		return
	}
	path := filepath.Join(folder, "state")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Writable() {
		t.Error("it counts as writable")
	}
	if p := d.Problems(); len(p) != 1 || !strings.Contains(p[0], "read-only") || !strings.Contains(p[0], path) {
		t.Errorf("problems: %q", p)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "another lvsd") {
		t.Errorf("a second daemon: %v", err)
	}
	for _, r := range recorded {
		if found, err := r.load(d); !found || err != nil {
			t.Errorf("%s: %v, %v", r.name, found, err)
		}
		if err := r.save(d); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s was written: %v", r.name, err)
		}
	}
	none, err := Open(filepath.Join(folder, "none"))
	if err != nil || len(none.Problems()) != 1 {
		t.Fatalf("a folder that cannot be made: %v", err)
	}
	if err := none.Close(); err != nil {
		t.Error(err)
	}
	plan := ofWeight(3)
	w := writer{dir: d, log: slog.New(slog.DiscardHandler), decided: func() *decision.Decision { return plan }}
	w.write()
	if p := d.Problems(); len(p) != 1 || !strings.Contains(p[0], "cannot be saved") {
		t.Errorf("problems: %q", p)
	}
	must(t, folder, unix.Mount("", folder, "", unix.MS_REMOUNT, ""))
	w.write()
	if p := d.Problems(); p != nil || !d.Writable() {
		t.Errorf("problems of a disk that can be written again: %q", p)
	}
}

// TestBrokenDisk: a director starts on a disk that fails at everything, and reports it.
func TestBrokenDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	broken := fusedisk.New(t, path)
	for _, failure := range []unix.Errno{unix.EIO, unix.EUCLEAN, unix.ESTALE, unix.ENOTCONN} {
		broken.Fail(failure)
		d, err := Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if p := d.Problems(); len(p) != 1 || !strings.Contains(p[0], failure.Error()) || !strings.Contains(p[0], path) {
			t.Errorf("%v: problems: %q", failure, p)
		}
		for _, r := range recorded {
			if err := r.save(d); !errors.Is(err, failure) {
				t.Errorf("%v: %s was written: %v", failure, r.name, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFullDisk: a director starts on a full disk; no record is lost by a write that
// fails.
func TestFullDisk(t *testing.T) {
	folder := inDisk(t, "size=64k", func(folder string) {
		before, err := Open(filepath.Join(folder, "state"))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recorded {
			if err := r.save(before); err != nil {
				t.Fatal(err)
			}
		}
		before.Close()
		if err := os.WriteFile(filepath.Join(folder, "large"), make([]byte, 64<<10), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
	})
	if folder == "" {
		return
	}
	d, err := Open(filepath.Join(folder, "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, r := range recorded {
		if err := r.save(d); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s was written: %v", r.name, err)
		}
		if found, err := r.load(d); !found || err != nil {
			t.Errorf("%s: %v, %v", r.name, found, err)
		}
	}
	plan := ofWeight(3)
	w := writer{dir: d, log: slog.New(slog.DiscardHandler), decided: func() *decision.Decision { return plan }}
	w.write()
	if p := d.Problems(); len(p) != 1 || !strings.Contains(p[0], "make room") {
		t.Errorf("problems: %q", p)
	}
	must(t, folder, os.Remove(filepath.Join(folder, "large")))
	w.write()
	if p := d.Problems(); p != nil {
		t.Errorf("problems of a disk with room: %q", p)
	}
}

// TestLedgerOnAHangingDisk: the reconciler waits once and for a limited time, and its
// newest record is written when the disk replies.
func TestLedgerOnAHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		reply := make(chan struct{})
		l := d.Ledger().(*ledger)
		write := l.writer.Write
		l.writer.Write = func(o ipvs.Owned) error { <-reply; return write(o) }
		begin := time.Now()
		for range 5 {
			if err := l.Save(ipvs.Owned{}); !errors.Is(err, disk.ErrHangs) || !strings.Contains(err.Error(), d.Path()) {
				t.Errorf("%v", err)
			}
		}
		if took := time.Since(begin); took != ledgerWait {
			t.Errorf("it waited %v", took)
		}
		close(reply)
		synctest.Wait()
		want := ipvs.Owned{{Mark: 7}: {}}
		if err := l.Save(want); err != nil {
			t.Error(err)
		}
		if got, err := l.Load(); err != nil || !got.Equal(want) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// TestDiskThatStopsReplying: a disk that hangs under a running daemon is a problem for as long
// as it does.
func TestDiskThatStopsReplying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		reply, ended := make(chan struct{}), make(chan error)
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			ended <- d.WriteDecisions(ctx, slog.New(slog.DiscardHandler), func() *decision.Decision { <-reply; return nil })
		}()
		time.Sleep(saveInterval + disk.Deadline)
		if p := d.Problems(); p != nil {
			t.Errorf("too early: %q", p)
		}
		time.Sleep(time.Second)
		if p := strings.Join(d.Problems(), ""); !strings.Contains(p, d.Path()) || !strings.Contains(p, disk.ErrHangs.Error()) {
			t.Errorf("problems: %q", p)
		}
		close(reply)
		synctest.Wait()
		if p := d.Problems(); p != nil {
			t.Errorf("afterwards: %q", p)
		}
		stop()
		<-ended
	})
}

// TestDamagedDecisionFile: anything but a file, or one that is too large, is reported
// and never waited for.
func TestDamagedDecisionFile(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	must(t, d.decisionFile(), unix.Mkfifo(d.decisionFile(), 0o600))
	var log bytes.Buffer
	if p := d.LoadDecision(slog.New(slog.NewTextHandler(&log, nil)), time.Now()); p != nil || !strings.Contains(log.String(), "not a regular file") {
		t.Errorf("%v, %s", p, &log)
	}
}

// FuzzRecords: whatever a file of state_dir holds, it is read or renamed with an error
// that names it, and the next write and read work.
func FuzzRecords(f *testing.F) {
	for i := range recorded {
		for _, text := range []string{"", "{", `{"version":1}`, `{"version":2}`, `{"version":1,"services":[{"protocol":6,"address":"10.0.0.88:80","destinations":["10.0.1.1:80"]}]}`,
			`{"version":1,"elections":[{"name":"web","addresses":["10.0.0.88/32"]}]}`, `{"version":1,"elections":{"web":{"since":"2026-01-02T03:04:05Z"}}}`, `{"boot":"x","settings":{"a":"1"}}`} {
			f.Add(uint(i), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, which uint, text []byte) {
		r := recorded[which%uint(len(recorded))]
		d, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		path := filepath.Join(d.Path(), r.name)
		put(t, path, text)
		if _, err := r.load(d); err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%v", err)
			}
			if kept, err := os.ReadFile(path + badSuffix); err != nil || !bytes.Equal(kept, text) {
				t.Errorf("kept %q, %v", kept, err)
			}
		}
		if err := r.save(d); err != nil {
			t.Error(err)
		}
		if found, err := r.load(d); !found || err != nil {
			t.Errorf("written again: %v, %v", found, err)
		}
	})
}

// FuzzLastGood: a copy that is used is whole.
func FuzzLastGood(f *testing.F) {
	d, err := Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { d.Close() })
	if err := d.SaveLastGood(LastGood{Director: "lb1", Text: "a = 1\n"}); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(runningPath(d.Path()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-2])
	f.Add([]byte(runningMark + "{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		put(t, runningPath(d.Path()), text)
		got, err := ReadLastGood(d.Path())
		if err == nil && !bytes.HasPrefix(text, []byte(got.Text+runningMark)) {
			t.Errorf("%q from %q", got.Text, text)
		}
	})
}
