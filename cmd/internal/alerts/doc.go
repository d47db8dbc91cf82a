// Package alerts has the alert rules, each as a PromQL expression with its summary
// and description. docs/alerts/lvsd.rules.yml are the rules for any configuration;
// lvsd alerts prints those for one.
package alerts
