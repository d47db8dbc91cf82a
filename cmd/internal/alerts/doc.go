// Package alerts contains the alert rules, each as a PromQL expression with its summary
// and description. docs/alerts/lvsd.rules.yml contains the rules for any configuration;
// `lvsd alerts` prints the rules for one configuration.
package alerts
