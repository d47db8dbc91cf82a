// This file has the name, type, labels and help text of each series. docs/metrics.md
// is written from it, and a test compares them.

package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// all is filled by describe, so that none is left out.
var all []*prometheus.Desc

// infos has what prometheus.Desc does not export.
var infos = map[*prometheus.Desc]*described{}

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return newDesc(dto.MetricType_GAUGE, name, help, labels)
}

func counter(name, help string, labels ...string) *prometheus.Desc {
	return newDesc(dto.MetricType_COUNTER, name, help, labels)
}

func histogram(name, help string) *prometheus.Desc {
	return newDesc(dto.MetricType_HISTOGRAM, name, help, nil)
}

func newDesc(kind dto.MetricType, name, help string, labels []string) *prometheus.Desc {
	d := prometheus.NewDesc(name, help, labels, nil)
	all = append(all, d)
	infos[d] = describe(kind, name, help, labels)
	return d
}

// Description is a series for its documentation.
type Description struct {
	Name, Type, Unit, Help string
	Labels                 []string
}

// Descriptions returns all series in the order of the documentation.
func Descriptions() []Description {
	out := make([]Description, 0, len(all))
	for _, d := range all {
		i := infos[d]
		out = append(out, Description{Name: i.name, Type: strings.ToLower(i.kind.String()), Unit: unit(i.name), Help: i.help, Labels: i.labels})
	}
	return out
}

// unit is the unit of a series, with which its name must end by Prometheus's rules.
func unit(name string) string {
	name = strings.TrimSuffix(name, "_total")
	switch {
	case strings.HasSuffix(name, "_timestamp_seconds"):
		return "seconds since 1970"
	case strings.HasSuffix(name, "_seconds"):
		return "seconds"
	case strings.Contains(name, "_bytes_"):
		return "bytes"
	}
	return ""
}

var (
	buildInfo  = gauge("lvsd_build_info", "1, with the version in the labels.", "version", "commit", "go_version")
	directorIs = gauge("lvsd_director_info", "1, with this director's configured name in the label; empty if it has none.", "director")
	configInfo = gauge("lvsd_config_info", "1, with the hash of the running configuration in the label.", "hash")
	reloadOK   = gauge("lvsd_config_last_reload_successful", "1 if the last reload succeeded, 0 if it was rejected.")
	reloadTime = gauge("lvsd_config_last_reload_success_timestamp_seconds", "When the running configuration was loaded.")

	vrrpState         = gauge("lvsd_vrrp_state", "1 for the current state of the instance on this director.", "vrrp", "state")
	vrrpPriority      = gauge("lvsd_vrrp_priority", "The instance's priority on this director.", "vrrp")
	vrrpStandby       = gauge("lvsd_vrrp_held", "1 while this director is on standby after a handover.", "vrrp")
	vrrpTransitions   = counter("lvsd_vrrp_transitions_total", "Changes of state, by the new state and the reason.", "vrrp", "to", "reason")
	vrrpSent          = counter("lvsd_vrrp_adverts_sent_total", "Adverts sent.", "vrrp")
	vrrpReceived      = counter("lvsd_vrrp_adverts_received_total", "Adverts received and accepted.", "vrrp")
	vrrpDropped       = counter("lvsd_vrrp_packets_dropped_total", "VRRP packets received and dropped, by reason.", "vrrp", "reason")
	vrrpContested     = gauge("lvsd_vrrp_contested", "1 while adverts of another master are received, or a live peer's adverts are rejected.", "vrrp")
	vrrpGroupWait     = gauge("lvsd_vrrp_sync_group_waiting", "1 while a backup that receives no master does not take over because another member of its sync group follows one.", "vrrp")
	vrrpLastAdvert    = gauge("lvsd_vrrp_last_advert_timestamp_seconds", "When an advert was last received; 0 for never.", "vrrp")
	vrrpAddress       = gauge("lvsd_vrrp_address_present", "1 for each address of the instance that is on this director, in use or about to be removed.", "vrrp", "address")
	vrrpConflict      = gauge("lvsd_vrrp_address_conflict", "1 while another host, or another interface or program of this one, also has the address.", "vrrp", "address")
	vrrpRestored      = counter("lvsd_vrrp_restored_total", "Addresses, routes and rules that another process removed and that were restored.", "vrrp")
	vrrpAnnouncements = counter("lvsd_vrrp_gratuitous_announcements_total", "Gratuitous ARP frames sent.", "vrrp")
	vrrpTimerLag      = histogram("lvsd_vrrp_timer_lag_seconds", "Delay of the VRRP timers.")

	announcedRoute      = gauge("lvsd_announced", "1 while the routing table has the route of the announced address.", "announce", "address")
	announceWanted      = gauge("lvsd_announce_wanted", "1 while this director should announce the addresses.", "announce")
	announceKept        = gauge("lvsd_announce_kept", "1 while the addresses are announced with the draining metric although this director should not, because no other one serves.", "announce")
	announceHeld        = gauge("lvsd_announce_held", "1 while this director is on standby after a handover.", "announce")
	announceDaemon      = gauge("lvsd_announce_routing_daemon_up", "1 while the routing daemon accepts connections on its control socket; absent if none was found.", "announce")
	announceDirectors   = gauge("lvsd_announce_directors", "Directors that announce the addresses, this one included, as far as the exchange between them shows.", "announce")
	announceWithdrawals = counter("lvsd_announce_withdrawals_total", "Withdrawals of the addresses, by reason.", "announce", "reason")
	announceRepairs     = counter("lvsd_announce_routes_restored_total", "Routes of announcements that another process removed, and that were restored.")
	announceForeign     = gauge("lvsd_announce_foreign_routes", "Routes of other processes in the routing tables of announcements.")

	serviceUp        = gauge("lvsd_virtual_service_up", "1 while the service has its quorum.", "service")
	serviceAlive     = gauge("lvsd_virtual_service_weight_alive", "Sum of the effective weights of the service's real servers, regardless of slow start.", "service")
	serviceQuorum    = gauge("lvsd_virtual_service_quorum", "The available weight that the service needs.", "service")
	servicePanic     = gauge("lvsd_virtual_service_panic", "1 while so few servers are healthy that all are treated as up.", "service")
	serviceFallback  = gauge("lvsd_virtual_service_fallback_active", "1 while the fallback is serving because the quorum is lost.", "service")
	serviceServers   = gauge("lvsd_virtual_service_real_servers", "Real servers of the service that are up, down or unknown by their checks, without those that drain.", "service", "state")
	serviceUnchecked = gauge("lvsd_virtual_service_real_servers_unchecked", "Real servers of the service with a check that this director cannot run.", "service")
	serviceDelegated = gauge("lvsd_virtual_service_real_servers_delegated", "Real servers of the service that another director probes, and this one rarely; absent without probe_share.", "service")
	serviceActive    = gauge("lvsd_virtual_service_active_connections", "Established TCP connections of all its real servers.", "service")
	serviceInactive  = gauge("lvsd_virtual_service_inactive_connections", "Connections in every other state of all its real servers; UDP counts here.", "service")
	serviceCounters  = counterDescsOf("lvsd_virtual_service", "service")

	guardActive = gauge("lvsd_guard_active", "1 while the guard against mass failure freezes the health.")

	serverUp         = gauge("lvsd_real_server_up", "1 while the real server is up by its checks.", "service", "real_server")
	serverUnchecked  = gauge("lvsd_real_server_unchecked", "1 while this director cannot run a check of the real server, which keeps its last health.", "service", "real_server", "check")
	serverWeight     = gauge("lvsd_real_server_weight", "The weight in the kernel; 0 also for a server that is not in its table.", "service", "real_server")
	serverConfigured = gauge("lvsd_real_server_configured_weight", "The weight in the configuration file.", "service", "real_server")
	serverDraining   = gauge("lvsd_real_server_draining", "1 while the real server drains: by the configuration, at its own request, or because it was removed from the file and still has connections.", "service", "real_server")
	serverDrainStart = gauge("lvsd_real_server_drain_start_timestamp_seconds", "When the drain of the real server started; absent while it does not drain.", "service", "real_server")
	serverDrainUntil = gauge("lvsd_real_server_drain_until_timestamp_seconds", "When its drain ends, by drain_until; absent without one.", "service", "real_server")
	certificate      = gauge("lvsd_check_certificate_expiry_timestamp_seconds", "When the first certificate of the chain that the real server shows expires; absent without one.", "service", "real_server", "check")
	serverActive     = gauge("lvsd_real_server_active_connections", "Established TCP connections.", "service", "real_server")
	serverInactive   = gauge("lvsd_real_server_inactive_connections", "Connections in every other state; UDP counts here.", "service", "real_server")
	serverPersistent = gauge("lvsd_real_server_persistent_connections", "Persistence templates.", "service", "real_server")
	serverCounters   = counterDescsOf("lvsd_real_server", "service", "real_server")

	checksTotal   = counter("lvsd_checks_total", "Finished probes, by outcome.", "service", "real_server", "reason", "check")
	checkUp       = gauge("lvsd_check_up", "1 while the check of the real server finds it up; for servers with several checks.", "service", "real_server", "check")
	checkDuration = gauge("lvsd_check_duration_seconds", "Duration of the last probe.", "service", "real_server", "check")
	checkLagged   = histogram("lvsd_check_lag_seconds", "Delay of the start of probes.")

	ipvsUp         = gauge("lvsd_ipvs_up", "1 while the kernel's table can be read.")
	ipvsOperations = counter("lvsd_ipvs_operations_total", "Writes to the kernel's table, by operation and result.", "operation", "result")
	ipvsDrift      = counter("lvsd_ipvs_drift_total", "Modifications of the kernel's table by other processes, by kind.", "kind")
	ipvsSync       = gauge("lvsd_ipvs_sync_daemon", "1 while that role of the connection synchronisation is running: master sends, backup receives. Absent without [ipvs.sync], and while daemons of another process are running.", "role")
	ipvsForeign    = gauge("lvsd_ipvs_foreign_entries", "Real servers in services of lvsd that another process added.")
	ipvsResync     = gauge("lvsd_ipvs_last_resync_timestamp_seconds", "When the kernel's table was last read in full.")

	ipvsConnections = gauge("lvsd_ipvs_connections",
		"Entries of the kernel's connection table created here (own) or received from the peer (synced), of the first 200,000; absent if the kernel does not report it.", "origin")
	ipvsForeignConnections = gauge("lvsd_ipvs_foreign_connections",
		"Entries received by the connection synchronisation whose real server no service has, or had within a day: another host may have sent them. Absent if the kernel does not report it.")
	syncLast = gauge("lvsd_ipvs_sync_last_message_timestamp_seconds",
		"When a synchronisation message of the peer with our id was last received, sampled once per second; 0 for never. Absent without [ipvs.sync].")
	syncMismatch = gauge("lvsd_ipvs_sync_mismatch",
		"1 while the peer's connections are ignored because of another id, group, port or interface. Absent without [ipvs.sync].")

	peerUp      = gauge("lvsd_peer_up", "1 while the other director replies in the exchange of [peers]. Series of peers exist with [peers] only.", "director")
	peerAt      = gauge("lvsd_peer_last_answer_timestamp_seconds", "When the other director last replied; 0 for never.", "director")
	peerConfig  = gauge("lvsd_peer_config_matches", "1 while both run the same configuration; absent while the other does not reply.", "director")
	peerVersion = gauge("lvsd_peer_version_matches", "1 while both run the same version; absent while the other does not reply.", "director")
	peerHealth  = gauge("lvsd_peer_health_differences", "Real servers on whose health both disagree for longer than their checks explain; absent while the other does not reply.", "director")
	peerClock   = gauge("lvsd_peer_clock_ahead_seconds", "How much the other director's clock is ahead; absent while it does not reply.", "director")
	peerRefused = counter("lvsd_peer_refused_total", "Rejected requests to the exchange, by reason.", "reason")

	eventsDropped  = counter("lvsd_events_dropped_total", "Events that were dropped from the history because the disk was too slow or full for too long.")
	notifyFailures = counter("lvsd_notify_failures_total", "Events that a program, the webhook or the mail server did not accept: failure, timeout or full queue.")
)

// counterDescs are the kernel's five counters of a service or a real server.
type counterDescs struct {
	connections, packetsIn, packetsOut, bytesIn, bytesOut *prometheus.Desc
}

func counterDescsOf(prefix string, labels ...string) counterDescs {
	return counterDescs{
		connections: counter(prefix+"_connections_total", "Connections scheduled.", labels...),
		packetsIn:   counter(prefix+"_packets_in_total", "Packets from clients.", labels...),
		packetsOut:  counter(prefix+"_packets_out_total", "Packets to clients; with dr and tun they bypass the director.", labels...),
		bytesIn:     counter(prefix+"_bytes_in_total", "Bytes from clients.", labels...),
		bytesOut:    counter(prefix+"_bytes_out_total", "Bytes to clients; with dr and tun they bypass the director.", labels...),
	}
}
