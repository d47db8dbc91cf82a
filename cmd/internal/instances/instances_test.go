package instances

import (
	"log/slog"
	"testing"

	"lvsd/config"
	"lvsd/vrrp"
)

// A start accepts an instance whose interface cannot be used yet; a reload does not.
func TestOnlyAStartAwaitsInterfaces(t *testing.T) {
	awaits := map[string]bool{}
	s := New(func(c vrrp.Config) (Engine, error) {
		awaits[c.Name] = c.AwaitInterface
		return &recorder{}, nil
	}, slog.New(slog.DiscardHandler))
	first := &config.Config{Instances: []config.Instance{{Name: "web", Interface: "eth0", VRID: 51, Checksum: "rfc5798"}}}
	change, err := s.Read(first)(nil, first)
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
	next := &config.Config{Instances: append(first.Instances, config.Instance{Name: "mail", Interface: "eth1", VRID: 52, Checksum: "rfc5798"})}
	change, err = s.Read(next)(first, next)
	if err != nil {
		t.Fatal(err)
	}
	change.Abort()
	if !awaits["web"] || awaits["mail"] {
		t.Errorf("which await their interface: %v", awaits)
	}
	s.Close()
}
