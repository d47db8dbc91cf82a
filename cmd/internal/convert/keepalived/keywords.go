// Keywords without an equivalent, each with the reason.

package keepalived

import "lvsd/cmd/internal/convert"

// topLevelKeywords are blocks and words outside of all blocks.
var topLevelKeywords = map[string]convert.Reason{
	"static_ipaddress": convert.Unsupported(convert.NoStatic), "static_routes": convert.Unsupported(convert.NoStatic), "static_rules": convert.Unsupported(convert.NoStatic),
	"track_group": convert.Unsupported(convert.NoStatic), "garp_group": convert.Unneeded(convert.AnnouncesItself),
	"linkbeat_interfaces": convert.Unneeded("lvsd hears of a lost carrier from the kernel"), "linkbeat_use_polling": convert.Unneeded("lvsd hears of a lost carrier from the kernel"),
	"interface_up_down_delays": convert.Unsupported("lvsd reacts to a lost carrier at once"),
	"bfd_instance":             convert.Unsupported(convert.NoBFD),
	"vrrp_track_process":       convert.Unsupported(convert.NoProcess), "track_process": convert.Unsupported(convert.NoProcess),
	"net_namespace":      convert.Unsupported("start lvsd in the namespace: ip netns exec NAME lvsd run"),
	"net_namespace_ipvs": convert.Unsupported("lvsd has elections, checks and IPVS in one namespace"),
	"instance":           convert.Unneeded("name the file with -c, and state_dir and control_socket in it"),
	"use_pid_dir":        convert.Unneeded(convert.OwnProcesses), "child_wait_time": convert.Unneeded(convert.OwnProcesses), "namespace_with_ipsets": convert.Unneeded(convert.NoFirewall),
	"include_check": convert.Unneeded("lvsd reads one file"),
}

// globalKeywords are keywords of global_defs.
var globalKeywords = map[string]convert.Reason{
	"router_id":          convert.Unneeded("names the machine in mails: lvsd uses the director's name"),
	"notification_email": convert.Unsupported(convert.NoMail), "notification_email_from": convert.Unneeded(convert.MailOnly), "smtp_server": convert.Unneeded(convert.MailOnly),
	"smtp_connect_timeout": convert.Unneeded(convert.MailOnly), "smtp_helo_name": convert.Unneeded(convert.MailOnly), "smtp_alert": convert.Unsupported(convert.NoMail),
	"smtp_alert_vrrp": convert.Unsupported(convert.NoMail), "smtp_alert_checker": convert.Unsupported(convert.NoMail), "no_email_faults": convert.Unneeded(convert.MailOnly), "no_checker_emails": convert.Unneeded(convert.MailOnly),
	"checker_log_all_failures": convert.Unneeded(`log_level = "debug" in [global] shows each probe, and lvsd why the last ones`),
	"lvs_flush":                convert.Unneeded("lvsd compares the kernel's table with the file at its start, and leaves services alone that are not in it"),
	"default_interface":        convert.Unneeded("is for addresses that lvsd does not set"),
	"startup_script":           convert.Unsupported("let the service's unit run it before lvsd, as ExecStartPre="), "startup_script_timeout": convert.Unneeded("goes with startup_script"),
	"shutdown_script": convert.Unsupported("let the service's unit run it after lvsd, as ExecStopPost="), "shutdown_script_timeout": convert.Unneeded("goes with shutdown_script"),
	"notify_fifo": convert.Unsupported(convert.NotifyAsJSON), "notify_fifo_script": convert.Unsupported(convert.NotifyAsJSON), "vrrp_notify_fifo": convert.Unsupported(convert.NotifyAsJSON),
	"vrrp_notify_fifo_script": convert.Unsupported(convert.NotifyAsJSON), "lvs_notify_fifo": convert.Unsupported(convert.NotifyAsJSON), "lvs_notify_fifo_script": convert.Unsupported(convert.NotifyAsJSON),
	"fifo_write_vrrp_states_on_reload": convert.Unneeded(convert.NotifyAsJSON), "vrrp_notify_priority_changes": convert.Unneeded("every change is an event"), "rs_init_notifies": convert.Unneeded("every change is an event"),
	"enable_script_security": convert.Unneeded("lvsd runs a program by its absolute path, without a shell"),
	"dynamic_interfaces":     convert.Unneeded("lvsd waits for an interface that is not there"),
	"vrrp_startup_delay":     convert.Unsupported("lvsd starts as backup and waits as long as an election asks"),
	"vrrp_strict":            convert.Unneeded("lvsd keeps to RFC 9568"), "vrrp_skip_check_adv_addr": convert.Unneeded("lvsd looks at every advert"),
	"vrrp_check_unicast_src": convert.Unneeded("lvsd hears its directors only"), "log_unknown_vrids": convert.Unneeded("metrics count what is dropped, with the reason"),
	"vrrp_iptables": convert.Unsupported(convert.NoFirewall), "vrrp_ipsets": convert.Unneeded(convert.NoFirewall), "nftables": convert.Unsupported(convert.NoFirewall), "nftables_priority": convert.Unneeded(convert.NoFirewall),
	"nftables_counters": convert.Unneeded(convert.NoFirewall), "nftables_ifindex": convert.Unneeded(convert.NoFirewall), "disable_local_igmp": convert.Unneeded(convert.NoFirewall),
	"nftables_ipvs": convert.Unsupported("lvsd makes a service of every address of a group"), "nftables_ipvs_priority": convert.Unneeded(convert.NoFirewall), "nftables_ipvs_start_fwmark": convert.Unneeded(convert.NoFirewall),
	"tmp_config_directory": convert.Unneeded(convert.OwnProcesses), "config_save_dir": convert.Unneeded(convert.OwnProcesses), "process_names": convert.Unneeded(convert.OwnProcesses), "process_name": convert.Unneeded(convert.OwnProcesses),
	"vrrp_process_name": convert.Unneeded(convert.OwnProcesses), "checker_process_name": convert.Unneeded(convert.OwnProcesses), "bfd_process_name": convert.Unneeded(convert.OwnProcesses),
	"max_auto_priority": convert.Unneeded(convert.OwnProcesses), "min_auto_priority_delay": convert.Unneeded(convert.OwnProcesses), "vrrp_priority": convert.Unneeded(convert.OwnProcesses), "checker_priority": convert.Unneeded(convert.OwnProcesses),
	"bfd_priority": convert.Unneeded(convert.OwnProcesses), "vrrp_no_swap": convert.Unneeded(convert.OwnProcesses), "checker_no_swap": convert.Unneeded(convert.OwnProcesses), "bfd_no_swap": convert.Unneeded(convert.OwnProcesses),
	"vrrp_cpu_affinity": convert.Unneeded(convert.OwnProcesses), "checker_cpu_affinity": convert.Unneeded(convert.OwnProcesses), "bfd_cpu_affinity": convert.Unneeded(convert.OwnProcesses), "vrrp_rt_priority": convert.Unneeded(convert.OwnProcesses),
	"checker_rt_priority": convert.Unneeded(convert.OwnProcesses), "bfd_rt_priority": convert.Unneeded(convert.OwnProcesses), "vrrp_rlimit_rttime": convert.Unneeded(convert.OwnProcesses), "checker_rlimit_rttime": convert.Unneeded(convert.OwnProcesses),
	"bfd_rlimit_rttime": convert.Unneeded(convert.OwnProcesses), "umask": convert.Unneeded(convert.OwnProcesses), "child_wait_time": convert.Unneeded(convert.OwnProcesses), "data_use_instance": convert.Unneeded(convert.OwnProcesses),
	"snmp_socket": convert.Unsupported(convert.NoSNMP), "enable_snmp_vrrp": convert.Unsupported(convert.NoSNMP), "enable_snmp_checker": convert.Unsupported(convert.NoSNMP), "enable_snmp_rfc": convert.Unsupported(convert.NoSNMP),
	"enable_snmp_rfcv2": convert.Unsupported(convert.NoSNMP), "enable_snmp_rfcv3": convert.Unsupported(convert.NoSNMP), "enable_traps": convert.Unsupported(convert.NoSNMP), "enable_snmp_keepalived": convert.Unsupported(convert.NoSNMP),
	"enable_dbus": convert.Unsupported("lvsd is asked by its commands and over HTTP, not by D-Bus"), "dbus_service_name": convert.Unneeded("goes with enable_dbus"),
	"vrrp_netlink_cmd_rcv_bufs": convert.Unneeded(convert.NoBuffers), "vrrp_netlink_cmd_rcv_bufs_force": convert.Unneeded(convert.NoBuffers), "vrrp_netlink_monitor_rcv_bufs": convert.Unneeded(convert.NoBuffers),
	"vrrp_netlink_monitor_rcv_bufs_force": convert.Unneeded(convert.NoBuffers), "lvs_netlink_cmd_rcv_bufs": convert.Unneeded(convert.NoBuffers), "lvs_netlink_cmd_rcv_bufs_force": convert.Unneeded(convert.NoBuffers),
	"lvs_netlink_monitor_rcv_bufs": convert.Unneeded(convert.NoBuffers), "lvs_netlink_monitor_rcv_bufs_force": convert.Unneeded(convert.NoBuffers), "process_monitor_rcv_bufs": convert.Unneeded(convert.NoBuffers),
	"process_monitor_rcv_bufs_force": convert.Unneeded(convert.NoBuffers), "vrrp_rx_bufs_policy": convert.Unneeded(convert.NoBuffers), "vrrp_rx_bufs_multiplier": convert.Unneeded(convert.NoBuffers),
	"vmac_prefix": convert.Unneeded("lvsd names its interfaces itself"), "vmac_addr_prefix": convert.Unneeded("lvsd names its interfaces itself"), "random_seed": convert.Unneeded(convert.OwnProcesses),
	"reload_check_config": convert.Unneeded("lvsd refuses a wrong file at a reload, and goes on with the old one"), "reload_time_file": convert.Unsupported("let cron or at run lvsd reload"),
	"reload_repeat": convert.Unneeded("goes with reload_time_file"), "reload_file": convert.Unneeded("a reload of lvsd's is all or nothing"), "include_check": convert.Unneeded("lvsd reads one file"),
	"net_namespace": convert.Unsupported("start lvsd in the namespace: ip netns exec NAME lvsd run"), "use_pid_dir": convert.Unneeded(convert.OwnProcesses), "instance": convert.Unneeded(convert.OwnProcesses),
	"net_namespace_ipvs": convert.Unsupported("lvsd has elections, checks and IPVS in one namespace"), "linkbeat_use_polling": convert.Unneeded("lvsd hears of a lost carrier from the kernel"),
	"vrrp_lower_prio_no_advert": convert.Unneeded("lvsd answers a lower priority as RFC 9568 says"), "vrrp_higher_prio_send_advert": convert.Unneeded("a master that is preempted goes on serving until its successor is known"),
}

// vrrpKeywords are keywords of a vrrp_instance; with vrrp_ before them also of
// global_defs.
var vrrpKeywords = map[string]convert.Reason{
	"state":             {}, // priority decides
	"garp_master_delay": convert.Unneeded(convert.AnnouncesItself), "garp_master_repeat": convert.Unneeded(convert.AnnouncesItself), "garp_lower_prio_delay": convert.Unneeded(convert.AnnouncesItself), "garp_lower_prio_repeat": convert.Unneeded(convert.AnnouncesItself),
	"garp_interval": convert.Unneeded(convert.AnnouncesItself), "gna_interval": convert.Unneeded(convert.AnnouncesItself), "min_garp": convert.Unneeded(convert.AnnouncesItself),
	"garp_master_refresh":        convert.Unsupported("lvsd announces after a takeover, and when somebody else has spoken for the address, but not for ever"),
	"vrrp_garp_master_refresh":   convert.Unsupported("lvsd announces after a takeover, and when somebody else has spoken for the address, but not for ever"),
	"garp_master_refresh_repeat": convert.Unneeded(convert.AnnouncesItself), "garp_extra_if": convert.Unsupported("lvsd announces on the election's interface"),
	"smtp_alert": convert.Unsupported(convert.NoMail), "notify": convert.Unsupported(convert.NotifyAsJSON), "notify_master": convert.Unsupported(convert.NotifyAsJSON), "notify_backup": convert.Unsupported(convert.NotifyAsJSON), "notify_fault": convert.Unsupported(convert.NotifyAsJSON),
	"notify_stop": convert.Unsupported(convert.NotifyAsJSON), "notify_deleted": convert.Unsupported(convert.NotifyAsJSON), "notify_master_rx_lower_pri": convert.Unsupported(convert.NotifyAsJSON), "notify_priority_changes": convert.Unneeded("every change is an event"),
	"dont_track_primary": convert.Unsupported("an election without its interface cannot serve: its loss is a fault"), "native_ipv6": {}, "debug": convert.Unneeded(convert.OwnProcesses),
	"accept": {}, "no_accept": convert.Unsupported("a director of lvsd's answers for its addresses"), "promote_secondaries": convert.Unneeded("lvsd adds each address with a prefix of its own"),
	"skip_check_adv_addr": convert.Unneeded("lvsd looks at every advert"), "strict_mode": convert.Unneeded("lvsd keeps to RFC 9568"), "linkbeat_use_polling": convert.Unneeded("lvsd hears of a lost carrier from the kernel"),
	"kernel_rx_buf_size": convert.Unneeded(convert.NoBuffers), "check_unicast_src": convert.Unneeded("lvsd hears its directors only"), "unicast_fault_no_peer": convert.Unneeded("lvsd check refuses unicast without a peer"),
	"unicast_ttl": convert.Unsupported("lvsd sends with a TTL of 255, as RFC 9568 says"), "old_unicast_checksum": convert.Unsupported("is for versions of keepalived before 1.3.7"),
	"lower_prio_no_advert": convert.Unneeded("lvsd answers a lower priority as RFC 9568 says"), "higher_prio_send_advert": convert.Unneeded("a master that is preempted goes on serving until its successor is known"),
	"track_src_ip": convert.Unsupported("lvsd does not watch its own address"), "track_process": convert.Unsupported(convert.NoProcess), "track_bfd": convert.Unsupported(convert.NoBFD),
	"vrf": convert.Unsupported("lvsd binds an election to its interface"), "use_ipvlan": convert.Unsupported("lvsd has macvlan, by virtual_mac, and no ipvlan"), "use_vmac_addr": convert.Unsupported("addresses are on the election's interface"),
	"vmac_xmit_base": convert.Unneeded("lvsd sends from the virtual MAC"), "mcast_src_ip": convert.Unsupported("adverts come from the interface's first address; unicast names its own"),
	"mcast_dst_ip":    convert.Unsupported("lvsd uses the group that RFC 9568 assigns, or unicast"),
	"global_tracking": convert.Unneeded("what one election of a sync_group tracks counts for all"), "sync_group_tracking_weight": convert.Unneeded("what one election of a sync_group tracks counts for all"),
}

// serverKeywords are keywords of virtual_server and real_server.
var serverKeywords = map[string]convert.Reason{
	"smtp_alert": convert.Unsupported(convert.NoMail), "quorum_up": convert.Unsupported(convert.NotifyAsJSON), "quorum_down": convert.Unsupported(convert.NotifyAsJSON), "notify_up": convert.Unsupported(convert.NotifyAsJSON), "notify_down": convert.Unsupported(convert.NotifyAsJSON),
	"alpha": {}, "omega": convert.Unneeded("lvsd's stop leaves the table as it is"), "warmup": convert.Unneeded(convert.ChecksSpread), "ha_suspend": convert.Unneeded("a backup checks, too, so that it knows what is alive when it takes over"),
	"snmp_name": convert.Unneeded(convert.NoSNMP), "sorry_server_inhibit": convert.Unneeded("the fallback is not checked"), "hysteresis": {}, "nat_mask": convert.Unneeded("keepalived does not use it either"),
	"log_all_failures": convert.Unneeded(`log_level = "debug" in [global] shows each probe`), "fast_recovery": convert.Unneeded("every check is made at each interval"),
	"bind_port": convert.Unsupported("the kernel chooses the port that a probe comes from"), "bind_if": convert.Unsupported("the kernel chooses the interface by its routes; from says the address"),
	"http_protocol": convert.Unneeded("lvsd speaks HTTP/1.1, and HTTP/2 with http2 = true"), "enable_sni": {}, "regex_stack": convert.Unneeded("lvsd's regular expressions need none"),
	"regex_min_offset": convert.Unsupported("the whole body is searched"), "regex_max_offset": convert.Unsupported("the whole body is searched"),
	"misc_dynamic": convert.Unsupported(`the exit code is no weight: let the program print a share such as "75%" instead`), "BFD_CHECK": convert.Unsupported(convert.NoBFD), "FILE_CHECK": convert.Unsupported(convert.NoWeightFile),
	"min_reply_length": convert.Unsupported("the length of an answer is not judged; expect can"), "max_reply_length": convert.Unsupported("the length of an answer is not judged; expect can"),
}
