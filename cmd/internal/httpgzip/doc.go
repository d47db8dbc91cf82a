// Package httpgzip compresses HTTP response bodies for clients that accept gzip, once
// for all of them, at the level that costs least processor time.
package httpgzip
