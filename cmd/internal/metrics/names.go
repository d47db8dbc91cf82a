package metrics

// The names of the series, each with what it says: one home for both.

import "github.com/prometheus/client_golang/prometheus"

// all is filled by desc, so that no name can be left out of Describe.
var all []*prometheus.Desc

// infos has what the library's descriptions keep to themselves.
var infos = map[*prometheus.Desc]described{}

func desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(name, help, labels, nil)
	all = append(all, d)
	infos[d] = describe(name, help, labels)
	return d
}

var (
	configInfo = desc("lvsd_config_info", "1, with the hash of the running configuration in the label.", "hash")
	reloadOK   = desc("lvsd_config_last_reload_successful", "1 when the newest reload was done, 0 when it was refused.")
	reloadTime = desc("lvsd_config_last_reload_success_timestamp_seconds", "When the running configuration was taken up.")

	vrrpState         = desc("lvsd_vrrp_state", "1 for the present state of the election on this director.", "vrrp", "state")
	vrrpPriority      = desc("lvsd_vrrp_priority", "The election's priority on this director.", "vrrp")
	vrrpHeld          = desc("lvsd_vrrp_held", "1 while this director stays away from the election after a handover.", "vrrp")
	vrrpTransitions   = desc("lvsd_vrrp_transitions_total", "Changes of state, by the new state and the reason.", "vrrp", "to", "reason")
	vrrpSent          = desc("lvsd_vrrp_adverts_sent_total", "Adverts sent.", "vrrp")
	vrrpReceived      = desc("lvsd_vrrp_adverts_received_total", "Adverts heard and accepted.", "vrrp")
	vrrpDropped       = desc("lvsd_vrrp_packets_dropped_total", "VRRP packets heard and refused, by reason.", "vrrp", "reason")
	vrrpContested     = desc("lvsd_vrrp_contested", "1 while another master is heard, or a live peer's adverts are refused.", "vrrp")
	vrrpLastAdvert    = desc("lvsd_vrrp_last_advert_timestamp_seconds", "When an advert was last heard; 0 for never.", "vrrp")
	vrrpAddress       = desc("lvsd_vrrp_address_present", "1 for each address of the election that is on this director, answered for or on the way out.", "vrrp", "address")
	vrrpRestored      = desc("lvsd_vrrp_restored_total", "Addresses, routes and rules that somebody else removed, and that were put back.", "vrrp")
	vrrpAnnouncements = desc("lvsd_vrrp_gratuitous_announcements_total", "Gratuitous ARP frames sent.", "vrrp")

	serviceUp       = desc("lvsd_virtual_service_up", "1 while the service has its quorum.", "service")
	serviceAlive    = desc("lvsd_virtual_service_weight_alive", "Sum of the effective weights of the service's real servers.", "service")
	serviceQuorum   = desc("lvsd_virtual_service_quorum", "The weight alive that the service needs.", "service")
	servicePanic    = desc("lvsd_virtual_service_panic", "1 while so few servers are healthy that all count as up.", "service")
	serviceFallback = desc("lvsd_virtual_service_fallback_active", "1 while the fallback serves because the quorum is lost.", "service")
	serviceCounters = counterDescsOf("lvsd_virtual_service", "service")

	guardActive = desc("lvsd_guard_active", "1 while the guard against mass failure holds the verdicts frozen.")

	serverUp         = desc("lvsd_real_server_up", "1 while the checks say that the real server is up.", "service", "real_server")
	serverWeight     = desc("lvsd_real_server_weight", "The weight in the kernel; 0 also for a server that is out of its table.", "service", "real_server")
	serverConfigured = desc("lvsd_real_server_configured_weight", "The weight in the file.", "service", "real_server")
	serverDraining   = desc("lvsd_real_server_draining", "1 while the file drains the real server by weight 0, the server asks for it, or it left the file and keeps its connections.", "service", "real_server")
	serverDrainStart = desc("lvsd_real_server_drain_start_timestamp_seconds", "Since when the real server drains.", "service", "real_server")
	certificate      = desc("lvsd_check_certificate_expiry_timestamp_seconds", "When the first certificate that the real server showed ends.", "service", "real_server")
	serverActive     = desc("lvsd_real_server_active_connections", "Established TCP connections.", "service", "real_server")
	serverInactive   = desc("lvsd_real_server_inactive_connections", "Connections in every other state; UDP counts here.", "service", "real_server")
	serverPersistent = desc("lvsd_real_server_persistent_connections", "Persistence templates.", "service", "real_server")
	serverCounters   = counterDescsOf("lvsd_real_server", "service", "real_server")

	checksTotal   = desc("lvsd_checks_total", "Probes that ended, by reason.", "service", "real_server", "reason")
	checkDuration = desc("lvsd_check_duration_seconds", "How long the newest probe took.", "service", "real_server")

	ipvsUp         = desc("lvsd_ipvs_up", "1 while the kernel's table can be read.")
	ipvsOperations = desc("lvsd_ipvs_operations_total", "Writes to the kernel's table, by operation and result.", "operation", "result")
	ipvsDrift      = desc("lvsd_ipvs_drift_total", "Changes that others made to the kernel's table and that were found, by kind.", "kind")
	ipvsSync       = desc("lvsd_ipvs_sync_daemon", "1 while the half of the connection synchronisation runs: master sends, backup receives.", "role")
	ipvsForeign    = desc("lvsd_ipvs_foreign_entries", "Real servers in our services that somebody else added.")
	ipvsResync     = desc("lvsd_ipvs_last_resync_timestamp_seconds", "When the kernel's table was last read in full.")
)

// counterDescs are the kernel's five counters of a service or a real server.
type counterDescs struct {
	connections, packetsIn, packetsOut, bytesIn, bytesOut *prometheus.Desc
}

func counterDescsOf(prefix string, labels ...string) counterDescs {
	return counterDescs{
		connections: desc(prefix+"_connections_total", "Connections scheduled.", labels...),
		packetsIn:   desc(prefix+"_packets_in_total", "Packets from clients.", labels...),
		packetsOut:  desc(prefix+"_packets_out_total", "Packets to clients; with dr and tun they do not pass here.", labels...),
		bytesIn:     desc(prefix+"_bytes_in_total", "Bytes from clients.", labels...),
		bytesOut:    desc(prefix+"_bytes_out_total", "Bytes to clients; with dr and tun they do not pass here.", labels...),
	}
}
