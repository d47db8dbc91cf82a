// Real servers inside this process: an HTTP server, a line server and a UDP server on
// sockets of a host. They need no fork, count exactly, and keep connections open.

package lab

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Server is a server on a host, run by this process.
type Server struct {
	host     *Host
	addr     string
	name     string
	serve    func(net.Listener) // returns when the listener is closed
	accepted atomic.Int64
	requests atomic.Int64
	healthy  atomic.Bool

	mu    sync.Mutex
	ln    net.Listener
	conns map[net.Conn]struct{}
	done  chan struct{}
}

// ServeHTTP starts an HTTP server that answers name on every path, and 200 or
// 503 on /healthz as SetHealthy says. addr is as in net.Listen; ":80" takes
// every address of the host, VIPs included.
func ServeHTTP(h *Host, addr, name string) *Server {
	h.lab.tb.Helper()
	s := newServer(h, addr, name)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.requests.Add(1)
		fmt.Fprintln(w, name)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.healthy.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	s.serve = func(ln net.Listener) {
		srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
		_ = srv.Serve(ln)
	}
	s.Start()
	return s
}

// ServeLines starts a TCP server that answers each line with its name, a space and the
// line. Converse is its client.
func ServeLines(h *Host, addr, name string) *Server {
	h.lab.tb.Helper()
	s := newServer(h, addr, name)
	s.serve = func(ln net.Listener) {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				lines := bufio.NewScanner(conn)
				for lines.Scan() {
					s.requests.Add(1)
					if _, err := fmt.Fprintf(conn, "%s %s\n", name, lines.Bytes()); err != nil {
						return
					}
				}
			}()
		}
	}
	s.Start()
	return s
}

func newServer(h *Host, addr, name string) *Server {
	s := &Server{host: h, addr: addr, name: name, conns: map[net.Conn]struct{}{}}
	s.healthy.Store(true)
	h.lab.onClose(s.Stop)
	return s
}

// Start listens (again). A server that is listening already is not changed.
func (s *Server) Start() {
	s.host.lab.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		return
	}
	ln, err := s.host.Listen("tcp", s.addr)
	s.host.lab.must(err, "listen on %s of %s", s.addr, s.host.Name)
	s.ln = ln
	done := make(chan struct{})
	s.done = done
	go func() {
		defer close(done)
		s.serve(&countingListener{Listener: ln, server: s})
	}()
}

// Refuse closes only the listener: new connections are refused, open ones continue.
func (s *Server) Refuse() {
	s.mu.Lock()
	ln, done := s.ln, s.done
	s.ln = nil
	s.mu.Unlock()
	if ln != nil {
		ln.Close()
		<-done
	}
}

// Stop refuses new connections and closes the open ones. It may be called twice.
func (s *Server) Stop() {
	s.Refuse()
	s.mu.Lock()
	conns := s.conns
	s.conns = map[net.Conn]struct{}{}
	s.mu.Unlock()
	for c := range conns {
		c.Close()
	}
}

// SetHealthy sets the status of an HTTP server's /healthz.
func (s *Server) SetHealthy(ok bool) { s.healthy.Store(ok) }

// Addr is the first address of its host.
func (s *Server) Addr() netip.Addr { return s.host.Addr() }

// Name is its response.
func (s *Server) Name() string { return s.name }

// Accepted counts the connections since the start, checks included.
func (s *Server) Accepted() int { return int(s.accepted.Load()) }

// Requests counts the lines, or the HTTP requests other than /healthz.
func (s *Server) Requests() int { return int(s.requests.Load()) }

// Open is the number of connections open now.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// countingListener reports each connection and its end to the server.
type countingListener struct {
	net.Listener
	server *Server
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s := l.server
	s.accepted.Add(1)
	c := &countedConn{Conn: conn, server: s}
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	return c, nil
}

type countedConn struct {
	net.Conn
	server *Server
}

func (c *countedConn) Close() error {
	c.server.mu.Lock()
	delete(c.server.conns, c)
	c.server.mu.Unlock()
	return c.Conn.Close()
}

// UDPServer answers each datagram with its name, a space and the datagram.
type UDPServer struct {
	pc       net.PacketConn
	received atomic.Int64
	done     chan struct{}
}

// ServeUDP starts a UDP server. Behind direct routing addr must be the VIP
// itself ("10.77.0.100:53"), so that the answer comes from it.
func ServeUDP(h *Host, addr, name string) *UDPServer {
	h.lab.tb.Helper()
	pc, err := h.ListenPacket("udp", addr)
	h.lab.must(err, "listen on UDP %s of %s", addr, h.Name)
	s := &UDPServer{pc: pc, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := pc.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // an ICMP error for an earlier answer
			}
			s.received.Add(1)
			_, _ = pc.WriteTo(append([]byte(name+" "), buf[:n]...), from)
		}
	}()
	h.lab.onClose(s.Stop)
	return s
}

// Received counts the datagrams.
func (s *UDPServer) Received() int { return int(s.received.Load()) }

// Stop ends it; it may be called twice.
func (s *UDPServer) Stop() {
	s.pc.Close()
	<-s.done
}

// ServeTLS replies to every request on a listener with 200, and shows the certificate
// that certificate answers at the moment. The answer ends it.
func ServeTLS(l net.Listener, certificate func() *tls.Certificate) (stop func()) {
	s := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "well") }),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // probes hang up
	}
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(), nil }}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(tls.NewListener(l, config)) }()
	return func() { s.Close(); <-done }
}
