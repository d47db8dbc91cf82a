// Keywords without an equivalent, by the reason.

package keepalived

import (
	"strings"

	"lvsd/cmd/internal/convert"
)

// because is a reason and the keywords that have it, with spaces between them.
type because struct {
	convert.Reason
	keywords string
}

// reasons returns the reasons by keyword.
func reasons(all ...because) map[string]convert.Reason {
	m := map[string]convert.Reason{}
	for _, b := range all {
		for _, word := range strings.Fields(b.keywords) {
			m[word] = b.Reason
		}
	}
	return m
}

// noStrict is the reason of strict mode, whose other effects are rules of validate.go.
const noStrict = "what strict mode changes is carried over, except that keepalived then drops packets to the addresses (no_accept): a master of lvsd's answers for them"

// topLevelKeywords are blocks and words outside of all blocks.
var topLevelKeywords = reasons(
	because{convert.Unsupported(convert.NoStatic), "static_ipaddress static_routes static_rules track_group"},
	because{convert.Unneeded(convert.AnnouncesItself), "garp_group"},
	because{convert.Unneeded("the kernel reports a lost carrier to lvsd"), "linkbeat_interfaces linkbeat_use_polling"},
	because{convert.Unsupported("lvsd reacts to a lost carrier at once"), "interface_up_down_delays"},
	because{convert.Unsupported(convert.NoBFD), "bfd_instance"},
	because{convert.Unsupported(convert.NoProcess), "vrrp_track_process track_process"},
	because{convert.Unsupported("start lvsd in the namespace: ip netns exec NAME lvsd run"), "net_namespace"},
	because{convert.Unsupported("lvsd has VRRP, checks and IPVS in one namespace"), "net_namespace_ipvs"},
	because{convert.Unneeded("name the file with -c, and state_dir and control_socket in it"), "instance"},
	because{convert.Unneeded(convert.OwnProcesses), "use_pid_dir child_wait_time"},
	because{convert.Unneeded(convert.NoFirewall), "namespace_with_ipsets"},
	because{convert.Unneeded("lvsd reads one file"), "include_check"},
)

// globalKeywords are keywords of global_defs.
var globalKeywords = reasons(
	because{convert.Reason{}, "smtp_alert smtp_alert_vrrp smtp_alert_checker"}, // kinds of [email]
	because{convert.Unneeded("names the machine in mail: lvsd uses the director's name"), "router_id"},
	because{convert.Unsupported(convert.MailByKind), "no_email_faults no_checker_emails"},
	because{convert.Unneeded(convert.MailOnly), "smtp_connect_timeout smtp_helo_name"},
	because{convert.Unneeded(`log_level = "debug" in [global] shows each probe, and lvsd why the last ones`), `
		checker_log_all_failures`},
	because{convert.Unneeded("lvsd compares the kernel's table with the file at its start, and leaves services alone that are not in it"), `
		lvs_flush`},
	because{convert.Unneeded("is for addresses that lvsd does not set"), "default_interface"},
	because{convert.Unsupported("let the service's unit run it before lvsd, as ExecStartPre="), "startup_script"},
	because{convert.Unneeded("goes with startup_script"), "startup_script_timeout"},
	because{convert.Unsupported("let the service's unit run it after lvsd, as ExecStopPost="), "shutdown_script"},
	because{convert.Unneeded("goes with shutdown_script"), "shutdown_script_timeout"},
	because{convert.Unsupported(convert.NotifyAsJSON), `
		notify_fifo notify_fifo_script vrrp_notify_fifo vrrp_notify_fifo_script lvs_notify_fifo
		lvs_notify_fifo_script`},
	because{convert.Unneeded(convert.NotifyAsJSON), "fifo_write_vrrp_states_on_reload"},
	because{convert.Unneeded("every change is an event"), "vrrp_notify_priority_changes rs_init_notifies"},
	because{convert.Unneeded("lvsd runs a program by its absolute path, without a shell"), "enable_script_security"},
	because{convert.Unneeded("lvsd waits for an interface that is not there"), "dynamic_interfaces"},
	because{convert.Unsupported(noStrict), "vrrp_strict"},
	because{convert.Unneeded("lvsd looks at every advert"), "vrrp_skip_check_adv_addr"},
	because{convert.Unneeded("lvsd accepts adverts from its directors only"), "vrrp_check_unicast_src"},
	because{convert.Unneeded("metrics count what is dropped, with the reason"), "log_unknown_vrids"},
	because{convert.Unsupported(convert.NoFirewall), "vrrp_iptables nftables"},
	because{convert.Unneeded(convert.NoFirewall), `
		vrrp_ipsets nftables_priority nftables_counters nftables_ifindex disable_local_igmp
		nftables_ipvs_priority nftables_ipvs_start_fwmark`},
	because{convert.Unsupported("lvsd makes a service of every address of a group"), "nftables_ipvs"},
	because{convert.Unneeded(convert.OwnProcesses), `
		tmp_config_directory config_save_dir process_names process_name vrrp_process_name
		checker_process_name bfd_process_name max_auto_priority min_auto_priority_delay
		vrrp_priority checker_priority bfd_priority vrrp_no_swap checker_no_swap bfd_no_swap
		vrrp_cpu_affinity checker_cpu_affinity bfd_cpu_affinity vrrp_rt_priority
		checker_rt_priority bfd_rt_priority vrrp_rlimit_rttime checker_rlimit_rttime
		bfd_rlimit_rttime umask child_wait_time data_use_instance random_seed use_pid_dir
		instance`},
	because{convert.Unsupported(convert.NoSNMP), `
		snmp_socket enable_snmp_vrrp enable_snmp_checker enable_snmp_rfc enable_snmp_rfcv2
		enable_snmp_rfcv3 enable_traps enable_snmp_keepalived`},
	because{convert.Unsupported("lvsd is asked by its commands and over HTTP, not by D-Bus"), "enable_dbus"},
	because{convert.Unneeded("goes with enable_dbus"), "dbus_service_name"},
	because{convert.Unneeded(convert.NoBuffers), `
		vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs
		vrrp_netlink_monitor_rcv_bufs_force lvs_netlink_cmd_rcv_bufs
		lvs_netlink_cmd_rcv_bufs_force lvs_netlink_monitor_rcv_bufs
		lvs_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs
		process_monitor_rcv_bufs_force vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier`},
	because{convert.Unneeded("lvsd names its interfaces itself"), "vmac_prefix vmac_addr_prefix"},
	because{convert.Unneeded("lvsd rejects an invalid file at a reload and keeps the old configuration"), "reload_check_config"},
	because{convert.Unsupported("let cron or at run lvsd reload"), "reload_time_file"},
	because{convert.Unneeded("goes with reload_time_file"), "reload_repeat"},
	because{convert.Unneeded("a reload of lvsd is all or nothing"), "reload_file"},
	because{convert.Unneeded("lvsd reads one file"), "include_check"},
	because{convert.Unsupported("start lvsd in the namespace: ip netns exec NAME lvsd run"), "net_namespace"},
	because{convert.Unsupported("lvsd has VRRP, checks and IPVS in one namespace"), "net_namespace_ipvs"},
	because{convert.Unneeded("the kernel reports a lost carrier to lvsd"), "linkbeat_use_polling"},
	because{convert.Unneeded("lvsd answers a lower priority as RFC 9568 says"), "vrrp_lower_prio_no_advert"},
	because{convert.Unneeded("a master that yields to a higher priority advertises once more"), `
		vrrp_higher_prio_send_advert`},
)

// vrrpKeywords are keywords of a vrrp_instance; with vrrp_ before them also of
// global_defs.
var vrrpKeywords = reasons(
	because{convert.Reason{}, "state native_ipv6 accept"},
	because{convert.Unneeded(convert.AnnouncesItself), `
		garp_master_delay garp_master_repeat garp_lower_prio_delay garp_lower_prio_repeat
		garp_interval gna_interval min_garp garp_master_refresh_repeat`},
	because{convert.Unneeded("lvsd announces the addresses each minute, and at once when another host has announced one"), `
		garp_master_refresh vrrp_garp_master_refresh`},
	because{convert.Unsupported("lvsd announces on the instance's interface"), "garp_extra_if"},
	because{convert.Unsupported(convert.MailByKind), "smtp_alert"},
	because{convert.Unsupported(convert.NotifyAsJSON), `
		notify_deleted notify_master_rx_lower_pri`},
	because{convert.Unneeded("every change is an event"), "notify_priority_changes"},
	because{convert.Unsupported("in lvsd the loss of the interface is a fault"), "dont_track_primary"},
	because{convert.Unneeded(convert.OwnProcesses), "debug"},
	because{convert.Unsupported("a master of lvsd's answers for its addresses"), "no_accept"},
	because{convert.Unneeded("lvsd adds each address with a prefix of its own"), "promote_secondaries"},
	because{convert.Unneeded("lvsd looks at every advert"), "skip_check_adv_addr"},
	because{convert.Unsupported(noStrict), "strict_mode"},
	because{convert.Unneeded("the kernel reports a lost carrier to lvsd"), "linkbeat_use_polling"},
	because{convert.Unneeded(convert.NoBuffers), "kernel_rx_buf_size"},
	because{convert.Unneeded("lvsd accepts adverts from its directors only"), "check_unicast_src"},
	because{convert.Unneeded("lvsd check refuses unicast without a peer"), "unicast_fault_no_peer"},
	because{convert.Unsupported("is for versions of keepalived before 1.3.7"), "old_unicast_checksum"},
	because{convert.Unneeded("lvsd answers a lower priority as RFC 9568 says"), "lower_prio_no_advert"},
	because{convert.Unneeded("a master that yields to a higher priority advertises once more"), `
		higher_prio_send_advert`},
	because{convert.Unneeded("an instance whose own address is gone is in fault"), "track_src_ip"},
	because{convert.Unsupported(convert.NoProcess), "track_process"},
	because{convert.Unsupported(convert.NoBFD), "track_bfd"},
	because{convert.Unsupported("lvsd binds an instance to its interface"), "vrf"},
	because{convert.Unsupported("lvsd has macvlan, by virtual_mac, and no ipvlan"), "use_ipvlan"},
	because{convert.Unsupported("an address on another interface has the MAC address of that interface"), "use_vmac_addr"},
	because{convert.Unneeded("lvsd sends from the virtual MAC"), "vmac_xmit_base"},
	because{convert.Unsupported("adverts come from the interface's first address; unicast names its own"), "mcast_src_ip"},
	because{convert.Unsupported("lvsd uses the group that RFC 9568 assigns, or unicast"), "mcast_dst_ip"},
	because{convert.Unneeded("what one instance of a sync_group tracks counts for all"), `
		global_tracking sync_group_tracking_weight`},
)

// serverKeywords are keywords of virtual_server and real_server.
var serverKeywords = reasons(
	because{convert.Unsupported(convert.MailByKind), "smtp_alert"},
	because{convert.Reason{}, "alpha hysteresis enable_sni"},
	because{convert.Unneeded(convert.ChecksSpread), "warmup"},
	because{convert.Unneeded("a backup checks, too, so that it knows what is alive when it takes over"), "ha_suspend"},
	because{convert.Unneeded(convert.NoSNMP), "snmp_name"},
	because{convert.Unneeded("the fallback is not checked"), "sorry_server_inhibit"},
	because{convert.Unneeded("keepalived does not use it either"), "nat_mask"},
	because{convert.Unneeded(`log_level = "debug" in [global] shows each probe`), "log_all_failures"},
	because{convert.Unneeded("every check is made at each interval"), "fast_recovery"},
	because{convert.Unsupported("the kernel chooses the port that a probe comes from"), "bind_port"},
	because{convert.Unsupported("the kernel chooses the interface by its routes; from says the address"), "bind_if"},
	because{convert.Unneeded("lvsd speaks HTTP/1.1, and HTTP/2 with http2 = true"), "http_protocol"},
	because{convert.Unneeded("lvsd's regular expressions need none"), "regex_stack"},
	because{convert.Unsupported("the whole body is searched"), "regex_min_offset regex_max_offset"},
	because{convert.Unsupported(`the exit code is no weight: let the program print a share such as "75%" instead`), `
		misc_dynamic`},
	because{convert.Unsupported(convert.NoBFD), "BFD_CHECK"},
	because{convert.Unsupported(convert.NoWeightFile), "FILE_CHECK"},
	because{convert.Unsupported("the length of an answer is not judged; expect can"), "min_reply_length max_reply_length"},
)
