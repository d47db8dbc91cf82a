package wire

import (
	"bufio"
	"bytes"
	"io"
	"lvsd/checker/outcome"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// feedAll feeds an answer in pieces of random size, as a network would, and its
// end; it reports whether the answer is complete.
func feedAll(a *Response, b []byte, r *rand.Rand) (complete bool, err error) {
	for len(b) > 0 && !a.Done() {
		n := len(b)
		if r != nil {
			n = min(n, 1+r.IntN(1+r.IntN(100)))
		}
		if err := a.Feed(b[:n]); err != nil {
			return false, err
		}
		b = b[n:]
	}
	return a.Done() || a.EndsWithConnection(), nil
}

func TestAnswerLimits(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	long := strings.Repeat("x", 2*MaxBody)
	tests := []struct {
		name, text string
		complete   bool
		body       int
		err        string
	}{
		{"a head of exactly the limit", ok + "X: " + long[:MaxHead-len(ok)-7] + "\r\n\r\n", true, 0, ""},
		{"a head of one byte more", ok + "X: " + long[:MaxHead-len(ok)-6] + "\r\n\r\n", false, 0, "262144 bytes"},
		{"a body of exactly the limit", ok + "\r\n" + long[:MaxBody], true, MaxBody, ""},
		{"a longer body", ok + "Content-Length: 524288\r\n\r\n" + long, true, MaxBody, ""},
		{"a chunk of the largest size", ok + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n" + long, true, MaxBody, ""},
		{"a chunk that is larger", ok + "Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\n" + long, false, 0, "chunk size"},
		{"a negative chunk", ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\n", false, 0, "chunk size"},
		{"a chunk longer than its size", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n", false, 0, "longer"},
		{"a chunk with a long extension", ok + "Transfer-Encoding: chunked\r\n\r\n1;" + long[:chunkLimit], false, 0, "chunk size"},
		{"chunks of one byte", ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+long[:200]+"\r\nx\r\n", 5000), false, 0, "tiny chunks"},
		{"endless trailers", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("a: b\r\n", 50_000), false, 0, "262144 bytes"},
		{"a huge Content-Length", ok + "Content-Length: 9223372036854775807\r\n\r\n" + long, true, MaxBody, ""},
		{"a Content-Length beyond it", ok + "Content-Length: 9223372036854775808\r\n\r\n", false, 0, "Content-Length"},
		{"a signed Content-Length", ok + "Content-Length: +1\r\n\r\n", false, 0, "Content-Length"},
		{"two of them", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", false, 0, "Content-Length"},
		{"two that agree", ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", true, 1, ""},
		{"endless interim answers", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100), false, 0, "interim"},
		{"bare line feeds", "HTTP/1.1 200\nContent-Length: 1\n\nx", true, 1, ""},
		{"a status below 100", "HTTP/1.1 099 x\r\n\r\n", false, 0, "status line"},
		{"no space before the reason", "HTTP/1.1 200OK\r\n\r\n", false, 0, "status line"},
		{"a line that is no field", ok + "nonsense\r\n\r\n", true, 0, ""},
		{"a list of one Content-Length", ok + "Content-Length: 3, 3\r\n\r\nabc", true, 3, ""},
		{"a list of two", ok + "Content-Length: 3, 4\r\n\r\nabc", false, 0, "Content-Length"},
		{"two spaces", "HTTP/1.1  200 OK\r\nContent-Length: 1\r\n\r\nx", true, 1, ""},
		{"a status of four digits", "HTTP/1.1 2000\r\n\r\n", false, 0, "status line"},
		{"a folded field", ok + "A: b\r\n c\r\n\r\n", true, 0, ""},
		{"1.0 has no chunks", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab", true, 5, ""},
		{"204 has no body", "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", true, 0, ""},
	}
	for _, tt := range tests {
		for seed := range uint64(4) {
			a := Response{WantBody: true}
			complete, err := feedAll(&a, []byte(tt.text), rand.New(rand.NewPCG(seed, 1)))
			if complete != tt.complete || len(a.Body) != tt.body && err == nil || (err == nil) != (tt.err == "") ||
				err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: complete %v with %d bytes of body, %v", tt.name, complete, len(a.Body), err)
			}
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\n\r\nto the end",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 503\nRetry-After: 1\n\n", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "\x00\xff", "",
	} {
		f.Add([]byte(s), uint64(1), true, false)
		f.Add([]byte(s), uint64(2), false, false)
		f.Add([]byte(s), uint64(3), true, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, wantBody, noBody bool) {
		whole := Response{WantBody: wantBody, NoBody: noBody}
		complete, err := feedAll(&whole, b, nil)
		// However the network cuts it, it is the same answer.
		pieces := Response{WantBody: wantBody, NoBody: noBody}
		complete2, err2 := feedAll(&pieces, b, rand.New(rand.NewPCG(seed, 2)))
		if complete != complete2 || (err == nil) != (err2 == nil) {
			t.Fatalf("whole: %v %v; in pieces: %v %v", complete, err, complete2, err2)
		}
		if err == nil && (whole.Status != pieces.Status || !bytes.Equal(whole.Body, pieces.Body) || !complete && whole.Excerpt() != pieces.Excerpt()) {
			t.Fatalf("whole %+v, in pieces %+v", whole, pieces)
		}
		for _, a := range []*Response{&whole, &pieces} {
			if len(a.Body) > MaxBody || len(a.line) > MaxHead || a.head > MaxHead || len(a.seenBytes) > MaxExcerpt || a.framing > framingLimit+MaxHead {
				t.Fatalf("kept too much: %d body, %d line, %d head", len(a.Body), len(a.line), a.head)
			}
			for _, shown := range []string{a.StatusLine(), a.Excerpt()} {
				if len(shown) > outcome.MaxDetail || strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Fatalf("shows %q", shown)
				}
			}
			if !a.WantBody && len(a.Body) > 0 {
				t.Fatal("a body that is not wanted")
			}
		}
		if complete && err == nil {
			agree(t, b, &whole)
		}
	})
}

// agree compares with the standard library where that accepts the answer too.
func agree(t *testing.T, b []byte, a *Response) {
	if a.interim > 0 || bytes.Contains(b, []byte("\n ")) || bytes.Contains(b, []byte("\n\t")) ||
		bytes.Contains(b, []byte("\r\r")) || bytes.Contains(b, []byte(" :")) || bytes.Contains(b, []byte("\t:")) {
		return // interim answers are its transport's; folded fields mean nothing to us; a space before the colon is dropped (RFC 9112 §5.1)
	}
	method := "GET"
	if a.NoBody {
		method = "HEAD"
	}
	theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), &http.Request{Method: method})
	if err != nil {
		return
	}
	defer theirs.Body.Close()
	if theirs.StatusCode != a.Status {
		t.Fatalf("status %d, net/http says %d", a.Status, theirs.StatusCode)
	}
	if !a.WantBody || a.Status == 101 {
		return
	}
	body, err := io.ReadAll(io.LimitReader(theirs.Body, MaxBody))
	if err == nil && !bytes.Equal(body, a.Body) {
		t.Fatalf("body %q, net/http says %q", a.Body, body)
	}
}

func BenchmarkAnswer(b *testing.B) {
	text := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Thu, 01 Jan 2030 00:00:00 GMT\r\nContent-Type: text/plain\r\n" +
		"Content-Length: 5\r\nConnection: close\r\n\r\nalive")
	b.ReportAllocs()
	for b.Loop() {
		a := Response{WantBody: true}
		if err := a.Feed(text); err != nil || !a.Done() {
			b.Fatal(err)
		}
	}
}

// TestBodyLimit: what is longer than the limit is not read, and neither is a body of which
// nothing is wanted.
func TestBodyLimit(t *testing.T) {
	const text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive"
	for _, tt := range []struct {
		limit    int64
		wantBody bool
		body     string
		tooLong  bool
	}{{0, true, "alive", false}, {5, true, "alive", false}, {4, true, "aliv", true}, {4, false, "", true}, {-1, true, "", false}} {
		a := Response{WantBody: tt.wantBody, Limit: tt.limit}
		if err := a.Feed([]byte(text)); err != nil || !a.Done() || string(a.Body) != tt.body || a.BodyTooLong != tt.tooLong {
			t.Errorf("%+v: %q, too long %v, done %v, %v", tt, a.Body, a.BodyTooLong, a.Done(), err)
		}
	}
}
