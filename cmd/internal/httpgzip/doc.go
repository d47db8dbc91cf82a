// Package httpgzip compresses HTTP response bodies for clients that accept gzip, at
// the level that costs least processor time.
package httpgzip
