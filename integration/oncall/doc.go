// Package oncall tests what is on the screen at night: alerting rules, dashboard and
// runbook with a real Prometheus and Alertmanager, and the status page in a real
// browser. `make test-oncall` runs it.
package oncall
