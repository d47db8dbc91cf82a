package lvsdtest

// KeepalivedConf is the file of one director of a pair.
func KeepalivedConf(state, priority string) string {
	return `! a pair
vrrp_script always {
    script "/bin/true"
    interval 20
    fall 3
}
vrrp_instance VI_1 {
    state ` + state + `
    interface eth0
    virtual_router_id 51
    priority ` + priority + `
    advert_int 1
    virtual_ipaddress {
        10.77.0.100
    }
    track_script {
        always
    }
}
virtual_server 10.77.0.100 80 {
    delay_loop 1
    lvs_sched wrr
    lvs_method DR
    protocol TCP
    persistence_timeout 60
    persistence_granularity 255.255.255.0
    real_server 10.77.0.21 80 {
        weight 3
        uthreshold 1000
        lthreshold 900
        TCP_CHECK {
            connect_timeout 1
            retry 1
            delay_before_retry 1
        }
    }
    real_server 10.77.0.22 80 {
        weight 2
        TCP_CHECK {
            connect_timeout 1
            retry 1
            delay_before_retry 1
        }
    }
}
virtual_server fwmark 9 {
    delay_loop 1
    lvs_sched sh
    sh-fallback
    lvs_method DR
    real_server 10.77.0.21 {
        TCP_CHECK {
            connect_port 80
            connect_timeout 1
        }
    }
}
`
}
