package oncall_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestOncallAlertmanagerWebhook posts to a real Alertmanager: the failure of a server
// raises an alert there, and its recovery resolves it.
func TestOncallAlertmanagerWebhook(t *testing.T) {
	var w *monitoring
	p, servers := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) {
		w = newMonitoring(p)
		p.WriteConfigText(strings.Replace(p.Config(), "[global]", fmt.Sprintf("[global]\nwebhook = \"http://%s/api/v2/alerts\"\nwebhook_format = \"alertmanager\"", managerAt), 1))
		manager := p.WriteFile("alertmanager.yml", "route: { receiver: none }\nreceivers: [{ name: none }]\n")
		w.host.Start("prometheus-alertmanager", "--config.file", manager, "--storage.path", p.Path("alertmanager"), "--web.listen-address", managerAt, "--cluster.listen-address=")
		p.WaitUntil(4*time.Minute, "Alertmanager to be ready", func() bool {
			status, _, err := w.host.Get("http://" + managerAt + "/-/ready")
			return err == nil && status == http.StatusOK
		})
	})
	// active returns the directors whose alert about the server is active.
	active := func() (directors []string) {
		_, body, err := w.host.Get("http://" + managerAt + "/api/v2/alerts?filter=alertname%3DLvsdRealServerDown")
		var all []struct {
			Labels map[string]string `json:"labels"`
		}
		if err != nil || json.Unmarshal([]byte(body), &all) != nil {
			return nil
		}
		for _, a := range all {
			if a.Labels["service"] == "web" && a.Labels["real_server"] == p.Real[1].Addr().String()+":80" {
				directors = append(directors, a.Labels["director"])
			}
		}
		return directors
	}
	servers[1].Stop()
	p.WaitUntil(30*time.Second, "an alert of each director", func() bool { return len(active()) == 2 })
	servers[1].Start()
	p.WaitUntil(30*time.Second, "no active alert", func() bool { return len(active()) == 0 })
	for _, d := range p.LB {
		if got := d.Metric("lvsd_notify_failures_total"); got != "0" {
			t.Errorf("%s counts %s failures", d.Name, got)
		}
	}
}
