// What the configuration manual of HAProxy documents of its agent-check and tcp-check, as
// far as lvsd has the same. It differs in one thing: an agent that does not answer is a
// failure here.

package probe

import (
	"bufio"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"net"
	"strings"
	"testing"
	"time"
)

// TestHAProxyAgent: agent-check. Each report follows those before it.
func TestHAProxyAgent(t *testing.T) {
	type report = outcome.AgentReport
	for _, tt := range []struct {
		behaviour string
		answers   []string
		want      report
		reason    outcome.Reason
	}{
		{"a percentage is of the configured weight", []string{"75%\n"}, report{Weight: 75}, outcome.OK},
		{"a weight of zero takes no new connections", []string{"0%\n"}, report{Weight: 0}, outcome.OK},
		{"words are delimited by spaces, tabs and commas, in any order", []string{"up,50%\tmaint \r\n"}, report{Weight: 50, Maint: true}, outcome.OK},
		{"the line end is optional", []string{"drain"}, report{Weight: 100, Drain: true}, outcome.OK},
		{"what follows the first line does not count", []string{"up\ndown\n"}, report{Weight: 100}, outcome.OK},
		{"a carriage return ends the line", []string{"up\rdown\n"}, report{Weight: 100}, outcome.OK},
		{"case does not matter", []string{"DrAiN\n"}, report{Weight: 100, Drain: true}, outcome.OK},
		{"maxconn is accepted", []string{"maxconn:30\n"}, report{Weight: 100}, outcome.OK},
		{"ready cancels drain", []string{"drain\n", "ready\n"}, report{Weight: 100}, outcome.OK},
		{"ready cancels maint", []string{"maint\n", "ready\n"}, report{Weight: 100}, outcome.OK},
		{"up cancels neither", []string{"drain\n", "up\n"}, report{Weight: 100, Drain: true}, outcome.OK},
		{"ready does not cancel down", []string{"down\n", "ready\n"}, report{Weight: 100, Down: true}, outcome.Agent},
		{"up cancels down", []string{"failed\n", "up\n"}, report{Weight: 100}, outcome.OK},
		{"down", []string{"down # no disk, up soon\n"}, report{Weight: 100, Down: true}, outcome.Agent},
		{"failed", []string{"failed#no disk\n"}, report{Weight: 100, Down: true}, outcome.Agent},
		{"fail", []string{"fail\n"}, report{Weight: 100, Down: true}, outcome.Agent},
		{"stopped", []string{"stopped\n"}, report{Weight: 100, Down: true}, outcome.Agent},
		{"what is not advertised is not changed", []string{"40% drain\n", "up\n", "\n"}, report{Weight: 40, Drain: true}, outcome.OK},
		{"a load alone does not touch the state", []string{"maint\n", "90%\n"}, report{Weight: 90, Maint: true}, outcome.OK},
		{"nor the state the load", []string{"30%\n", "maint\n", "ready up\n"}, report{Weight: 30}, outcome.OK},
	} {
		t.Run(tt.behaviour, func(t *testing.T) {
			next := make(chan string, len(tt.answers))
			to := checktest.Serve(t, func(c net.Conn) { io.WriteString(c, <-next) })
			p, err := NewProber(&Check{Type: TypeAgent, Address: to}, NewShared())
			if err != nil {
				t.Fatal(err)
			}
			var out outcome.Outcome
			for _, answer := range tt.answers {
				next <- answer
				out = p.Probe(t.Context(), time.Now().Add(checktest.Patience))
			}
			if out.Reason != tt.reason || out.Report == nil || *out.Report != tt.want {
				t.Errorf("%s %q, report %+v; want %s, %+v", out.Reason, out.Detail, out.Report, tt.reason, tt.want)
			}
		})
	}
}

// TestHAProxyTCPCheck: the rules of tcp-check send, send-binary and expect, with the
// examples of the manual.
func TestHAProxyTCPCheck(t *testing.T) {
	redis := func(role string) func(net.Conn) {
		return func(c net.Conn) {
			for in := bufio.NewScanner(c); in.Scan(); {
				switch strings.ToLower(in.Text()) {
				case "ping":
					io.WriteString(c, "+PONG\r\n")
				case "info replication":
					io.WriteString(c, "$20\r\n# Replication\r\nrole:"+role+"\r\n\r\n")
				case "quit":
					io.WriteString(c, "+OK\r\n")
					return
				}
			}
		}
	}
	says := func(s string) func(net.Conn) {
		return func(c net.Conn) { io.WriteString(c, s); io.Copy(io.Discard, c) }
	}
	master := []Step{{Send: "PING\r\n", ExpectText: "+PONG"}, {Send: "info replication\r\n", ExpectText: "role:master"}, {Send: "QUIT\r\n", ExpectText: "+OK"}}
	for _, tt := range []struct {
		behaviour string
		server    func(net.Conn)
		steps     []Step
		reason    outcome.Reason
	}{
		{"the redis master", redis("master"), master, outcome.OK},
		{"a redis slave", redis("slave"), master, outcome.Body},
		{"binary is sent and expected", redis("master"), []Step{{Send: "\x50\x49\x4e\x47\x0d\x0a", ExpectText: "\x2bPONG"}}, outcome.OK},
		{"string: the exact text, no expression", says("+OK POP3 ready\r\n"), []Step{{ExpectText: "+OK POP3 ready"}}, outcome.OK},
		{"string: anywhere in the buffer", says("* hello\r\n* OK IMAP4 ready\r\n"), []Step{{ExpectText: "* OK IMAP4 ready"}}, outcome.OK},
		{"rstring: an expression", says("HTTP/1.0 302 Found\r\n"), []Step{{Expect: " (2..|3..) "}}, outcome.OK},
		{"rstring that does not match", says("HTTP/1.0 503 No\r\n"), []Step{{Expect: " (2..|3..) "}}, outcome.Body},
		{"! fails on what must not come", says("+OK ready, read-only\r\n"), []Step{{Expect: `^\+OK`, ExpectNot: "read-only"}}, outcome.Body},
		{"! accepts all else", says("+OK ready\r\n"), []Step{{Expect: `^\+OK`, ExpectNot: "read-only"}}, outcome.OK},
		{"past a null octet, where HAProxy does not look", says("a\x00b+OK\r\n"), []Step{{ExpectText: "+OK"}}, outcome.OK},
		{"two steps see one answer in parts", says("220 mail\r\n250 ok\r\n"), []Step{{ExpectText: "220"}, {ExpectText: "250"}}, outcome.OK},
		{"the server closes before it has matched", func(c net.Conn) { io.WriteString(c, "no") }, []Step{{ExpectText: "yes"}}, outcome.Body},
		{"the server closes at once", func(net.Conn) {}, []Step{{ExpectText: "yes"}}, outcome.Closed},
	} {
		t.Run(tt.behaviour, func(t *testing.T) {
			c := Check{Type: TypeTCP, Address: checktest.Serve(t, tt.server), Steps: tt.steps}
			if tt.reason == outcome.Body {
				c.Timeout = checktest.Hurry
			}
			if got := once(t, c); got.Reason != tt.reason {
				t.Errorf("%s in %s: %s; want %s", got.Reason, got.Phase, got.Detail, tt.reason)
			}
		})
	}
}
