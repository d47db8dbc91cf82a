package operate_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestMetricsPassPromtool checks all series with Prometheus's own linter.
func TestMetricsPassPromtool(t *testing.T) {
	p, servers := lvsdtest.NewWebPair(t, 2, nil)
	servers[1].Refuse()
	p.LB[0].WaitWeight(p.Real[1].Addr().String()+":80", 0, 5*time.Second)
	p.LB[0].CutCable() // so that transitions are among the series
	p.LB[1].WaitState("master", 30*time.Second)
	for _, d := range p.LB {
		text, err := d.GetAPI("/metrics")
		if err != nil {
			t.Fatal(err)
		}
		file := p.WriteFile(d.Name+".metrics", text)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		out, err := d.Run(ctx, "sh", "-c", "promtool check metrics < "+file)
		cancel()
		if err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("%s: %v\n%s", d.Name, err, out)
		}
		for _, series := range []string{
			`lvsd_vrrp_state{state="master",vrrp="web"}`, `lvsd_vrrp_priority{vrrp="web"}`, `lvsd_virtual_service_up{service="web"}`,
			`lvsd_config_last_reload_successful`, `lvsd_ipvs_up`, `lvsd_ipvs_last_resync_timestamp_seconds`,
			`lvsd_real_server_up{real_server="10.77.0.21:80",service="web"}`, `lvsd_checks_total{real_server="10.77.0.22:80",reason="refused",service="web"}`,
			`lvsd_vrrp_timer_lag_seconds_count`, `lvsd_check_lag_seconds_count`,
		} {
			if !strings.Contains(text, "\n"+series+" ") {
				t.Errorf("%s shows no %s", d.Name, series)
			}
		}
	}
	if got := p.LB[1].Metric(`lvsd_vrrp_state{state="master",vrrp="web"}`); got != "1" {
		t.Errorf("state of the master: %s", got)
	}

	// A reload disables the series of each server; their sums stay.
	p.WriteFile("lvsd.toml", strings.Replace(p.Config(), "[global]\n", "[global]\nper_server_metrics = false\n", 1))
	p.LB[1].MustReload()
	if got := p.LB[1].Metric(`lvsd_virtual_service_real_servers{service="web",state="up"}`); got != "1" {
		t.Errorf("sum of servers up: %s", got)
	}
	if text, err := p.LB[1].GetAPI("/metrics"); err != nil || strings.Contains(text, "real_server=") {
		t.Errorf("series of servers are still exported: %v", err)
	}
}
