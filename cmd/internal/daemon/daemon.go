// This file has the life of the daemon: New, Run and the end.

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"lvsd/checker"
	"lvsd/cmd/internal/announce"
	"lvsd/cmd/internal/api/server"
	"lvsd/cmd/internal/configfile"
	"lvsd/cmd/internal/connhandover"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/logging"
	"lvsd/cmd/internal/notify"
	"lvsd/cmd/internal/peers"
	"lvsd/cmd/internal/persist"
	"lvsd/cmd/internal/vrrpproc"
	"lvsd/ipvs"
	"lvsd/ipvs/connsync"
	"lvsd/ipvs/netlink"
)

// Options are what a daemon is built from.
type Options struct {
	Source *configfile.Source
	// Strict refuses to start from the last good copy when the file is invalid.
	Strict bool
	// StateDir is where the last good copy is looked for when the file does not say;
	// empty: [global] state_dir, as far as it can be read.
	StateDir        string
	Version, Commit string
	// Stderr receives the log; nil: os.Stderr.
	Stderr io.Writer
	// OpenKernel opens IPVS; nil: this machine's.
	OpenKernel func() (ipvs.Kernel, error)
	// OpenRoutes opens the kernel's routing tables; nil: this machine's.
	OpenRoutes func() (announce.Kernel, error)
	// VRRPCommand is the program of the VRRP child process and its arguments, to which
	// the log format is appended; nil: this program.
	VRRPCommand []string
}

// Daemon is the parts and what connects them.
type Daemon struct {
	options    Options
	log        *logging.Log
	events     *event.Recorder
	journal    *event.Journal
	notifier   *notify.Notifier
	state      *persist.Dir
	kernel     ipvs.Kernel
	reconciler *ipvs.Reconciler
	checker    *checker.Engine
	vrrp       *vrrpproc.Process
	director   *director.Director
	server     *server.Server
	peers      *peers.Exchange
	systemd    *systemd
	rstGuard   connhandover.Rules
	addresses  *addressRecord
	replies    *replies
	// connections is how many this director reported to its peers last; negative: unknown.
	connections atomic.Int64
	foreign     atomic.Pointer[string] // connections to unknown real servers; nil: there are none
	listener    *connsync.Receiver
	routes      *announce.Manager
	hangups     chan os.Signal
	onStop      string
	autoReload  autoReload

	text     string // of the file that was read last; under the director's lock for reloads
	lastGood lastGood
}

// New opens everything that can refuse a start, and starts nothing. On failure it
// returns every reason and leaves nothing behind.
func New(o Options) (*Daemon, error) {
	// A hangup that arrives before the loop runs must not end the process.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	boundGarbage()
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.OpenKernel == nil {
		o.OpenKernel = func() (ipvs.Kernel, error) { return netlink.Open() }
	}
	if o.OpenRoutes == nil {
		o.OpenRoutes = announce.OpenKernel
	}
	if o.VRRPCommand == nil {
		o.VRRPCommand = []string{"/proc/self/exe", "elections", "--log-format"} // this program, even if its file was replaced
	}
	d, err := open(o)
	if err != nil {
		signal.Stop(hangups)
		return nil, err
	}
	d.hangups = hangups
	return d, nil
}

// Run works until the context ends. Then the VRRP instances hand over, the kernel's
// table is kept or removed as the configuration says, and everything is closed.
func (d *Daemon) Run(ctx context.Context) error {
	defer signal.Stop(d.hangups)
	defer d.log.Close()
	defer d.close()
	defer d.startRecorders()()
	d.events.Record(event.Event{At: time.Now(), Kind: event.KindDaemon, To: "running", Reason: "started, version " + d.options.Version})
	removeRoutes := d.runRoutes(ctx)
	stopping := ctx
	tasks, ctx := errgroup.WithContext(ctx)
	for _, task := range []func(context.Context) error{
		d.reconciler.Run, d.checker.Run, d.director.Run, d.server.Run, d.peers.Run, d.listener.Run, d.systemd.Run, d.reloadOnHangup, d.reloadOnChange, d.watchForeign,
	} {
		tasks.Go(func() error { return task(ctx) })
	}
	err := errors.Join(tasks.Wait(), removeRoutes())
	if e := d.replies.restore(); e != nil {
		err = errors.Join(err, e)
	}
	if d.onStop == "remove" {
		limit, cancel := context.WithTimeout(context.Background(), removeTimeout)
		defer cancel()
		if e := d.reconciler.Remove(limit); e != nil {
			err = errors.Join(err, fmt.Errorf("failed to remove lvsd's services from the kernel: %w", e))
		}
	}
	d.events.Record(event.Event{At: time.Now(), Kind: event.KindDaemon, To: "stopped", Reason: stopReason(stopping)})
	return err
}

// stopReason names the signal that ended the context.
func stopReason(ctx context.Context) string {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause.Error()
	}
	return "stop requested"
}

// startRecorders starts the tasks that outlive the parts: they record the last
// event too. The returned function ends them and waits for what is queued, but not
// long: a hanging disk must not keep the daemon from ending.
func (d *Daemon) startRecorders() (finish func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var recorders sync.WaitGroup
	for _, task := range []func(context.Context) error{d.journal.Run, d.notifier.Run, d.saveDecision, d.retrySaves} {
		recorders.Go(func() { _ = task(ctx) })
	}
	return func() {
		cancel()
		done := make(chan struct{})
		go func() { recorders.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(flushTimeout):
			d.log.Warn("stopped before all events were sent")
		}
	}
}

// saveDecision saves the decision for the next start.
func (d *Daemon) saveDecision(ctx context.Context) error {
	return d.state.WriteDecisions(ctx, d.log.Logger, d.director.Decision)
}

// flushTimeout bounds the wait for the last events to be written and sent: a
// little longer than each of the recorders takes at most.
const flushTimeout = 3 * time.Second

// problems are those of the daemon's own files, notifications and listeners.
func (d *Daemon) problems() []string {
	return slices.Concat(d.state.Problems(), d.addresses.problems(), d.journal.Problems(), d.notifier.Problems(), d.listener.Problems(), d.foreignProblems(), d.lastGood.problems())
}

// removeTimeout bounds on_stop = "remove": a kernel that does not reply must not
// keep the daemon from ending.
const removeTimeout = 10 * time.Second

// close closes what build opened.
func (d *Daemon) close() {
	if d.server != nil {
		d.server.Close()
	}
	if d.peers != nil {
		d.peers.Close()
	}
	if d.director != nil {
		d.director.Close()
	}
	if d.routes != nil {
		d.routes.Close()
	}
	if err := d.rstGuard.Close(); err != nil {
		d.log.Warn("routing rules against resets", "reason", err)
	}
	if d.vrrp != nil {
		d.vrrp.Close()
	}
	if d.kernel != nil {
		d.kernel.Close()
	}
	if d.state != nil {
		d.state.Close()
	}
}

// reload reloads the configuration; the outcome is logged, recorded and shown.
func (d *Daemon) reload(ctx context.Context) { _ = notifiedDirector{d.director, d.systemd}.Reload(ctx) }

// reloadOnHangup reloads at each SIGHUP.
func (d *Daemon) reloadOnHangup(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.hangups:
			d.reload(ctx)
		}
	}
}

// runRoutes keeps the routes until the returned function is called, which is after the
// director has withdrawn what it announced. Then all routes are removed.
func (d *Daemon) runRoutes(ctx context.Context) (finish func() error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { _ = d.routes.Run(ctx) })
	return func() error {
		stop()
		running.Wait()
		err := d.routes.Remove()
		d.routes.Close()
		return err
	}
}
