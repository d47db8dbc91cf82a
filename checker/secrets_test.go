package checker

import (
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"net"
	"strings"
	"testing"
	"time"
)

// TestNoSecretIsShown: neither what was sent nor a server that repeats it puts a secret
// into a transcript, a result or a history.
func TestNoSecretIsShown(t *testing.T) {
	const secret = "Xq7Zt0Lw4Kp9"
	echo := checktest.Serve(t, func(c net.Conn) {
		said := checktest.ReadRequest(c)
		c.Write([]byte("HTTP/1.1 401 no " + strings.Fields(said[strings.Index(said, "Bearer"):])[1] + "\r\n\r\n"))
	})
	c := probe.Check{Type: probe.TypeHTTP, Address: echo, Headers: map[string]string{"Authorization": "Bearer " + secret}, Secrets: []string{"Bearer " + secret, secret},
		Interval: 50 * time.Millisecond, Timeout: checktest.Patience, Rise: 1, Fall: 1}
	once, err := probe.Once(t.Context(), c)
	if err != nil || once.Reason != outcome.Status || !strings.Contains(once.Detail, "401 no ...") {
		t.Errorf("%+v, %v", once.Result, err)
	}
	sent := false
	for _, l := range once.Steps {
		sent = sent || strings.Contains(l.Text, "Authorization: ...")
		if strings.Contains(l.Text, secret) {
			t.Errorf("the transcript shows it: %s", l.Text)
		}
	}
	if !sent {
		t.Errorf("the request is not in the transcript: %+v", once.Steps)
	}
	e, stop := engineOn(t, []Target{{ID: id(1), Checks: []probe.Check{c}}})
	checktest.Eventually(t, "a state", func() bool { return e.Health()[id(1)].State == Down })
	stop()
	h, _ := e.Explain(id(1))
	if !strings.Contains(h.Detail, "401 no ...") || strings.Contains(h.Checks[0].History[0].Detail, secret) {
		t.Errorf("%+v", h)
	}
}
