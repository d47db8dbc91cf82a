package httpgzip

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// packFrom is the shortest body that is compressed, in octets: what fits one packet
// gains nothing.
const packFrom = 1400

// Body is a response body.
type Body struct {
	plain  []byte
	packed func() []byte
}

// NewBody returns the body with a text, which must not be modified afterwards.
func NewBody(text []byte) *Body {
	return &Body{text, sync.OnceValue(func() []byte { return Compress(text) })}
}

// Len returns the length of the text in octets.
func (b *Body) Len() int { return len(b.plain) }

// Write sends the body as the response to a request, compressed where the client accepts
// that. It sets the headers about encoding and length. A client that is gone is no error.
func (b *Body) Write(w http.ResponseWriter, r *http.Request) {
	h, body := w.Header(), b.plain
	h.Set("Vary", "Accept-Encoding")
	if len(body) >= packFrom && Accepted(r) {
		h.Set("Content-Encoding", "gzip")
		body = b.packed()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

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
