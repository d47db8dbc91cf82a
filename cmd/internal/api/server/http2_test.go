package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attacker is a client that speaks HTTP/2 frame by frame.
type attacker struct {
	*http2.Framer
	conn    *tls.Conn
	text    bytes.Buffer // of the encoder
	encoder *hpack.Encoder
	reset   atomic.Int64 // streams that the server reset
	pong    chan struct{}
	ended   chan struct{} // the server closed the connection
}

// attack connects. The server may send window bytes of each response.
func attack(t *testing.T, s *Server, window uint32) *attacker {
	t.Helper()
	conn, err := tls.Dial("tcp", s.public.Load().Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		t.Fatalf("protocol %q", p)
	}
	a := &attacker{Framer: http2.NewFramer(conn, conn), conn: conn, pong: make(chan struct{}, 1), ended: make(chan struct{})}
	a.encoder = hpack.NewEncoder(&a.text)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(a.ended)
		for {
			frame, err := a.ReadFrame()
			if err != nil {
				return
			}
			switch f := frame.(type) {
			case *http2.RSTStreamFrame:
				a.reset.Add(1)
			case *http2.PingFrame:
				if f.IsAck() {
					a.pong <- struct{}{}
				}
			}
		}
	}()
	return a
}

// header returns an encoded list of header fields.
func (a *attacker) header(fields ...string) []byte {
	a.text.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = a.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // a buffer takes all
	}
	return a.text.Bytes()
}

func (a *attacker) get(stream uint32, path string) error {
	return a.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndStream: true, EndHeaders: true,
		BlockFragment: a.header(":method", "GET", ":scheme", "https", ":authority", "lb1", ":path", path)})
}

// settled returns when the server has handled what was sent, or has ended the connection.
func (a *attacker) settled(t *testing.T) {
	t.Helper()
	_ = a.WritePing(false, [8]byte{1}) // a connection that has ended is settled
	select {
	case <-a.pong:
	case <-a.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not reply to a ping")
	}
}

// gauge counts requests in progress: each ends with its request.
type gauge struct {
	stub
	now, most atomic.Int64
}

func (g *gauge) Alive(ctx context.Context) error {
	defer g.now.Add(-1)
	n := g.now.Add(1)
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
	}
	<-ctx.Done()
	return ctx.Err()
}

// secured is a server whose http_listen has TLS, with requests to /healthz counted.
func secured(t *testing.T) (*Server, *gauge) {
	t.Helper()
	folder, tlsPart, _ := webFiles(t)
	file := filepath.Join(folder, "web.yml")
	write(t, file, tlsPart)
	g := &gauge{stub: stub{view: healthy()}}
	s := newServer(t, &g.stub)
	s.Daemon = g
	listen(t, s, file)
	return s, g
}

// listen opens http_listen with a web_config_file, or none.
func listen(t *testing.T, s *Server, file string) {
	t.Helper()
	next := configFor("127.0.0.1:0")
	next.Global.WebConfigFile = file
	change, err := s.ReadPublic(next)(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	change.Commit()
}

// over waits until no request is in progress, which none may survive for long.
func over(t *testing.T, s *Server, g *gauge) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); s.requests.Load() != 0 || g.now.Load() != 0; <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d requests are still in progress, %d of them in the daemon", s.requests.Load(), g.now.Load())
		}
	}
}

// TestFloodOfStreams: clients that open streams without end and read no response get no
// more requests in progress than there may be, and nothing is left of them.
func TestFloodOfStreams(t *testing.T) {
	s, g := secured(t)
	const clients, streams = 8, 300
	all := make([]*attacker, clients)
	for i := range all {
		all[i] = attack(t, s, 0)
		for n := range streams {
			if all[i].get(uint32(2*n+1), "/healthz") != nil {
				break
			}
		}
	}
	for i, a := range all {
		a.settled(t)
		if got := a.reset.Load(); got < streams-publicStreams {
			select {
			case <-a.ended: // it was enough for the server
			default:
				t.Errorf("client %d: %d of %d streams were refused", i, got, streams)
			}
		}
	}
	for _, a := range all {
		a.conn.Close()
	}
	over(t, s, g)
	if most := g.most.Load(); most > publicRequests || most == 0 {
		t.Errorf("%d requests at once, at most %d are allowed", most, publicRequests)
	}
}

// TestFloodOfResets: a stream that its client resets at once still counts until its
// request has ended.
func TestFloodOfResets(t *testing.T) {
	s, g := secured(t)
	a := attack(t, s, 1<<16)
	for n := range 3000 {
		if a.get(uint32(2*n+1), "/healthz") != nil || a.WriteRSTStream(uint32(2*n+1), http2.ErrCodeCancel) != nil {
			break
		}
	}
	a.settled(t)
	if most := g.most.Load(); most > publicStreams {
		t.Errorf("%d requests of one client at once, at most %d are allowed", most, publicStreams)
	}
	a.conn.Close()
	over(t, s, g)
}

// TestOversizeFrames: a frame, or header fields, above the limit end the connection. What
// the server has read until then is bounded.
func TestOversizeFrames(t *testing.T) {
	s, g := secured(t)
	const enough = 64 << 20 // far above what sockets buffer
	for name, send := range map[string]func(a *attacker) (int, error){
		"frames": func(a *attacker) (int, error) {
			b := make([]byte, publicFrame+1)
			return len(b), a.WriteRawFrame(http2.FrameSettings, 0, 0, b)
		},
		"header fields": func(a *attacker) (int, error) {
			b := a.header("x-large", strings.Repeat("\x7f", 8<<10))
			return len(b), a.WriteContinuation(1, false, b)
		},
	} {
		a := attack(t, s, 1<<16)
		if name == "header fields" {
			if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.header(":method", "GET", ":scheme", "https", ":authority", "lb1", ":path", "/healthz")}); err != nil {
				t.Fatal(err)
			}
		}
		for sent := 0; ; {
			n, err := send(a)
			if sent += n; err != nil {
				break
			}
			if sent > enough {
				t.Fatalf("%s: the server takes %d bytes and more", name, sent)
			}
		}
		<-a.ended
	}
	over(t, s, g)
	if most := g.most.Load(); most > 0 {
		t.Errorf("%d requests were made of it", most)
	}
}
