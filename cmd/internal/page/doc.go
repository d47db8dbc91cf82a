// Package page is the status page: one HTML document with its style and script, which
// reads the API.
package page
