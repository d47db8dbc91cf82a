package httpgzip

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
)

// Taken says whether the client takes gzip (RFC 9110 §12.5.3): it names it, and not
// with a weight of 0.
func Taken(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(name, "gzip") && strings.TrimSpace(q) != "q=0" {
			return true
		}
	}
	return false
}

// Pack packs a text.
func Pack(text []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // a level that exists
	_, _ = z.Write(text)                            // a buffer takes all
	_ = z.Close()
	return b.Bytes()
}
