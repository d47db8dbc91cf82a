// The directors' exchange: each shows the other, and where they differ.

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// exchangePair is a running pair of web servers whose directors tell each other
// how they are.
func exchangePair(t *testing.T, servers int) *pair {
	t.Helper()
	p, _ := webPair(t, servers, func(p *pair) {
		for _, d := range p.lb {
			p.WriteFile(d.Name+".key", "1 0123456789abcdef0123456789abcdef\n")
			p.chmod(d.Name + ".key")
		}
		p.file = p.WriteFile("lvsd.toml", p.config()+fmt.Sprintf("[pair]\nlisten = \":8113\"\nkey_file = { lb1 = %q, lb2 = %q }\n",
			p.Path("lb1.key"), p.Path("lb2.key")))
	})
	return p
}

// chmod makes a key file what it must be.
func (p *pair) chmod(name string) {
	if err := os.Chmod(p.Path(name), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// peerStatus is what the tests read of status --json on the other director.
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
			Verdict string `json:"verdict"`
		} `json:"own"`
		Peer struct {
			Verdict string `json:"verdict"`
		} `json:"peer"`
	} `json:"health_differences"`
}

// peer is what a director says of the other.
func (d *director) peer() (peerStatus, []string) {
	var s struct {
		Problems []string     `json:"problems"`
		Peers    []peerStatus `json:"peers"`
	}
	text, err := d.get("/api/v1/status")
	if err != nil || json.Unmarshal([]byte(text), &s) != nil || len(s.Peers) != 1 {
		return peerStatus{}, nil
	}
	return s.Peers[0], s.Problems
}

// names says that one of the problems holds a text.
func names(problems []string, text string) bool {
	return strings.Contains(strings.Join(problems, "\n"), text)
}

// waitPeer waits until what a director says of the other is as wanted.
func (d *director) waitPeer(what string, good func(peerStatus, []string) bool) {
	d.p.t.Helper()
	var last peerStatus
	var problems []string
	defer func() {
		if d.p.t.Failed() {
			d.p.t.Logf("%s says of the other: %+v\nproblems: %q", d.Name, last, problems)
		}
	}()
	d.p.WaitUntil(30*time.Second, what+" on "+d.Name, func() bool {
		last, problems = d.peer()
		return good(last, problems)
	})
}

func well(s peerStatus, problems []string) bool {
	return s.Up && s.Ready && s.ConfigMatches && len(problems) == 0
}

// TestThePairKnowsItself: each director shows the other, and where they are not
// alike: the configuration after a reload of one alone, a real server that only one
// of them reaches, a director that is gone. All of it is a problem, a metric and an
// event, and over when it is over.
func TestThePairKnowsItself(t *testing.T) {
	p := exchangePair(t, 2)
	lb1, lb2 := p.lb[0], p.lb[1]
	for _, d := range p.lb {
		d.waitPeer("both to be well", well)
	}
	if s, _ := lb2.peer(); s.Director != "lb1" || len(s.VRRP) != 1 || s.VRRP[0].State != "master" || !s.VRRP[0].Holding {
		t.Errorf("lb2 says of lb1: %+v", s)
	}
	if out, err := lb2.run("status", "--socket", lb2.socket); err != nil || !contains(out, "director lb2 at ", ": well", "lb2 (here)", "master, 200") {
		t.Errorf("status: %v\n%s", err, out)
	}

	// A reload of one alone.
	text, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	p.WriteFile("lvsd.toml", string(text)+"# another line\n")
	if out, err := lb1.reload(); err != nil {
		t.Fatal(out, err)
	}
	for _, d := range p.lb {
		d.waitPeer("another configuration", func(s peerStatus, problems []string) bool {
			return s.Up && !s.ConfigMatches && names(problems, "runs another configuration") && d.metric(`lvsd_peer_config_matches{director="`+s.Director+`"}`) == "0"
		})
	}
	if out, err := lb1.run("status", "--socket", lb1.socket); err == nil {
		t.Errorf("status with another configuration is healthy:\n%s", out)
	}
	if out, err := lb2.reload(); err != nil {
		t.Fatal(out, err)
	}
	for _, d := range p.lb {
		d.waitPeer("the same configuration", well)
	}

	// lb2 alone does not reach a server.
	broken := p.real[0].Addr().String()
	lb2.MustRun("ip", "route", "add", "unreachable", broken)
	lb1.waitPeer("another view of "+broken, func(s peerStatus, problems []string) bool {
		return len(s.Differences) == 1 && s.Differences[0].RealServer == broken+":80" && s.Differences[0].Own.Verdict == "up" &&
			s.Differences[0].Peer.Verdict == "down" && names(problems, "sees real servers otherwise") &&
			lb1.metric(`lvsd_peer_health_differences{director="lb2"}`) == "1"
	})
	lb2.MustRun("ip", "route", "del", "unreachable", broken)
	for _, d := range p.lb {
		d.waitPeer("both to be well", well)
	}

	// The other is gone.
	if got := lb1.metric(`lvsd_peer_up{director="lb2"}`); got != "1" {
		t.Errorf("lvsd_peer_up %s", got)
	}
	lb2.process.Kill()
	<-lb2.process.Done()
	lb1.waitPeer("lb2 to be gone", func(s peerStatus, problems []string) bool {
		return !s.Up && names(problems, "director lb2 does not answer") && names(problems, "nobody listens") && lb1.metric(`lvsd_peer_up{director="lb2"}`) == "0"
	})
	if got := lb1.metric(`lvsd_peer_config_matches{director="lb2"}`); got != "absent" {
		t.Errorf("lvsd_peer_config_matches %s of a director that is gone", got)
	}
	lb2.start()
	lb1.waitPeer("lb2 to be back", well)

	events, err := lb1.get("/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"configuration differs", "configuration matches", "health differs", "health matches", "down"} {
		if !strings.Contains(events, `"kind":"pair"`) || !strings.Contains(events, `"to":"`+want+`"`) {
			t.Errorf("no event %q", want)
		}
	}
}

// TestPairWithAnotherKey: a director with another key is not believed and says why,
// a stranger gets nothing, and a reload with the right key mends it.
func TestPairWithAnotherKey(t *testing.T) {
	p := exchangePair(t, 1)
	lb1, lb2 := p.lb[0], p.lb[1]
	lb1.waitPeer("both to be well", well)
	p.WriteFile("lb2.key", "1 another-secret-than-that-of-lb1\n")
	if out, err := lb2.reload(); err != nil {
		t.Fatal(out, err)
	}
	for _, d := range p.lb {
		d.waitPeer("the other to be refused", func(s peerStatus, problems []string) bool {
			return !s.Up && names(problems, "another secret under the same number") && d.metric(`lvsd_peer_up{director="`+s.Director+`"}`) == "0"
		})
		if d.metric(`lvsd_pair_refused_total{reason="proof"}`) == "0" {
			t.Errorf("%s counts no refusal", d.Name)
		}
	}
	if n := strings.Count(lb1.process.Output(), "a question was refused"); n != 1 {
		t.Errorf("%d lines about refusals", n)
	}
	// Somebody else on the LAN.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := p.client.Dial(ctx, "tcp", lb1.Addr().String()+":8113")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	said, _ := io.ReadAll(conn)
	if len(said) != 12 || lb1.metric(`lvsd_pair_refused_total{reason="address"}`) != "1" {
		t.Errorf("a stranger heard %q", said)
	}
	// Others must not read the key: the reload is refused, and what was runs on.
	p.WriteFile("lb2.key", "1 0123456789abcdef0123456789abcdef\n")
	if err := os.Chmod(p.Path("lb2.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := lb2.reload(); err == nil || !strings.Contains(out, "chmod 0600") {
		t.Errorf("a key that all can read: %v\n%s", err, out)
	}
	p.chmod("lb2.key")
	if out, err := lb2.reload(); err != nil {
		t.Fatal(out, err)
	}
	for _, d := range p.lb {
		d.waitPeer("both to be well", well)
	}
}
