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
	directorIs = gauge("lvsd_director_info", "1, with this director's name in the file in the label; empty where the file names none.", "director")
	configInfo = gauge("lvsd_config_info", "1, with the hash of the running configuration in the label.", "hash")
	reloadOK   = gauge("lvsd_config_last_reload_successful", "1 when the newest reload was done, 0 when it was refused.")
	reloadTime = gauge("lvsd_config_last_reload_success_timestamp_seconds", "When the running configuration was taken up.")

	vrrpState         = gauge("lvsd_vrrp_state", "1 for the present state of the instance on this director.", "vrrp", "state")
	vrrpPriority      = gauge("lvsd_vrrp_priority", "The instance's priority on this director.", "vrrp")
	vrrpStandby       = gauge("lvsd_vrrp_held", "1 while this director is in standby after a handover.", "vrrp")
	vrrpTransitions   = counter("lvsd_vrrp_transitions_total", "Changes of state, by the new state and the reason.", "vrrp", "to", "reason")
	vrrpSent          = counter("lvsd_vrrp_adverts_sent_total", "Adverts sent.", "vrrp")
	vrrpReceived      = counter("lvsd_vrrp_adverts_received_total", "Adverts received and accepted.", "vrrp")
	vrrpDropped       = counter("lvsd_vrrp_packets_dropped_total", "VRRP packets received and dropped, by reason.", "vrrp", "reason")
	vrrpContested     = gauge("lvsd_vrrp_contested", "1 while adverts of another master arrive, or a live peer's adverts are refused.", "vrrp")
	vrrpLastAdvert    = gauge("lvsd_vrrp_last_advert_timestamp_seconds", "When an advert was last received; 0 for never.", "vrrp")
	vrrpAddress       = gauge("lvsd_vrrp_address_present", "1 for each address of the instance that is on this director, in use or about to be removed.", "vrrp", "address")
	vrrpConflict      = gauge("lvsd_vrrp_address_conflict", "1 while another host, or another interface or program of this one, has the address too.", "vrrp", "address")
	vrrpRestored      = counter("lvsd_vrrp_restored_total", "Addresses, routes and rules that another process removed and that were restored.", "vrrp")
	vrrpAnnouncements = counter("lvsd_vrrp_gratuitous_announcements_total", "Gratuitous ARP frames sent.", "vrrp")
	vrrpTimerLag      = histogram("lvsd_vrrp_timer_lag_seconds", "How late the timers of VRRP were served.")

	announcedRoute      = gauge("lvsd_announced", "1 while the routing table has the route by which the address is announced.", "announce", "address")
	announceWanted      = gauge("lvsd_announce_wanted", "1 while this director should announce the addresses.", "announce")
	announceKept        = gauge("lvsd_announce_kept", "1 while the addresses are announced with the draining metric although this director should not, because no other one serves.", "announce")
	announceHeld        = gauge("lvsd_announce_held", "1 while this director is on standby after a handover.", "announce")
	announceDaemon      = gauge("lvsd_announce_routing_daemon_up", "1 while the routing daemon accepts connections on its control socket; no series where none was seen.", "announce")
	announceDirectors   = gauge("lvsd_announce_directors", "Directors that announce the addresses, this one included, as far as the exchange between them shows.", "announce")
	announceWithdrawals = counter("lvsd_announce_withdrawals_total", "Withdrawals of the addresses, by reason.", "announce", "reason")
	announceRepairs     = counter("lvsd_announce_routes_restored_total", "Routes of announcements that another process removed, and that were restored.")
	announceForeign     = gauge("lvsd_announce_foreign_routes", "Routes of other processes in the routing tables of announcements.")

	serviceUp        = gauge("lvsd_virtual_service_up", "1 while the service has its quorum.", "service")
	serviceAlive     = gauge("lvsd_virtual_service_weight_alive", "Sum of the effective weights of the service's real servers; a slow start takes nothing from it.", "service")
	serviceQuorum    = gauge("lvsd_virtual_service_quorum", "The available weight that the service needs.", "service")
	servicePanic     = gauge("lvsd_virtual_service_panic", "1 while so few servers are healthy that all count as up.", "service")
	serviceFallback  = gauge("lvsd_virtual_service_fallback_active", "1 while the fallback serves because the quorum is lost.", "service")
	serviceServers   = gauge("lvsd_virtual_service_real_servers", "How many real servers of the service are up, down or unknown by their checks; one that drains is in none of them.", "service", "state")
	serviceUnchecked = gauge("lvsd_virtual_service_real_servers_unchecked", "How many real servers of the service have a check that this director cannot make.", "service")
	serviceDelegated = gauge("lvsd_virtual_service_real_servers_delegated", "How many real servers of the service another director probes, and this one rarely; absent without probe_share.", "service")
	serviceActive    = gauge("lvsd_virtual_service_active_connections", "Established TCP connections of all its real servers.", "service")
	serviceInactive  = gauge("lvsd_virtual_service_inactive_connections", "Connections in every other state of all its real servers; UDP counts here.", "service")
	serviceCounters  = counterDescsOf("lvsd_virtual_service", "service")

	guardActive = gauge("lvsd_guard_active", "1 while the guard against mass failure keeps health frozen.")

	serverUp         = gauge("lvsd_real_server_up", "1 while the checks say that the real server is up.", "service", "real_server")
	serverUnchecked  = gauge("lvsd_real_server_unchecked", "1 while this director cannot make a check of the real server, whose health is that of before.", "service", "real_server")
	serverWeight     = gauge("lvsd_real_server_weight", "The weight in the kernel; 0 also for a server that is out of its table.", "service", "real_server")
	serverConfigured = gauge("lvsd_real_server_configured_weight", "The weight in the file.", "service", "real_server")
	serverDraining   = gauge("lvsd_real_server_draining", "1 while the file drains the real server by weight 0, the server asks for it, or it left the file and keeps its connections.", "service", "real_server")
	serverDrainStart = gauge("lvsd_real_server_drain_start_timestamp_seconds", "Since when the real server drains; absent while it does not.", "service", "real_server")
	serverDrainUntil = gauge("lvsd_real_server_drain_until_timestamp_seconds", "When its drain ends by itself, as drain_until in the file says; absent where none does.", "service", "real_server")
	certificate      = gauge("lvsd_check_certificate_expiry_timestamp_seconds", "When the first certificate that the real server showed ends; absent without one.", "service", "real_server")
	serverActive     = gauge("lvsd_real_server_active_connections", "Established TCP connections.", "service", "real_server")
	serverInactive   = gauge("lvsd_real_server_inactive_connections", "Connections in every other state; UDP counts here.", "service", "real_server")
	serverPersistent = gauge("lvsd_real_server_persistent_connections", "Persistence templates.", "service", "real_server")
	serverCounters   = counterDescsOf("lvsd_real_server", "service", "real_server")

	checksTotal   = counter("lvsd_checks_total", "Probes that ended, by reason.", "service", "real_server", "reason")
	checkUp       = gauge("lvsd_check_up", "1 while the check of the real server finds it up; for servers with several checks.", "service", "real_server", "check")
	checkDuration = gauge("lvsd_check_duration_seconds", "How long the newest probe took.", "service", "real_server")
	checkLagged   = histogram("lvsd_check_lag_seconds", "How much later than due the probes were started.")

	ipvsUp         = gauge("lvsd_ipvs_up", "1 while the kernel's table can be read.")
	ipvsOperations = counter("lvsd_ipvs_operations_total", "Writes to the kernel's table, by operation and result.", "operation", "result")
	ipvsDrift      = counter("lvsd_ipvs_drift_total", "Changes that others made to the kernel's table and that were found, by kind.", "kind")
	ipvsSync       = gauge("lvsd_ipvs_sync_daemon", "1 while that half of the connection synchronisation runs: master sends, backup receives. Absent without [ipvs.sync], also while daemons of another process run.", "role")
	ipvsForeign    = gauge("lvsd_ipvs_foreign_entries", "Real servers in our services that another program added.")
	ipvsResync     = gauge("lvsd_ipvs_last_resync_timestamp_seconds", "When the kernel's table was last read in full.")

	ipvsConnections = gauge("lvsd_ipvs_connections",
		"Entries of the kernel's connection table that began here (own) or came from the peer (synced), of the first 200,000; absent when the kernel does not say.", "origin")
	ipvsForeignConnections = gauge("lvsd_ipvs_foreign_connections",
		"Entries that came by the connection synchronisation and lead to a real server that no service has, or had within a day: another machine may have sent them. Absent when the kernel does not say.")
	syncLast = gauge("lvsd_ipvs_sync_last_message_timestamp_seconds",
		"When a message of the peer's with our identifier was last received, by one sample a second; 0 for never. Absent without [ipvs.sync].")
	syncMismatch = gauge("lvsd_ipvs_sync_mismatch",
		"1 while the peer's connections are not taken: they have another identifier than ours, or go to another group, port or interface. Absent without [ipvs.sync].")

	peerUp      = gauge("lvsd_peer_up", "1 while the other director answers in the exchange of [peers]; the series of peers are there while that is on.", "director")
	peerAt      = gauge("lvsd_peer_last_answer_timestamp_seconds", "When the other director answered last; 0 for never.", "director")
	peerConfig  = gauge("lvsd_peer_config_matches", "1 while both run the same configuration; absent while the other does not answer.", "director")
	peerVersion = gauge("lvsd_peer_version_matches", "1 while both run the same version; absent while the other does not answer.", "director")
	peerHealth  = gauge("lvsd_peer_health_differences", "Real servers that both see otherwise for longer than their checks explain; absent while the other does not answer.", "director")
	peerClock   = gauge("lvsd_peer_clock_ahead_seconds", "How much the other director's clock is ahead; absent while it does not answer.", "director")
	pairRefused = counter("lvsd_pair_refused_total", "Questions of others that the exchange did not answer, by reason.", "reason")

	eventsDropped  = counter("lvsd_events_dropped_total", "Events that found no room (the disk was too slow, or full for too long) and are not in the history on disk.")
	notifyFailures = counter("lvsd_notify_failures_total", "Events that a program, the webhook or the mail server did not accept: it failed, took too long, or had too many waiting.")
)

// counterDescs are the kernel's five counters of a service or a real server.
type counterDescs struct {
	connections, packetsIn, packetsOut, bytesIn, bytesOut *prometheus.Desc
}

func counterDescsOf(prefix string, labels ...string) counterDescs {
	return counterDescs{
		connections: counter(prefix+"_connections_total", "Connections scheduled.", labels...),
		packetsIn:   counter(prefix+"_packets_in_total", "Packets from clients.", labels...),
		packetsOut:  counter(prefix+"_packets_out_total", "Packets to clients; with dr and tun they do not pass here.", labels...),
		bytesIn:     counter(prefix+"_bytes_in_total", "Bytes from clients.", labels...),
		bytesOut:    counter(prefix+"_bytes_out_total", "Bytes to clients; with dr and tun they do not pass here.", labels...),
	}
}
