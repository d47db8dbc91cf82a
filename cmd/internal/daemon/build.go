// This file builds the parts of the daemon and connects them.

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"lvsd/cmd/internal/instances"
	"lvsd/cmd/internal/markprobe"

	"lvsd/checker"
	"lvsd/cmd/internal/announce"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/api/server"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/host"
	"lvsd/cmd/internal/logging"
	"lvsd/cmd/internal/metrics"
	"lvsd/cmd/internal/notify"
	"lvsd/cmd/internal/persist"
	"lvsd/cmd/internal/reload"
	"lvsd/cmd/internal/vrrpproc"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/ipvs/connsync"
	"lvsd/vrrp"
)

// build opens everything that can refuse a start. On failure it returns every
// reason and leaves nothing behind.
func build(c *config.Config, o Options, log *logging.Log) (_ *Daemon, err error) {
	d := &Daemon{options: o, log: log, events: &event.Recorder{Log: log.Logger, Director: c.Director}, autoReload: autoReload{file: o.Source.Path}}
	d.connections.Store(-1)
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	var noState, noKernel error
	d.state, noState = persist.Open(c.Global.StateDir)
	d.kernel, noKernel = o.OpenKernel()
	if noState != nil || noKernel != nil {
		err = errors.Join(noState, noKernel, Try(c, log.Logger, true))
		return nil, err
	}
	for _, p := range d.state.Problems() {
		log.Error("state_dir is only partly usable", "reason", p)
	}
	d.addresses = newAddressRecord(d.state, log.Logger)
	d.replies = newReplies(host.ReplyAcceptor{Store: d.state, Log: log.Logger})
	d.journal = event.NewJournal(d.state.Path(), d.events, log.Logger)
	d.notifier = notify.New(d.events, log.Logger)
	m := metrics.New(o.Version, o.Commit)
	wake := func() { d.director.Wake() }
	paths := &markprobe.Writes{Kernel: d.kernel}
	d.reconciler = ipvs.NewReconciler(paths, ipvs.Options{
		Log: log.Logger, Ledger: d.state.Ledger(), Wake: wake, OnChange: d.tableChanged,
	})
	d.checker = checker.New(checker.Options{
		Log: log.Logger, Wake: wake, ObserveLag: m.ObserveCheckLag, OnChange: d.healthChanged, MaxProbes: maxProbes(),
		PathFault: func(ctx context.Context, mark uint32, since time.Time) error {
			return d.director.PathFault(ctx, mark, since)
		},
	})
	d.vrrp = vrrpproc.New(vrrpproc.Options{
		Command: append(slices.Clone(o.VRRPCommand), c.Global.LogFormat),
		Log:     log.Logger, OnEvent: d.instanceChanged, OnMasterConflict: d.masterConflict, OnAddressConflict: d.addressConflict, OnRestored: d.addressesRestored, ObserveLag: m.ObserveTimerLag,
	})
	d.server = &server.Server{Log: log.Logger, Events: d.events, Metrics: m.Handler(), Version: o.Version, Started: time.Now(), Problems: d.problems, Journal: d.journal}
	d.listener = connsync.NewReceiver(log.Logger, d.reconciler.DesiredSync)
	d.routes = announce.New(log.Logger, o.OpenRoutes, wake)
	d.peers = d.newExchange()
	d.server.Exchange = d.peers
	d.director = director.New(director.Deps{
		Log:              log.Logger,
		Events:           d.events,
		Table:            d.reconciler,
		Checker:          d.checker,
		OpenInstance:     func(e vrrp.Config) (instances.Engine, error) { return d.vrrp.Open(e) },
		RefreshInstances: d.vrrp.Refresh,
		Participants:     []reload.Participant{restartOnly, d.synchronisation, d.settings, d.addresses.prepare},
		Readers:          []reload.Reader{modules, d.notifier.Read, d.server.ReadPublic, exchangeReader(d.peers)},
		Load:             releasingMemory(d.load),
		Reloaded:         d.saveLastGood,
		StandbyStore:     d.state,
		Host:             d.replies,
		MarkWrites:       paths,
		Peers:            peerView{d},
		Routes:           d.routes,
		PublishState:     d.peers.Refresh,
		SyncSender:       connsync.NewSender(d.kernel),
		Before:           d.state.LoadDecision(log.Logger, time.Now()),
		RSTGuard:         &d.rstGuard,
	})
	d.systemd = newSystemd(d.director)
	d.server.Daemon = notifiedDirector{d.director, d.systemd}
	d.server.Table = d.reconciler
	m.Watch(d.director.View)
	m.WatchOrigins(d.reconciler.ConnectionOrigins)
	m.Count(metrics.EventsDropped, d.journal.Dropped)
	m.WatchPeers(d.peers)
	m.WatchReceivedSync(d.listener.Received)
	m.Count(metrics.NotifyFailures, d.notifier.Failures)
	if err = d.director.Prepare(c); err != nil {
		return nil, err
	}
	if err = d.server.OpenControl(c.Global.ControlSocket, c.Global.ControlGroup); err != nil {
		return nil, err
	}
	return d, nil
}

// load reads the file for a reload, and records the addresses that it may put on this
// host before they can be there.
func (d *Daemon) load() (*config.Config, []string, error) {
	c, warnings, err := d.options.Source.LoadText(&d.text)
	if err == nil {
		d.addresses.cover(c)
	}
	return c, warnings, err
}

// Try returns what a start on this machine would refuse of a configuration and, unless
// awaitInterfaces, which instances would begin in fault. It starts nothing and leaves
// nothing open.
func Try(c *config.Config, log *slog.Logger, awaitInterfaces bool) error {
	readers := []reload.Reader{modules}
	if !api.Answers(c.Global.ControlSocket) { // a running daemon has the port open
		readers = append(readers, server.TryPublic(log), tryExchange(log))
	}
	return director.New(director.Deps{
		Log: log,
		OpenInstance: func(e vrrp.Config) (instances.Engine, error) {
			e.AwaitInterface = awaitInterfaces
			return vrrp.Open(e, vrrp.Options{Log: log})
		},
		Readers:      readers,
		Participants: []reload.Participant{tryRoutes(log)},
		Host:         host.ReplyAcceptor{Log: log},
	}).Try(c)
}
