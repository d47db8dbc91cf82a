// This file is the list of keepalived's keywords that have no equivalent, each
// with why. A keyword with one is where it is converted.
//
// PURE.
package convert

// reason says what becomes of a keyword. Without a kind nothing needs saying.
type reason struct {
	kind Kind
	why  string
}

const (
	noMail     = "lvsd sends no mail: notify and webhook of [global] get every event, and alert rules watch the metrics"
	ownAlerts  = "mail only: notify and webhook of [global] get every event"
	ownNotify  = "lvsd's notify gets each event as JSON on its standard input, and not as arguments: adapt the program, then add it as notify"
	announces  = "lvsd announces a takeover at once and again, on a schedule of its own"
	asRoot     = "is about keepalived's own processes"
	noBFD      = "lvsd speaks no BFD"
	noFile     = "lvsd reads no file for a server's weight: an exec check can print a percentage"
	noProcess  = "lvsd looks for no process: a script in track_scripts can"
	noStatic   = "lvsd moves addresses between directors; what stays on one belongs to its network configuration"
	noBuffers  = "lvsd sizes its buffers by itself"
	noSNMP     = "lvsd has metrics for Prometheus, and no SNMP"
	noFirewall = "lvsd writes no firewall rules"
	spreads    = "lvsd spreads the checks by itself"
)

// outsideWords are blocks and words outside of all blocks.
var outsideWords = map[string]reason{
	"static_ipaddress": {LeftOut, noStatic}, "static_routes": {LeftOut, noStatic}, "static_rules": {LeftOut, noStatic},
	"track_group": {LeftOut, noStatic}, "garp_group": {NotNeeded, announces},
	"linkbeat_interfaces": {NotNeeded, "lvsd hears of a lost carrier from the kernel"}, "linkbeat_use_polling": {NotNeeded, "lvsd hears of a lost carrier from the kernel"},
	"interface_up_down_delays": {LeftOut, "lvsd reacts to a lost carrier at once"},
	"bfd_instance":             {LeftOut, noBFD},
	"vrrp_track_process":       {LeftOut, noProcess}, "track_process": {LeftOut, noProcess},
	"net_namespace":      {LeftOut, "start lvsd in the namespace: ip netns exec NAME lvsd run"},
	"net_namespace_ipvs": {LeftOut, "lvsd has elections, checks and IPVS in one namespace"},
	"instance":           {NotNeeded, "name the file with -c, and state_dir and control_socket in it"},
	"use_pid_dir":        {NotNeeded, asRoot}, "child_wait_time": {NotNeeded, asRoot}, "namespace_with_ipsets": {NotNeeded, noFirewall},
	"include_check": {NotNeeded, "lvsd reads one file"},
}

// globalWords are keywords of global_defs.
var globalWords = map[string]reason{
	"router_id":          {NotNeeded, "names the machine in mails: lvsd uses the director's name"},
	"notification_email": {LeftOut, noMail}, "notification_email_from": {NotNeeded, ownAlerts}, "smtp_server": {NotNeeded, ownAlerts},
	"smtp_connect_timeout": {NotNeeded, ownAlerts}, "smtp_helo_name": {NotNeeded, ownAlerts}, "smtp_alert": {LeftOut, noMail},
	"smtp_alert_vrrp": {LeftOut, noMail}, "smtp_alert_checker": {LeftOut, noMail}, "no_email_faults": {NotNeeded, ownAlerts}, "no_checker_emails": {NotNeeded, ownAlerts},
	"checker_log_all_failures": {NotNeeded, `log_level = "debug" in [global] shows each probe, and lvsd why the last ones`},
	"lvs_flush":                {NotNeeded, "lvsd compares the kernel's table with the file at its start, and leaves services alone that are not in it"},
	"default_interface":        {NotNeeded, "is for addresses that lvsd does not set"},
	"startup_script":           {LeftOut, "let the service's unit run it before lvsd, as ExecStartPre="}, "startup_script_timeout": {NotNeeded, "goes with startup_script"},
	"shutdown_script": {LeftOut, "let the service's unit run it after lvsd, as ExecStopPost="}, "shutdown_script_timeout": {NotNeeded, "goes with shutdown_script"},
	"notify_fifo": {LeftOut, ownNotify}, "notify_fifo_script": {LeftOut, ownNotify}, "vrrp_notify_fifo": {LeftOut, ownNotify},
	"vrrp_notify_fifo_script": {LeftOut, ownNotify}, "lvs_notify_fifo": {LeftOut, ownNotify}, "lvs_notify_fifo_script": {LeftOut, ownNotify},
	"fifo_write_vrrp_states_on_reload": {NotNeeded, ownNotify}, "vrrp_notify_priority_changes": {NotNeeded, "every change is an event"}, "rs_init_notifies": {NotNeeded, "every change is an event"},
	"enable_script_security": {NotNeeded, "lvsd runs a program by its absolute path, without a shell"},
	"dynamic_interfaces":     {NotNeeded, "lvsd waits for an interface that is not there"},
	"vrrp_startup_delay":     {LeftOut, "lvsd starts as backup and waits as long as an election asks"},
	"vrrp_strict":            {NotNeeded, "lvsd keeps to RFC 9568"}, "vrrp_skip_check_adv_addr": {NotNeeded, "lvsd looks at every advert"},
	"vrrp_check_unicast_src": {NotNeeded, "lvsd hears its directors only"}, "log_unknown_vrids": {NotNeeded, "metrics count what is dropped, with the reason"},
	"vrrp_iptables": {LeftOut, noFirewall}, "vrrp_ipsets": {NotNeeded, noFirewall}, "nftables": {LeftOut, noFirewall}, "nftables_priority": {NotNeeded, noFirewall},
	"nftables_counters": {NotNeeded, noFirewall}, "nftables_ifindex": {NotNeeded, noFirewall}, "disable_local_igmp": {NotNeeded, noFirewall},
	"nftables_ipvs": {LeftOut, "lvsd makes a service of every address of a group"}, "nftables_ipvs_priority": {NotNeeded, noFirewall}, "nftables_ipvs_start_fwmark": {NotNeeded, noFirewall},
	"tmp_config_directory": {NotNeeded, asRoot}, "config_save_dir": {NotNeeded, asRoot}, "process_names": {NotNeeded, asRoot}, "process_name": {NotNeeded, asRoot},
	"vrrp_process_name": {NotNeeded, asRoot}, "checker_process_name": {NotNeeded, asRoot}, "bfd_process_name": {NotNeeded, asRoot},
	"max_auto_priority": {NotNeeded, asRoot}, "min_auto_priority_delay": {NotNeeded, asRoot}, "vrrp_priority": {NotNeeded, asRoot}, "checker_priority": {NotNeeded, asRoot},
	"bfd_priority": {NotNeeded, asRoot}, "vrrp_no_swap": {NotNeeded, asRoot}, "checker_no_swap": {NotNeeded, asRoot}, "bfd_no_swap": {NotNeeded, asRoot},
	"vrrp_cpu_affinity": {NotNeeded, asRoot}, "checker_cpu_affinity": {NotNeeded, asRoot}, "bfd_cpu_affinity": {NotNeeded, asRoot}, "vrrp_rt_priority": {NotNeeded, asRoot},
	"checker_rt_priority": {NotNeeded, asRoot}, "bfd_rt_priority": {NotNeeded, asRoot}, "vrrp_rlimit_rttime": {NotNeeded, asRoot}, "checker_rlimit_rttime": {NotNeeded, asRoot},
	"bfd_rlimit_rttime": {NotNeeded, asRoot}, "umask": {NotNeeded, asRoot}, "child_wait_time": {NotNeeded, asRoot}, "data_use_instance": {NotNeeded, asRoot},
	"snmp_socket": {LeftOut, noSNMP}, "enable_snmp_vrrp": {LeftOut, noSNMP}, "enable_snmp_checker": {LeftOut, noSNMP}, "enable_snmp_rfc": {LeftOut, noSNMP},
	"enable_snmp_rfcv2": {LeftOut, noSNMP}, "enable_snmp_rfcv3": {LeftOut, noSNMP}, "enable_traps": {LeftOut, noSNMP}, "enable_snmp_keepalived": {LeftOut, noSNMP},
	"enable_dbus": {LeftOut, "lvsd is asked by its commands and over HTTP, not by D-Bus"}, "dbus_service_name": {NotNeeded, "goes with enable_dbus"},
	"vrrp_netlink_cmd_rcv_bufs": {NotNeeded, noBuffers}, "vrrp_netlink_cmd_rcv_bufs_force": {NotNeeded, noBuffers}, "vrrp_netlink_monitor_rcv_bufs": {NotNeeded, noBuffers},
	"vrrp_netlink_monitor_rcv_bufs_force": {NotNeeded, noBuffers}, "lvs_netlink_cmd_rcv_bufs": {NotNeeded, noBuffers}, "lvs_netlink_cmd_rcv_bufs_force": {NotNeeded, noBuffers},
	"lvs_netlink_monitor_rcv_bufs": {NotNeeded, noBuffers}, "lvs_netlink_monitor_rcv_bufs_force": {NotNeeded, noBuffers}, "process_monitor_rcv_bufs": {NotNeeded, noBuffers},
	"process_monitor_rcv_bufs_force": {NotNeeded, noBuffers}, "vrrp_rx_bufs_policy": {NotNeeded, noBuffers}, "vrrp_rx_bufs_multiplier": {NotNeeded, noBuffers},
	"vmac_prefix": {NotNeeded, "lvsd names its interfaces itself"}, "vmac_addr_prefix": {NotNeeded, "lvsd names its interfaces itself"}, "random_seed": {NotNeeded, asRoot},
	"reload_check_config": {NotNeeded, "lvsd refuses a wrong file at a reload, and goes on with the old one"}, "reload_time_file": {LeftOut, "let cron or at run lvsd reload"},
	"reload_repeat": {NotNeeded, "goes with reload_time_file"}, "reload_file": {NotNeeded, "a reload of lvsd's is all or nothing"}, "include_check": {NotNeeded, "lvsd reads one file"},
	"net_namespace": {LeftOut, "start lvsd in the namespace: ip netns exec NAME lvsd run"}, "use_pid_dir": {NotNeeded, asRoot}, "instance": {NotNeeded, asRoot},
	"net_namespace_ipvs": {LeftOut, "lvsd has elections, checks and IPVS in one namespace"}, "linkbeat_use_polling": {NotNeeded, "lvsd hears of a lost carrier from the kernel"},
	"vrrp_lower_prio_no_advert": {NotNeeded, "lvsd answers a lower priority as RFC 9568 says"}, "vrrp_higher_prio_send_advert": {NotNeeded, "a master that is preempted goes on serving until its successor is known"},
}

// vrrpWords are keywords of a vrrp_instance; with vrrp_ before them also of
// global_defs.
var vrrpWords = map[string]reason{
	"state":             {}, // priority decides
	"garp_master_delay": {NotNeeded, announces}, "garp_master_repeat": {NotNeeded, announces}, "garp_lower_prio_delay": {NotNeeded, announces}, "garp_lower_prio_repeat": {NotNeeded, announces},
	"garp_interval": {NotNeeded, announces}, "gna_interval": {NotNeeded, announces}, "min_garp": {NotNeeded, announces},
	"garp_master_refresh":        {LeftOut, "lvsd announces after a takeover, and when somebody else has spoken for the address, but not for ever"},
	"vrrp_garp_master_refresh":   {LeftOut, "lvsd announces after a takeover, and when somebody else has spoken for the address, but not for ever"},
	"garp_master_refresh_repeat": {NotNeeded, announces}, "garp_extra_if": {LeftOut, "lvsd announces on the election's interface"},
	"smtp_alert": {LeftOut, noMail}, "notify": {LeftOut, ownNotify}, "notify_master": {LeftOut, ownNotify}, "notify_backup": {LeftOut, ownNotify}, "notify_fault": {LeftOut, ownNotify},
	"notify_stop": {LeftOut, ownNotify}, "notify_deleted": {LeftOut, ownNotify}, "notify_master_rx_lower_pri": {LeftOut, ownNotify}, "notify_priority_changes": {NotNeeded, "every change is an event"},
	"dont_track_primary": {LeftOut, "an election without its interface cannot serve: its loss is a fault"}, "native_ipv6": {}, "debug": {NotNeeded, asRoot},
	"accept": {}, "no_accept": {LeftOut, "a director of lvsd's answers for its addresses"}, "promote_secondaries": {NotNeeded, "lvsd adds each address with a prefix of its own"},
	"skip_check_adv_addr": {NotNeeded, "lvsd looks at every advert"}, "strict_mode": {NotNeeded, "lvsd keeps to RFC 9568"}, "linkbeat_use_polling": {NotNeeded, "lvsd hears of a lost carrier from the kernel"},
	"kernel_rx_buf_size": {NotNeeded, noBuffers}, "check_unicast_src": {NotNeeded, "lvsd hears its directors only"}, "unicast_fault_no_peer": {NotNeeded, "lvsd check refuses unicast without a peer"},
	"unicast_ttl": {LeftOut, "lvsd sends with a TTL of 255, as RFC 9568 says"}, "old_unicast_checksum": {LeftOut, "is for versions of keepalived before 1.3.7"},
	"lower_prio_no_advert": {NotNeeded, "lvsd answers a lower priority as RFC 9568 says"}, "higher_prio_send_advert": {NotNeeded, "a master that is preempted goes on serving until its successor is known"},
	"track_src_ip": {LeftOut, "lvsd does not watch its own address"}, "track_process": {LeftOut, noProcess}, "track_bfd": {LeftOut, noBFD},
	"vrf": {LeftOut, "lvsd binds an election to its interface"}, "use_ipvlan": {LeftOut, "lvsd has macvlan, by virtual_mac, and no ipvlan"}, "use_vmac_addr": {LeftOut, "addresses are on the election's interface"},
	"vmac_xmit_base": {NotNeeded, "lvsd sends from the virtual MAC"}, "mcast_src_ip": {LeftOut, "adverts come from the interface's first address; unicast names its own"},
	"mcast_dst_ip":    {LeftOut, "lvsd uses the group that RFC 9568 assigns, or unicast"},
	"global_tracking": {NotNeeded, "what one election of a sync_group tracks counts for all"}, "sync_group_tracking_weight": {NotNeeded, "what one election of a sync_group tracks counts for all"},
}

// serverWords are keywords of virtual_server and real_server.
var serverWords = map[string]reason{
	"smtp_alert": {LeftOut, noMail}, "quorum_up": {LeftOut, ownNotify}, "quorum_down": {LeftOut, ownNotify}, "notify_up": {LeftOut, ownNotify}, "notify_down": {LeftOut, ownNotify},
	"alpha": {}, "omega": {NotNeeded, "lvsd's stop leaves the table as it is"}, "warmup": {NotNeeded, spreads}, "ha_suspend": {NotNeeded, "a backup checks, too, so that it knows what is alive when it takes over"},
	"snmp_name": {NotNeeded, noSNMP}, "sorry_server_inhibit": {NotNeeded, "the fallback is not checked"}, "hysteresis": {}, "nat_mask": {NotNeeded, "keepalived does not use it either"},
	"log_all_failures": {NotNeeded, `log_level = "debug" in [global] shows each probe`}, "fast_recovery": {NotNeeded, "every check is made at each interval"},
	"bind_port": {LeftOut, "the kernel chooses the port that a probe comes from"}, "bind_if": {LeftOut, "the kernel chooses the interface by its routes; from says the address"},
	"http_protocol": {NotNeeded, "lvsd speaks HTTP/1.1, and HTTP/2 with http2 = true"}, "enable_sni": {}, "regex_stack": {NotNeeded, "lvsd's regular expressions need none"},
	"regex_min_offset": {LeftOut, "the whole body is searched"}, "regex_max_offset": {LeftOut, "the whole body is searched"},
	"misc_dynamic": {LeftOut, `the exit code is no weight: let the program print a share such as "75%" instead`}, "BFD_CHECK": {LeftOut, noBFD}, "FILE_CHECK": {LeftOut, noFile},
	"min_reply_length": {LeftOut, "the length of an answer is not judged; expect can"}, "max_reply_length": {LeftOut, "the length of an answer is not judged; expect can"},
}
