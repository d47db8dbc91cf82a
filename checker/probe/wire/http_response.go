package wire

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"lvsd/checker/outcome"
	"math"
	"strconv"
	"strings"
)

// The bounds of an answer, in bytes.
const (
	MaxHead       = 256 << 10 // status line, header fields, trailers, interim answers
	MaxBody       = 256 << 10 // of the body, unless Limit is another
	MaxHashedBody = 16 << 20  // of one whose digest is computed
	chunkLimit    = 256       // a chunk's size line, with its extensions
	framingLimit  = 256 << 10 // all the size lines of a body
	MaxExcerpt    = 128       // shown in the detail of a failure
	interimLimit  = 8         // 1xx responses before the final one
)

// Response parses an HTTP/1 response (RFC 9112) as its bytes arrive: the status, and the
// body up to a bound. It is as lenient as common clients: a response that they accept
// shows a server that works. It keeps a bounded number of bytes, whatever the server
// sends. The zero value waits for the first byte.
type Response struct {
	NoBody   bool      // to a HEAD request
	WantBody bool      // keeps the body in Body
	WantHead bool      // keeps the fields in Fields
	Limit    int64     // bytes of the body that are read; 0: MaxBody; less: none
	Hash     hash.Hash // of the body; nil: none

	Status      int
	Text        string // the reason phrase
	Location    string
	KeepAlive   bool              // the server announces that it does not close the connection
	Fields      map[string]string // by names in lower case; several values of one are joined by ", " (RFC 9110 §5.2)
	Body        []byte            // decoded, at most Limit bytes
	read        int64             // bytes of the body so far
	BodyTooLong bool              // the body is longer than Limit, and the rest is not read

	State        func(*Response, []byte) (int, error) // consumes some of the bytes; nil: statusState
	complete     bool
	line         []byte // an unfinished line
	head         int    // bytes of head so far
	framing      int    // bytes of chunk framing so far
	interim      int
	http10       bool // HTTP/1.0
	Length       int64
	hasLength    bool // length came from Content-Length
	chunked      bool
	UntilClose   bool // the body ends with the connection
	HeadComplete bool // the head of the final answer is complete
	seenBytes    []byte
}

// Done reports that no more bytes are needed.
func (a *Response) Done() bool { return a.complete }

// HeadDone reports that status is the final one.
func (a *Response) HeadDone() bool { return a.HeadComplete }

// EndsWithConnection reports that a response that is not done is complete when the
// connection ends.
func (a *Response) EndsWithConnection() bool { return a.UntilClose }

// StatusLine returns the status and the reason phrase, printable.
func (a *Response) StatusLine() string {
	return outcome.Printable(strings.TrimSpace(strconv.Itoa(a.Status)+" "+a.Text), outcome.MaxDetail)
}

// Excerpt returns the beginning of an incomplete response, "" if nothing was received.
func (a *Response) Excerpt() string {
	if len(a.seenBytes) == 0 {
		return ""
	}
	return outcome.Quote(a.seenBytes)
}

// Feed parses the next bytes. An error is final: this is not a response.
func (a *Response) Feed(b []byte) error {
	a.seenBytes = append(a.seenBytes, b[:min(len(b), MaxExcerpt-len(a.seenBytes))]...)
	for len(b) > 0 && !a.complete {
		state := a.State
		if state == nil {
			state = statusState
		}
		n, err := state(a, b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// readLine collects a line of at most limit bytes, its end included, and returns it
// without its end once it is complete. A bare LF ends it too (RFC 9112 §2.2).
func (a *Response) readLine(b []byte, limit int) (line []byte, whole bool, n int, err error) {
	n = bytes.IndexByte(b, '\n') + 1
	whole = n > 0
	if !whole {
		n = len(b)
	}
	if len(a.line)+n > limit {
		return nil, false, 0, errTooLong
	}
	a.line = append(a.line, b[:n]...)
	if !whole {
		return nil, false, n, nil
	}
	line = bytes.TrimSuffix(a.line[:len(a.line)-1], []byte("\r"))
	a.line = a.line[:0]
	return line, true, n, nil
}

// readHeadLine is readLine within the limit of the whole head.
func (a *Response) readHeadLine(b []byte) (line []byte, whole bool, n int, err error) {
	line, whole, n, err = a.readLine(b, MaxHead-a.head+len(a.line))
	if err != nil {
		return nil, false, 0, fmt.Errorf("a head of more than %d bytes", MaxHead)
	}
	a.head += n
	return line, whole, n, err
}

var errTooLong = errors.New("a line is too long")

var errNoHTTP = errors.New("not an HTTP status line")

// statusState parses the status line (RFC 9112 §4).
func statusState(a *Response, b []byte) (int, error) {
	line, whole, n, err := a.readHeadLine(b)
	if err != nil {
		return 0, err
	}
	if !whole {
		// Report the greeting of another protocol at once, not at the limit or
		// the deadline.
		const version = "HTTP/1."
		if k := min(len(a.line), len(version)); string(a.line[:k]) != version[:k] {
			return 0, fmt.Errorf("%w: %s", errNoHTTP, outcome.Quote(a.seenBytes))
		}
		return n, nil
	}
	var ok bool
	if a.http10, a.Status, a.Text, ok = parseStatusLine(line); !ok {
		return 0, fmt.Errorf("%w: %s", errNoHTTP, outcome.Quote(line[:min(len(line), MaxExcerpt)]))
	}
	a.Length, a.hasLength, a.chunked, a.Location, a.KeepAlive, a.Fields = 0, false, false, "", false, nil
	a.State = fieldState
	return n, nil
}

// parseStatusLine parses "HTTP/1.1 200 OK"; the reason phrase may be empty, and many
// servers omit the space before it. There may be more than one before the status.
func parseStatusLine(line []byte) (old bool, status int, text string, ok bool) {
	s := string(line)
	if len(s) < 9 || !strings.HasPrefix(s, "HTTP/1.") || !outcome.IsDigits(s[7:8]) || s[8] != ' ' {
		return false, 0, "", false
	}
	rest := strings.TrimLeft(s[8:], " ")
	if len(rest) < 3 || !outcome.IsDigits(rest[:3]) || len(rest) > 3 && rest[3] != ' ' {
		return false, 0, "", false
	}
	status, _ = strconv.Atoi(rest[:3])
	return s[7] == '0', status, strings.TrimSpace(rest[3:]), status >= 100
}

// fieldState parses one header field, or the empty line after the last.
func fieldState(a *Response, b []byte) (int, error) {
	line, whole, n, err := a.readHeadLine(b)
	if err != nil || !whole {
		return n, err
	}
	if len(line) == 0 {
		return n, a.endHead()
	}
	if line[0] == ' ' || line[0] == '\t' {
		return n, nil // a folded field (RFC 9112 §5.2); none that is read here is folded in practice
	}
	name, value, _ := strings.Cut(string(line), ":") // a line without a colon is ignored
	return n, a.field(strings.TrimSpace(name), strings.TrimSpace(value))
}

// AddField keeps a field.
func (a *Response) AddField(name, value string) {
	name = strings.ToLower(name)
	if before, ok := a.Fields[name]; ok {
		value = before + ", " + value
	}
	if a.Fields == nil {
		a.Fields = map[string]string{}
	}
	a.Fields[name] = value
}

// field evaluates the fields that determine the length of the body.
func (a *Response) field(name, value string) error {
	if a.WantHead {
		a.AddField(name, value)
	}
	switch {
	case strings.EqualFold(name, "Transfer-Encoding"):
		last := value[strings.LastIndexByte(value, ',')+1:]
		a.chunked = strings.EqualFold(strings.TrimSpace(last), "chunked")
	case strings.EqualFold(name, "Location"):
		a.Location = value
	case strings.EqualFold(name, "Connection"):
		a.KeepAlive = strings.EqualFold(value, "keep-alive")
	case strings.EqualFold(name, "Content-Length"):
		for one := range strings.SplitSeq(value, ",") { // the same one several times (RFC 9112 §6.3)
			one = strings.TrimSpace(one)
			length, err := strconv.ParseUint(one, 10, 63)
			if err != nil || !outcome.IsDigits(one) || a.hasLength && a.Length != int64(length) {
				return fmt.Errorf("invalid Content-Length: %s", outcome.Quote([]byte(value)))
			}
			a.Length, a.hasLength = int64(length), true
		}
	}
	return nil
}

// endHead determines what follows the head (RFC 9112 §6.3).
func (a *Response) endHead() error {
	if a.Status < 200 && a.Status != 101 {
		if a.interim++; a.interim > interimLimit {
			return fmt.Errorf("more than %d interim responses", interimLimit)
		}
		a.State = statusState
		return nil
	}
	a.HeadComplete = true
	switch {
	case a.Limit < 0, a.NoBody, a.Status == 101, a.Status == 204, a.Status == 304:
		a.complete = true
	case a.chunked && !a.http10:
		a.State = sizeState
	case a.hasLength:
		a.State, a.complete = BodyState, a.Length == 0
	default:
		a.State, a.UntilClose, a.Length = BodyState, true, math.MaxInt64
	}
	return nil
}

// BodyState parses a body, or one chunk, of known length or up to the end.
func BodyState(a *Response, b []byte) (int, error) {
	n := int(min(int64(len(b)), a.Length, a.limit()+1-a.read))
	a.addBody(b[:n])
	a.Length -= int64(n)
	switch {
	case a.read > a.limit():
		a.BodyTooLong, a.complete = true, true
	case a.Length == 0 && a.chunked && !a.http10:
		a.State = chunkEndState
	case a.Length == 0:
		a.complete = true
	}
	return n, nil
}

// limit returns how many bytes of a body are read.
func (a *Response) limit() int64 {
	if a.Limit == 0 {
		return MaxBody
	}
	return a.Limit
}

// addBody keeps or hashes the next bytes of the body.
func (a *Response) addBody(b []byte) {
	if a.WantBody {
		a.Body = append(a.Body, b[:min(int64(len(b)), a.limit()-a.read)]...)
	}
	if a.Hash != nil {
		a.Hash.Write(b) // a hash never fails
	}
	a.read += int64(len(b))
}

// sizeState parses the line before a chunk (RFC 9112 §7.1) and ignores extensions.
func sizeState(a *Response, b []byte) (int, error) {
	line, whole, n, err := a.readLine(b, chunkLimit)
	if err != nil {
		return 0, fmt.Errorf("invalid chunk size: %s", outcome.Quote(append(a.line, b...)[:MaxExcerpt]))
	}
	if a.framing += n; a.framing > framingLimit {
		return 0, errors.New("too many tiny chunks")
	}
	if !whole {
		return n, nil
	}
	digits, _, _ := strings.Cut(string(line), ";")
	size, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 63)
	if err != nil {
		return 0, fmt.Errorf("invalid chunk size: %s", outcome.Quote(line))
	}
	if a.Length, a.State = int64(size), BodyState; size == 0 {
		a.State = trailerState
	}
	return n, nil
}

// chunkEndState parses the line end after a chunk.
func chunkEndState(a *Response, b []byte) (int, error) {
	line, whole, n, err := a.readLine(b, 2)
	if err != nil || whole && len(line) > 0 {
		return 0, errors.New("a chunk is longer than its size")
	}
	if whole {
		a.State = sizeState
	}
	a.framing += n
	return n, nil
}

// trailerState parses the trailers, up to an empty line.
func trailerState(a *Response, b []byte) (int, error) {
	line, whole, n, err := a.readHeadLine(b)
	a.complete = whole && len(line) == 0
	return n, err
}
