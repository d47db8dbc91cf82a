// Package charts keeps the last ten minutes of each service's and real server's
// connections and rates for the status page. Its memory is bounded; nothing is
// written to disk, and no decision reads it.
package charts
