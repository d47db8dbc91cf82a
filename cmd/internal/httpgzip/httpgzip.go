package httpgzip

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
)

// Accepted reports whether the client accepts gzip (RFC 9110 §12.5.3): it names gzip
// with a weight other than 0.
func Accepted(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(name, "gzip") && strings.TrimSpace(q) != "q=0" {
			return true
		}
	}
	return false
}

// Compress returns the text in gzip format.
func Compress(text []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is valid
	_, _ = z.Write(text)                            // a bytes.Buffer returns no error
	_ = z.Close()
	return b.Bytes()
}
