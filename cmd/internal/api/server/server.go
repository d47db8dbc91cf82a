package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"lvsd/checker"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/cached"
	"lvsd/cmd/internal/charts"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/httpgzip"
	"lvsd/cmd/internal/page"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
)

// Daemon is what the server needs of the director.
type Daemon interface {
	View(ctx context.Context) director.View
	// Snapshot is View without waiting for fresh counters.
	Snapshot() director.View
	Reload(ctx context.Context) director.Outcome
	// HandOver hands addresses over to a peer, EndHandover ends the standby after it.
	HandOver(ctx context.Context, h director.Handover) ([]director.HandedOver, error)
	EndHandover(ctx context.Context, instance string) ([]string, error)
	// Explain returns a real server's health with the history of its checks.
	Explain(checker.ID) (checker.Health, bool)
	// RunMarkProbes runs a real server's checks through the kernel's forwarding, once.
	RunMarkProbes(context.Context, checker.ID) ([]director.MarkProbe, error)
	// DryRun returns what a reload would do, without doing it.
	DryRun(ctx context.Context, next *config.Config) (director.DryRun, error)
	// Alive returns an error when one of the daemon's loops hangs.
	Alive(ctx context.Context) error
}

// Server serves HTTP: http_listen only reads, the control socket accepts commands.
type Server struct {
	Log     *slog.Logger
	Daemon  Daemon
	Table   Table
	Events  *event.Recorder
	Journal *event.Journal // the history on disk; nil: in memory only
	Metrics http.Handler
	Version string
	Started time.Time
	// Problems, if set, returns problems with the daemon's own files.
	Problems func() []string
	// Exchange, if set, is the exchange with the other directors.
	Exchange Exchange
	// Charts are the last minutes of connections and rates.
	Charts charts.Ring

	// bindOnly leaves http_listen without a listener: for a trial, which must not take
	// the port from a daemon that starts at the same time.
	bindOnly bool

	public     atomic.Pointer[listener]
	control    *listener
	group      string                       // of the control socket
	following  atomic.Int32                 // streams of events
	requests   atomic.Int32                 // in progress on http_listen
	histories  atomic.Int32                 // long responses with events in progress on http_listen
	status     cached.Value[*httpgzip.Body] // on http_listen
	explaining sync.Mutex                   // see packedWhy
	// uncontrolled is why there is no control socket; nil: there is one.
	uncontrolled atomic.Pointer[string]
	// publicRead and publicWrite are the timeouts on http_listen; 0: the defaults.
	publicRead, publicWrite time.Duration
	// unanswered is why http_listen refuses all requests; nil or empty: it does not.
	unanswered atomic.Pointer[string]
}

// refreshLimit bounds how long a status waits for fresh counters, so that a kernel
// that does not reply does not block it.
const refreshLimit = time.Second

// listener is an open port with its server.
type listener struct {
	address string
	net.Listener
	made fs.FileInfo // file of a control socket

	// Of http_listen:
	port *net.TCPListener
	web  string            // its web_config_file
	read [sha256.Size]byte // digest of that file when this listener began

	mu    sync.Mutex
	http  *http.Server
	ended chan struct{} // closed by close
}

func newListener(address string) *listener {
	return &listener{address: address, ended: make(chan struct{})}
}

// begin sets the server that close shuts down, unless close was called already.
func (l *listener) begin(server *http.Server) (_ *http.Server, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.http = server
	select {
	case <-l.ended:
		return server, true
	default:
		return server, false
	}
}

// Status returns the status as every client sees it.
func (s *Server) Status(ctx context.Context) api.Status {
	ctx, cancel := context.WithTimeout(ctx, refreshLimit)
	defer cancel()
	status := s.localStatus(s.Daemon.View(ctx))
	if s.Exchange != nil {
		status.addPeers(s.Exchange.Peers())
	}
	return status.status()
}

// localStatus is the status without the peers.
func (s *Server) localStatus(v director.View) *builder {
	status := build(v, s.Version, s.Started)
	if s.Problems != nil {
		for _, p := range s.Problems() {
			status.problem("%s", p)
		}
	}
	if p := s.uncontrolled.Load(); p != nil {
		status.problem("%s", *p)
	}
	if p := s.unanswered.Load(); p != nil && *p != "" {
		status.problem("%s", *p)
	}
	return status
}

// publicHandler is the handler of http_listen.
func (s *Server) publicHandler() http.Handler {
	mux := s.reading(s.sharedStatus, s.publicWhy)
	mux.Handle("GET /{$}", page.Handler())
	return s.bounded(onlyReading(mux))
}

// publicRequests bounds the requests in progress on http_listen, streams of events
// included. A connection of HTTP/2 carries many: publicStreams of them.
const publicRequests, publicStreams = publicConnections, 16

// publicFrame bounds a frame of HTTP/2, each of which is in memory as a whole: the least
// that RFC 9113 §4.2 allows, as requests have no body.
const publicFrame = 16 << 10

// bounded refuses requests above publicRequests at once.
func (s *Server) bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.requests.Add(-1)
		if s.requests.Add(1) > publicRequests {
			w.Header().Set("Retry-After", "1")
			http.Error(w, fmt.Sprintf("%d requests are in progress already", publicRequests), http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), publicKey{}, true)))
	})
}

// publicKey is the context key of requests on http_listen: true.
type publicKey struct{}

// reading is the handler of everything that changes nothing. status and why are those of
// the port: on http_listen clients share what they cost.
func (s *Server) reading(status, why http.HandlerFunc) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		ctx, cancel := context.WithTimeout(r.Context(), refreshLimit)
		defer cancel()
		if err := s.Daemon.Alive(ctx); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /api/v1/status", status)
	mux.HandleFunc("GET /api/v1/charts", func(w http.ResponseWriter, r *http.Request) {
		answerPacked(w, r, s.Charts.Charts(s.Daemon.Snapshot(), r.URL.Query()["service"]...))
	})
	mux.HandleFunc("GET /api/v1/why", why)
	mux.HandleFunc("GET /api/v1/events", s.events)
	return mux
}

// onlyReading rejects methods that could change something.
func onlyReading(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this port is read-only: use the lvsd commands on the director to change anything", http.StatusMethodNotAllowed)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// changing is the handler of the control socket.
func (s *Server) changing() *http.ServeMux {
	mux := s.reading(func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, s.Status(r.Context())) }, s.why)
	mux.HandleFunc("POST /control/v1/reload", func(w http.ResponseWriter, r *http.Request) {
		outcome := s.Daemon.Reload(r.Context())
		answer(w, http.StatusOK, NewReloadResult(outcome, s.Daemon.View(r.Context()).Config))
	})
	mux.HandleFunc("POST /control/v1/plan", s.plan)
	s.kernelCommands(mux)
	s.handoverCommands(mux)
	s.peerCommands(mux)
	s.probeCommands(mux)
	return mux
}

// NewReloadResult returns the outcome of a reload with its errors split.
func NewReloadResult(o director.Outcome, running *config.Config) api.ReloadResult {
	return api.ReloadResult{
		OK: o.Refused == nil, Hash: running.Hash,
		Errors:   append([]string{}, api.Lines(o.Refused)...),
		Pending:  append([]string{}, api.Lines(o.Pending)...),
		Warnings: append([]string{}, o.Warnings...),
	}
}

// TryPublic returns what ReadPublic would refuse of a configuration on this host,
// without listening.
func TryPublic(log *slog.Logger) reload.Reader {
	return (&Server{Log: log, bindOnly: true}).ReadPublic
}

// ReadPublic is the server's part in a start or reload. A new http_listen is opened
// before anything is changed, and a port in use rejects the change. So does an invalid
// web_config_file, except at a start: a director must not stay down for it.
func (s *Server) ReadPublic(next *config.Config) reload.Participant {
	file := next.Global.WebConfigFile
	if s.public.Load() != nil && next.Global.HTTPListen != "" {
		if err := CheckWeb(file); err != nil {
			return func(_, _ *config.Config) (reload.Change, error) {
				return reload.Change{}, fmt.Errorf("%s: global.web_config_file: %w", next.File, err)
			}
		}
	}
	digest := webOf(file)
	return func(_, _ *config.Config) (reload.Change, error) { return s.preparePublic(next, digest) }
}

// preparePublic opens http_listen, if it or its web_config_file changed.
func (s *Server) preparePublic(next *config.Config, digest [sha256.Size]byte) (reload.Change, error) {
	want, file := next.Global.HTTPListen, next.Global.WebConfigFile
	old := s.public.Load()
	l := newListener(want)
	l.web, l.read = file, digest
	if old != nil && old.address == want && old.web == file && old.read == l.read {
		return reload.Change{}, nil
	}
	if want != "" {
		ln, err := s.openPublic(want, old)
		if err != nil {
			remedy := `choose another address, or "" to turn it off`
			if old != nil && samePort(old.address, want) {
				remedy = "the port is in use by this daemon: changing only the address needs a restart"
			}
			return reload.Change{}, fmt.Errorf("%s: global.http_listen: failed to listen: %w (%s)", next.File, err, remedy)
		}
		l.port, _ = ln.(*net.TCPListener)
		if ln == nil {
			return reload.Change{}, nil
		}
		l.Listener = netutil.LimitListener(ln, publicConnections)
	}
	return reload.Change{
		Commit: func() {
			s.public.Store(l)
			if l.Listener != nil {
				go s.answerPublic(l, s.publicHandler())
			}
			if old != nil {
				go old.close() // requests in progress may end; the loop does not wait
			}
		},
		Abort: l.close,
	}, nil
}

// publicConnections bounds the file descriptors that clients can occupy, which probes
// and the control socket need.
const publicConnections = 64

func samePort(a, b string) bool {
	_, p, errA := net.SplitHostPort(a)
	_, q, errB := net.SplitHostPort(b)
	return errA == nil && errB == nil && p == q
}

// Run serves the control socket until the context ends, then closes both.
func (s *Server) Run(ctx context.Context) error {
	s.serve(s.control, s.changing()) // nil until it can be created
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = s.Charts.Run(ctx, s.Daemon.Snapshot, s.Daemon.View) })
	s.watchControl(ctx)
	tasks.Wait()
	s.Close()
	return nil
}

// Close closes the listeners, also of a Server that was never Run.
func (s *Server) Close() {
	if s.control != nil {
		s.control.close()
	}
	if l := s.public.Load(); l != nil {
		l.close()
	}
}

// serve serves in a goroutine that ends when the listener closes.
func (s *Server) serve(l *listener, h http.Handler) {
	if l.Listener == nil {
		return
	}
	server, ended := l.begin(s.server(h))
	if ended {
		return
	}
	go func() {
		if err := server.Serve(l.Listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.Log.Error("stopped answering", "address", l.address, "reason", err)
		}
	}()
}

// server makes the HTTP server of a listener. Slow requests are bounded by timeouts. A
// reload may take long, so that there is no write timeout here.
func (s *Server) server(h http.Handler) *http.Server {
	closing := make(chan struct{})
	server := &http.Server{Handler: h, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: publicStreams, MaxReadFrameSize: publicFrame}, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), closingKey{}, closing)
		}}
	server.RegisterOnShutdown(sync.OnceFunc(func() { close(closing) }))
	return server
}

// closeLimit bounds how long requests in progress may take when a listener closes.
const closeLimit = 2 * time.Second

func (l *listener) close() {
	if l.Listener == nil {
		return
	}
	l.mu.Lock()
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
	server := l.http
	l.mu.Unlock()
	if server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	}
	l.Listener.Close()
}
