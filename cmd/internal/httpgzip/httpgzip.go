package httpgzip

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// packFrom is the shortest body that is compressed, in octets: what fits one packet
// gains nothing.
const packFrom = 1400

// Body is a response body.
type Body struct {
	plain   []byte
	packed  func() []byte
	writers int // see budget
}

// budget bounds the octets of all bodies that are being written: clients that do not read
// keep each for as long as the server waits for them. A body counts once, however many
// clients it is written to, and one that is larger is written alone.
var budget = struct {
	sync.Mutex
	limit, used int
}{limit: 128 << 20}

// Age returns how old a body may be that is written again and again, whose usual limit is
// given: ten times as much while half of the budget is used. So clients that do not read hold
// a few versions of a large body, and others get one that is older.
func Age(usual time.Duration) time.Duration {
	budget.Lock()
	defer budget.Unlock()
	if budget.used > budget.limit/2 {
		return 10 * usual
	}
	return usual
}

// acquire reports whether the body may be written now; then release must follow.
func (b *Body) acquire() bool {
	budget.Lock()
	defer budget.Unlock()
	if b.writers == 0 {
		if budget.used > 0 && budget.used+b.size() > budget.limit {
			return false
		}
		budget.used += b.size()
	}
	b.writers++
	return true
}

func (b *Body) release() {
	budget.Lock()
	defer budget.Unlock()
	if b.writers--; b.writers == 0 {
		budget.used -= b.size()
	}
}

// size is about what a body takes with its compressed form.
func (b *Body) size() int { return len(b.plain) + len(b.plain)/4 }

// NewBody returns the body with a text, which must not be modified afterwards.
func NewBody(text []byte) *Body {
	return &Body{plain: text, packed: sync.OnceValue(func() []byte { return Compress(text) })}
}

// Len returns the length of the text in octets.
func (b *Body) Len() int { return len(b.plain) }

// Write sends the body as the response to a request, compressed where the client accepts
// that. It sets the headers about encoding and length. A client that is gone is no error.
// Where too many octets are being written the response is status 503 instead.
func (b *Body) Write(w http.ResponseWriter, r *http.Request) {
	if !b.acquire() {
		http.Error(w, "too many responses are being written to clients that do not read them", http.StatusServiceUnavailable)
		return
	}
	defer b.release()
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
