package main

// lvsd run: the daemon. It loads, builds the leaves, runs them, and hands over
// when it is told to stop.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"lvsd/checker"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/connhandover"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/host"
	"lvsd/cmd/internal/logging"
	"lvsd/cmd/internal/metrics"
	"lvsd/cmd/internal/notify"
	"lvsd/cmd/internal/peers"
	"lvsd/cmd/internal/persist"
	"lvsd/cmd/internal/reload"
	"lvsd/cmd/internal/vrrpproc"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/ipvs/connsync"
	"lvsd/ipvs/netlink"
	"lvsd/vrrp"
)

func runCommand(o *options) *cobra.Command {
	var strict bool
	var stateDir string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long:  "Runs the daemon in the foreground and logs to stderr. SIGHUP reloads the\nconfiguration; SIGTERM and SIGINT hand over to the peer and stop. Where the file\nis refused it starts from the copy of what ran before under this director's name,\nif state_dir has one, and says so; --strict refuses instead.",
		Args:  cobra.NoArgs,
		RunE: works(func(cmd *cobra.Command, _ []string) error {
			return runDaemon(cmd.Context(), o, strict, stateDir)
		}),
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "exit when the file is refused, also where a copy of what ran before is kept")
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "the `DIR` in which the copy is looked for when the file cannot say (default: [global] state_dir)")
	return cmd
}

func runDaemon(ctx context.Context, o *options, strict bool, stateDir string) error {
	// First of all: a hangup that comes before the loop runs must not end us.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	defer signal.Stop(hangups)
	boundGarbage()
	d, err := open(o, strict, stateDir)
	if err != nil {
		return refused(err)
	}
	defer d.log.Close()
	defer d.close()
	d.hangups = hangups
	return d.run(ctx)
}

// refused prints every reason for not starting on a line of its own.
func refused(err error) error {
	for _, line := range api.Lines(err) {
		fmt.Fprintf(os.Stderr, "lvsd: %s\n", line)
	}
	return exitCode(exitFailed)
}

// daemon is the leaves and what ties them together.
type daemon struct {
	log        *logging.Log
	events     *event.Recorder
	journal    *event.Journal
	notifier   *notify.Notifier
	state      *persist.Dir
	kernel     ipvs.Kernel
	reconciler *ipvs.Reconciler
	checker    *checker.Engine
	elections  *vrrpproc.Process
	director   *director.Director
	server     *api.Server
	pair       *peers.Exchange
	manager    *manager
	hush       connhandover.Hush
	// connections is how many this director told the others; negative: not known.
	connections atomic.Int64
	listener    *connsync.Receiver
	hangups     <-chan os.Signal
	onStop      string
	follows     follows

	text   string // of the file that was read last; under the director's lock for reloads
	keeper keeper
}

// build opens everything that a start can be refused for. When it fails it
// says all that is missing and leaves nothing behind.
func build(c *config.Config, o *options, log *logging.Log) (_ *daemon, err error) {
	d := &daemon{log: log, events: &event.Recorder{Log: log.Logger, Director: c.Director}, follows: follows{file: o.file}}
	d.connections.Store(-1)
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	var noState, noKernel error
	d.state, noState = persist.Open(c.Global.StateDir)
	d.kernel, noKernel = netlink.Open()
	if noState != nil || noKernel != nil {
		err = errors.Join(noState, noKernel, try(c, log.Logger))
		return nil, err
	}
	d.journal = event.NewJournal(d.state.Path(), d.events, log.Logger)
	d.notifier = notify.New(d.events, log.Logger)
	version, commit := buildVersion()
	m := metrics.New(version, commit)
	wake := func() { d.director.Wake() }
	paths := &director.Paths{Kernel: d.kernel}
	d.reconciler = ipvs.NewReconciler(paths, ipvs.Options{
		Log: log.Logger, Ledger: d.state.Ledger(), Wake: wake, OnChange: d.tableChanged,
	})
	d.checker = checker.New(checker.Options{
		Log: log.Logger, Wake: wake, ObserveLag: m.ObserveCheckLag, OnChange: d.healthChanged,
		PathFault: func(ctx context.Context, mark uint32, since time.Time) error {
			return d.director.Stands(ctx, mark, since)
		},
	})
	d.elections = elections(c.Global.LogFormat, vrrpproc.Options{
		Log: log.Logger, OnEvent: d.electionChanged, OnContest: d.electionContested, ObserveLag: m.ObserveTimerLag,
	})
	d.server = &api.Server{Log: log.Logger, Events: d.events, Metrics: m.Handler(), Version: version, Started: time.Now(), Problems: d.problems, Journal: d.journal}
	d.listener = connsync.NewReceiver(log.Logger, d.reconciler.SyncWish)
	d.pair = d.newExchange()
	d.server.Pair = d.pair
	d.director = director.New(director.Parts{
		Log:           log.Logger,
		Events:        d.events,
		Table:         d.reconciler,
		Checker:       d.checker,
		OpenElection:  func(e vrrp.Config) (director.Election, error) { return d.elections.Open(e) },
		ShowElections: d.elections.Refresh,
		Participants:  []reload.Participant{restartOnly, schedulers, d.server.PreparePublic, takesPart(d.pair), d.notifier.Prepare, d.synchronisation, d.settings, d.recordAddresses},
		Load:          givingBack(func() (*config.Config, []string, error) { return o.loadText(&d.text) }),
		Reloaded:      d.keep,
		Holds:         d.state,
		Host:          host.Through{Found: d.state, Log: log.Logger},
		Paths:         paths,
		Peers:         peerView{d},
		SyncSender:    connsync.NewSender(d.kernel),
		Before:        d.state.LoadDecision(log.Logger, time.Now()),
		Hush:          &d.hush,
	})
	d.manager = newManager(d.director)
	d.server.Daemon = reloading{d.director, d.manager}
	d.server.Table = d.reconciler
	m.Watch(d.director.View)
	m.WatchOrigins(d.reconciler.Origins)
	m.Count(metrics.EventsDropped, d.journal.Dropped)
	m.WatchPeers(d.pair)
	m.WatchArrivals(d.listener.Received)
	m.Count(metrics.NotifyFailures, d.notifier.Failures)
	if err = d.director.Prepare(c); err != nil {
		return nil, err
	}
	if err = d.server.OpenControl(c.Global.ControlSocket, c.Global.ControlGroup); err != nil {
		return nil, err
	}
	return d, nil
}

// try asks the parts of the daemon, without one, what they would refuse of a
// configuration on this machine.
func try(c *config.Config, log *slog.Logger) error {
	participants := []reload.Participant{schedulers}
	if !api.Answers(c.Global.ControlSocket) { // a daemon that runs here holds its own port
		server := &api.Server{Log: log}
		participants = append(participants, server.PreparePublic, tryExchange(log))
	}
	return director.New(director.Parts{
		Log:          log,
		OpenElection: func(e vrrp.Config) (director.Election, error) { return vrrp.Open(e, vrrp.Options{Log: log}) },
		Participants: participants,
		Host:         host.Through{Log: log},
	}).Try(c)
}

// run works until the context ends: then the elections hand over, and the
// table is kept or removed as the configuration says.
func (d *daemon) run(ctx context.Context) error {
	finish := d.tell()
	defer finish()
	d.events.Record(event.Event{At: time.Now(), Kind: event.KindDaemon, To: "running", Reason: "start"})
	tasks, ctx := errgroup.WithContext(ctx)
	for _, task := range []func(context.Context) error{d.reconciler.Run, d.checker.Run, d.director.Run, d.server.Run, d.pair.Run, d.listener.Run, d.manager.Run, d.reloadOnHangup, d.reloadOnChange} {
		tasks.Go(func() error { return task(ctx) })
	}
	err := tasks.Wait()
	if e := (host.Through{Found: d.state, Log: d.log.Logger}).AcceptLocal(nil); e != nil {
		err = errors.Join(err, e)
	}
	if d.onStop == "remove" {
		limit, cancel := context.WithTimeout(context.Background(), removeLimit)
		defer cancel()
		if e := d.reconciler.Remove(limit); e != nil {
			err = errors.Join(err, fmt.Errorf("failed to remove our services from the kernel: %w", e))
		}
	}
	d.events.Record(event.Event{At: time.Now(), Kind: event.KindDaemon, To: "stopped", Reason: "told to stop"})
	return err
}

// tell starts what tells others of events: it goes on until the last one was
// recorded. The answer ends it, and waits until the rest is told; a disk that
// hangs does not keep the daemon from ending.
func (d *daemon) tell() (finish func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var tellers sync.WaitGroup
	for _, task := range []func(context.Context) error{d.journal.Run, d.notifier.Run, d.keepDecision, d.keepTrying} {
		tellers.Go(func() { _ = task(ctx) })
	}
	return func() {
		cancel()
		told := make(chan struct{})
		go func() { tellers.Wait(); close(told) }()
		select {
		case <-told:
		case <-time.After(tellLimit):
			d.log.Warn("stopped before all events were told")
		}
	}
}

// keepDecision keeps what was decided for the next start.
func (d *daemon) keepDecision(ctx context.Context) error {
	return d.state.KeepDecision(ctx, d.log.Logger, d.director.Decision)
}

// tellLimit is how long the end waits for the last events to be told: a little
// longer than those who tell wait themselves.
const tellLimit = 3 * time.Second

// problems are those of the daemon's own files and of those it tells of events.
func (d *daemon) problems() []string {
	return slices.Concat(d.state.Problems(), d.journal.Problems(), d.notifier.Problems(), d.listener.Problems(), d.keeper.problems())
}

// removeLimit bounds on_stop = "remove": a kernel that does not answer does
// not keep the daemon from ending.
const removeLimit = 10 * time.Second

// close gives back what build opened.
func (d *daemon) close() {
	if d.server != nil {
		d.server.Close()
	}
	if d.pair != nil {
		d.pair.Close()
	}
	if d.director != nil {
		d.director.Close()
	}
	if err := d.hush.Close(); err != nil {
		d.log.Warn("nftables", "reason", err)
	}
	if d.elections != nil {
		d.elections.Close()
	}
	if d.kernel != nil {
		d.kernel.Close()
	}
	if d.state != nil {
		d.state.Close()
	}
}

// reloadOnHangup reloads at each SIGHUP.
func (d *daemon) reloadOnHangup(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.hangups:
			_ = reloading{d.director, d.manager}.Reload(ctx) // its verdict is logged, recorded and shown
		}
	}
}

func (d *daemon) healthChanged(c checker.Change) {
	d.events.Record(event.Event{At: c.At, Kind: event.KindHealth, Service: c.ID.Service, RealServer: c.ID.RealServer,
		From: c.From.String(), To: c.To.String(), Reason: c.Cause})
}

func (d *daemon) electionChanged(e vrrp.Event) {
	d.director.Wake() // a fault, or its end, says which probes count
	d.director.Moved(e.From)
	d.events.Keep(event.Event{At: e.At, Kind: event.KindVRRP, VRRP: e.Name, From: string(e.From), To: string(e.To), Reason: cmp.Or(e.Detail, e.Reason)})
}

// electionContested records what the election itself has logged as an alarm.
func (d *daemon) electionContested(k vrrp.Contest) {
	e := event.Event{At: k.At, Kind: event.KindVRRP, VRRP: k.Name, From: string(k.State), To: "contested", Reason: k.Detail}
	if !k.On {
		e.From, e.To, e.Reason = "contested", string(k.State), "no other master and no refused peer was heard for 3 adverts"
	}
	d.events.Keep(e)
}

func (d *daemon) tableChanged(c ipvs.Change) {
	e := event.Event{At: c.At, Kind: event.KindIPVS, From: c.From, To: c.To, Reason: c.Kind + " " + c.What}
	if c.Entry != (ipvs.Entry{}) {
		e.Service = c.Entry.Service.String()
	}
	if c.Entry.RealServer.IsValid() {
		e.RealServer = c.Entry.RealServer.String()
	}
	if c.Err != nil {
		e.Reason += ": " + c.Err.Error()
	}
	d.events.Keep(e)
}

// restartOnly refuses what a reload cannot change.
func restartOnly(old, next *config.Config) (reload.Change, error) {
	if old == nil {
		return reload.Change{}, nil
	}
	for _, key := range []struct{ name, old, next string }{
		{"state_dir", old.Global.StateDir, next.Global.StateDir},
		{"control_socket", old.Global.ControlSocket, next.Global.ControlSocket},
		{"control_group", old.Global.ControlGroup, next.Global.ControlGroup},
		{"log_format", old.Global.LogFormat, next.Global.LogFormat},
	} {
		if key.old != key.next {
			return reload.Change{}, fmt.Errorf("%s: global.%s: changes with a restart only (running: %q, file: %q)", next.File, key.name, key.old, key.next)
		}
	}
	return reload.Change{}, nil
}

// schedulers refuses a scheduler that this kernel lacks.
func schedulers(_, next *config.Config) (reload.Change, error) {
	return reload.Change{}, errors.Join(host.Schedulers(next)...)
}

// synchronisation refuses [ipvs.sync] where it could not work on this host. What
// stays as it was is not asked again: a weight can be changed all the same.
func (d *daemon) synchronisation(old, next *config.Config) (reload.Change, error) {
	want := decision.WantedSync(next.IPVS.Sync)
	if want == nil {
		return reload.Change{}, nil
	}
	if old != nil {
		if was := decision.WantedSync(old.IPVS.Sync); was != nil && *was == *want {
			return reload.Change{}, nil
		}
	}
	if err := ipvs.CheckSync(d.kernel, *want); err != nil {
		return reload.Change{}, fmt.Errorf("[ipvs.sync]: %w", err)
	}
	return reload.Change{}, nil
}

// settings takes up what the daemon itself does: the log level, and what
// becomes of the kernel's table when it stops.
func (d *daemon) settings(_, next *config.Config) (reload.Change, error) {
	if err := new(slog.LevelVar).UnmarshalText([]byte(next.Global.LogLevel)); err != nil {
		return reload.Change{}, err
	}
	return reload.Change{Commit: func() {
		_ = d.log.SetLevel(next.Global.LogLevel) // was just tried
		d.elections.SetLevel(next.Global.LogLevel)
		d.onStop = next.IPVS.OnStop
		d.follows.take(next)
	}}, nil
}
