package instances

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvsd/cmd/internal/persist"
	"lvsd/config"
	"lvsd/vrrp"
)

// recorder records the configuration that an engine was given last.
type recorder struct{ config vrrp.Config }

func (r *recorder) Run(context.Context) error    { return nil }
func (r *recorder) Close() error                 { return nil }
func (r *recorder) Update(c vrrp.Config)         { r.config = c }
func (r *recorder) HandOver()                    {}
func (r *recorder) SetTracked(string, int, bool) {}
func (r *recorder) Status() vrrp.Status          { return vrrp.Status{} }

// TestKeysAreReadAtAReloadOnly: when the disk of a key file is gone, an instance can still
// be put into standby, and keeps its key until a reload has read another one.
func TestKeysAreReadAtAReloadOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	engine := &recorder{}
	s := New(func(c vrrp.Config) (Engine, error) { engine.config = c; return engine, nil }, slog.New(slog.DiscardHandler))
	c := &config.Config{Instances: []config.Instance{{Name: "web", Interface: "eth0", VRID: 51, Checksum: "rfc5798",
		Authentication: config.Authentication{Type: "hmac", KeyFile: file}}}}
	reload := func() error {
		change, err := s.Read(c)(nil, c)
		if err == nil {
			change.Commit()
		}
		return err
	}
	if err := reload(); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "web") {
		t.Errorf("without a file: %v", err)
	}
	const first, second = "1 0123456789abcdef\n", "2 0123456789abcdef\n"
	for _, key := range []string{first, second} {
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := reload(); err != nil || engine.config.Authentication.Key != key {
			t.Errorf("key %q, %v, want %q", engine.config.Authentication.Key, err, key)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.SetStandby(map[string]persist.Standby{"web": {}})
	if got := engine.config; !got.Standby || got.Authentication.Key != second {
		t.Errorf("on standby: %v, key %q", got.Standby, got.Authentication.Key)
	}
	if err := reload(); err == nil {
		t.Error("a reload without the file")
	}
	s.Close()
}
