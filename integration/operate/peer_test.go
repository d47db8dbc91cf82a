// The exchange between directors: each shows the other, and where they differ.

package operate_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// exchangePair returns a running pair with [peers].
func exchangePair(t *testing.T, servers int) *lvsdtest.Pair {
	t.Helper()
	p, _ := lvsdtest.NewWebPair(t, servers, func(p *lvsdtest.Pair) {
		p.WriteConfigText(p.Config() + p.PeerConfig())
	})
	return p
}

// peerStatus is what the tests read of the other director in status --json.
type peerStatus struct {
	Director      string `json:"director"`
	Up            bool   `json:"up"`
	Error         string `json:"error"`
	Ready         bool   `json:"ready"`
	ConfigHash    string `json:"config_hash"`
	ConfigMatches bool   `json:"config_matches"`
	VRRP          []struct {
		Name    string `json:"name"`
		State   string `json:"state"`
		Holding bool   `json:"holding"`
	} `json:"vrrp"`
	Differences []struct {
		Service    string `json:"service"`
		RealServer string `json:"real_server"`
		Own        struct {
			Health string `json:"verdict"`
		} `json:"own"`
		Peer struct {
			Health string `json:"verdict"`
		} `json:"peer"`
	} `json:"health_differences"`
}

// peerOf returns the status of the other director, and the problems, in the status of d.
func peerOf(d *lvsdtest.Director) (peerStatus, []string) {
	var s struct {
		Problems []string     `json:"problems"`
		Peers    []peerStatus `json:"peers"`
	}
	text, err := d.GetAPI("/api/v1/status")
	if err != nil || json.Unmarshal([]byte(text), &s) != nil || len(s.Peers) != 1 {
		return peerStatus{}, nil
	}
	return s.Peers[0], s.Problems
}

// waitPeer waits until the status of the other director satisfies good.
func waitPeer(d *lvsdtest.Director, what string, good func(peerStatus, []string) bool) {
	d.Pair.T.Helper()
	var last peerStatus
	var problems []string
	defer func() {
		if d.Pair.T.Failed() {
			d.Pair.T.Logf("status of the peer on %s: %+v\nproblems: %q", d.Name, last, problems)
		}
	}()
	d.Pair.WaitUntil(30*time.Second, what+" on "+d.Name, func() bool {
		last, problems = peerOf(d)
		return good(last, problems)
	})
}

// healthy reports whether the peer is up and nothing differs.
func healthy(s peerStatus, problems []string) bool {
	return s.Up && s.Ready && s.ConfigMatches && len(problems) == 0
}

// TestPeerExchange: each director shows the other, and the differences: another
// configuration after a reload of one, a real server that only one reaches, a director
// that is down. Each is a problem, a metric and an event, which end with the difference.
func TestPeerExchange(t *testing.T) {
	p := exchangePair(t, 2)
	lb1, lb2 := p.LB[0], p.LB[1]
	for _, d := range p.LB {
		waitPeer(d, "no difference", healthy)
	}
	waitPeer(lb2, "lb1 to be master", func(s peerStatus, _ []string) bool {
		return s.Director == "lb1" && len(s.VRRP) == 1 && s.VRRP[0].State == "master" && s.VRRP[0].Holding
	})
	if out, err := lb2.LVSD("status", "--socket", lb2.Socket); err != nil || !lvsdtest.ContainsAll(out, "director lb2: OK", "lb2 (here)", "master, 200") {
		t.Errorf("status: %v\n%s", err, out)
	}

	// A reload of one director.
	p.WriteConfigText(p.ConfigText() + "# another line\n")
	lb1.MustReload()
	for _, d := range p.LB {
		waitPeer(d, "another configuration", func(s peerStatus, problems []string) bool {
			return s.Up && !s.ConfigMatches && lvsdtest.AnyContains(problems, "runs another configuration") && d.Metric(`lvsd_peer_config_matches{director="`+s.Director+`"}`) == "0"
		})
	}
	if out, err := lb1.LVSD("status", "--socket", lb1.Socket); err == nil {
		t.Errorf("status with another configuration is healthy:\n%s", out)
	}
	lb2.MustReload()
	for _, d := range p.LB {
		waitPeer(d, "the same configuration", healthy)
	}

	// lb2 does not reach a server.
	broken := p.Real[0].Addr().String()
	lb2.MustRun("ip", "route", "add", "unreachable", broken)
	waitPeer(lb1, "another view of "+broken, func(s peerStatus, problems []string) bool {
		return len(s.Differences) == 1 && s.Differences[0].RealServer == broken+":80" && s.Differences[0].Own.Health == "up" &&
			s.Differences[0].Peer.Health == "down" && lvsdtest.AnyContains(problems, "health of real servers differs") &&
			lb1.Metric(`lvsd_peer_health_differences{director="lb2"}`) == "1"
	})
	lb2.MustRun("ip", "route", "del", "unreachable", broken)
	for _, d := range p.LB {
		waitPeer(d, "no difference", healthy)
	}

	// The other is down.
	if got := lb1.Metric(`lvsd_peer_up{director="lb2"}`); got != "1" {
		t.Errorf("lvsd_peer_up %s", got)
	}
	lb2.KillDaemon()
	waitPeer(lb1, "lb2 to be gone", func(s peerStatus, problems []string) bool {
		return !s.Up && lvsdtest.AnyContains(problems, "director lb2 does not answer") && lvsdtest.AnyContains(problems, "connection refused") && lb1.Metric(`lvsd_peer_up{director="lb2"}`) == "0"
	})
	if got := lb1.Metric(`lvsd_peer_config_matches{director="lb2"}`); got != "absent" {
		t.Errorf("lvsd_peer_config_matches %s of a director that is down", got)
	}
	lb2.StartDaemon()
	waitPeer(lb1, "lb2 to be back", healthy)

	events, err := lb1.GetAPI("/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"configuration differs", "configuration matches", "health differs", "health matches", "down"} {
		if !strings.Contains(events, `"kind":"peer"`) || !strings.Contains(events, `"to":"`+want+`"`) {
			t.Errorf("no event %q", want)
		}
	}
}

// TestPeerExchangeWithAnotherKey: a director with another key is refused and reports why,
// a client without a key receives nothing, and a reload with the right key restores the
// exchange.
func TestPeerExchangeWithAnotherKey(t *testing.T) {
	p := exchangePair(t, 1)
	lb1, lb2 := p.LB[0], p.LB[1]
	waitPeer(lb1, "no difference", healthy)
	p.WriteFile("lb2.key", "1 another-secret-than-that-of-lb1\n")
	lb2.MustReload()
	for _, d := range p.LB {
		waitPeer(d, "the other to be refused", func(s peerStatus, problems []string) bool {
			return !s.Up && lvsdtest.AnyContains(problems, "a different secret with the same number") && d.Metric(`lvsd_peer_up{director="`+s.Director+`"}`) == "0"
		})
		if d.Metric(`lvsd_peer_refused_total{reason="proof"}`) == "0" {
			t.Errorf("no refusal counted on %s", d.Name)
		}
	}
	if n := strings.Count(lb1.Process.Output(), "peers: a request was refused"); n != 1 {
		t.Errorf("%d lines about refusals", n)
	}
	// Another host on the LAN.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := p.Client.Dial(ctx, "tcp", lb1.Addr().String()+":8113")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	received, _ := io.ReadAll(conn)
	if len(received) != 12 || lb1.Metric(`lvsd_peer_refused_total{reason="address"}`) != "1" {
		t.Errorf("another host received %q", received)
	}
	// A key that other users can read is refused at a reload.
	p.WriteFile("lb2.key", lvsdtest.AuthKey)
	if err := os.Chmod(p.Path("lb2.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := lb2.Reload(); err == nil || !strings.Contains(out, "chmod 0600") {
		t.Errorf("a key that all can read: %v\n%s", err, out)
	}
	p.WritePrivate("lb2.key", lvsdtest.AuthKey)
	lb2.MustReload()
	for _, d := range p.LB {
		waitPeer(d, "no difference", healthy)
	}
}
