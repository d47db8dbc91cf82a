// The link between runner and guest: frames over one serial line of the guest.
// Everything of the command goes through it (three streams, signals, window
// size, exit status), so order and bytes are exact and nothing is a file.

package runner

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// kind is the first byte of a frame; then come four bytes of length, big
// endian, and the content.
type kind byte

const (
	// From the guest.
	frameHello    kind = 'h' // the line is raw now: send the job
	frameReady    kind = 'r' // the command was started
	frameStdout   kind = 'o'
	frameStderr   kind = 'e'
	frameConsumed kind = 'c' // the command has read the last input: send more
	frameCredit   kind = 'k' // two bytes: how many were read from the line
	frameExit     kind = 'x' // exitReport, JSON; the last frame
	// From the runner.
	frameJob      kind = 'j' // job, JSON
	frameInput    kind = 'i'
	frameInputEnd kind = 'z'
	frameSignal   kind = 's' // one byte
	frameWindow   kind = 'w' // two numbers of 16 bits: rows, columns
)

// frameLimit bounds a frame; an environment is the longest.
const frameLimit = 16 << 20

// chunk is how much of a stream goes into one frame.
const chunk = 16 << 10

// job is what the guest runs.
type job struct {
	Args, Env     []string
	Dir           string
	TTY           bool
	Rows, Columns uint16
}

// exitReport is how it ended.
type exitReport struct {
	Status int
	Note   string // for people: killed by a signal, could not be started
}

// frameWriter sends whole frames, from any goroutine.
type frameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frameWriter) send(k kind, content []byte) error {
	b := make([]byte, 5, 5+len(content))
	b[0] = byte(k)
	binary.BigEndian.PutUint32(b[1:], uint32(len(content)))
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.w.Write(append(b, content...))
	return err
}

func readFrame(r io.Reader) (kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > frameLimit {
		return 0, nil, fmt.Errorf("a frame of %d bytes on the link: it is out of step", n)
	}
	content := make([]byte, n)
	_, err := io.ReadFull(r, content)
	return kind(head[0]), content, err
}

// pump sends a stream in frames of one kind until its end.
func (f *frameWriter) pump(k kind, r io.Reader) {
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if f.send(k, buf[:n]) != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// lineWindow is how many bytes may be on their way into the guest. The line there holds
// 4 KiB; once it is full, UML's driver stops reading.
const lineWindow = 2 << 10

// window is the runner's side of the flow control: a writer that waits for credit.
type window struct {
	w    io.Writer
	mu   sync.Mutex
	cond *sync.Cond
	free int
}

func newWindow(w io.Writer) *window {
	win := &window{w: w, free: lineWindow}
	win.cond = sync.NewCond(&win.mu)
	return win
}

func (w *window) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		w.mu.Lock()
		for w.free == 0 {
			w.cond.Wait()
		}
		n := min(w.free, len(p)-done)
		w.free -= n
		w.mu.Unlock()
		if _, err := w.w.Write(p[done : done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// grant takes the content of a frameCredit.
func (w *window) grant(content []byte) {
	if len(content) != 2 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free += int(binary.BigEndian.Uint16(content))
	w.cond.Signal()
}

// creditReader is the guest's side: it reports each read.
type creditReader struct {
	r io.Reader
	w *frameWriter
}

func (c *creditReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p[:min(len(p), lineWindow)])
	if n > 0 {
		if err := c.w.send(frameCredit, binary.BigEndian.AppendUint16(nil, uint16(n))); err != nil {
			return n, err
		}
	}
	return n, err
}
