package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"lvsd/integration/bench/measure"
	"lvsd/integration/lab"
)

const (
	settle = 30 * time.Second // until a start is over, and its garbage is returned
	span   = 20 * time.Second
)

// rest measures what both cost while nothing happens, over all of their processes: masters
// that send their adverts each second, and servers whose checks succeed every 10 s.
func (b *bench) rest() {
	lan := b.lab.LAN("lan-rest", "10.77.0.0/24")
	h := b.lab.Host("rest", lan, "10.77.0.11/24")
	farm := b.lab.Host("farm", lan, "10.77.0.21/24")
	farm.ServePrefix("10.128.0.0/9")
	h.Route("10.128.0.0/9", "10.77.0.21")
	b.must(farm.Do(func() error { return answer() }), "serve")
	b.say("%s\n\n| real servers | VRRP instances | daemon | wake-ups a second | processor time a second | memory, of this of files |\n|---|---|---|---|---|---|", measure.Keepalived())
	for _, each := range []struct {
		size
		instances int
	}{
		{size{services: 1, servers: 3}, 1}, {size{services: 25, servers: 500}, 1}, {size{services: 100, servers: 2000}, 1}, {size{services: 500, servers: 10_000}, 1},
		{size{services: 1, servers: 3}, 50}, {size{services: 1, servers: 3}, 255},
	} {
		s, dir := each.size, b.lab.Path("rest")
		b.must(os.RemoveAll(dir), "remove a folder")
		b.must(os.MkdirAll(dir, 0o700), "make a folder")
		var own, peer strings.Builder
		own.WriteString(strings.ReplaceAll(s.config(dir, 1), checked["on"][0], checked["connect"][0]) + "[[director]]\nname = \"lb1\"\n")
		peer.WriteString(withChecks(s.keepalivedConfig(1), "connect"))
		for i := 1; i <= each.instances; i++ {
			fmt.Fprintf(&own, "[[vrrp]]\nname = \"v%d\"\ninterface = \"eth0\"\nvirtual_router_id = %d\npriority = { lb1 = 200 }\naddresses = [\"10.78.0.%d\"]\n", i, i, i)
			fmt.Fprintf(&peer, "vrrp_instance v%d {\n state MASTER\n interface eth0\n virtual_router_id %d\n priority 200\n virtual_ipaddress {\n  10.78.0.%d/32\n }\n}\n", i, i, i)
		}
		b.atRest(h, s, each.instances, "lvsd", b.binary, "run", "--director", "lb1", "-c", b.lab.WriteFile("rest.toml", own.String()))
		b.atRest(h, s, each.instances, "keepalived", "keepalived", "-n", "-l", "-f", b.lab.WriteFile("rest.conf", peer.String()), "-p", b.lab.Path("ka.pid"), "-c", b.lab.Path("kac.pid"), "-r", b.lab.Path("kav.pid"))
	}
}

// atRest starts a program, waits until nothing happens any more, and measures.
func (b *bench) atRest(h *lab.Host, s size, instances int, name string, program ...string) {
	p := h.Start(program...)
	time.Sleep(settle)
	if n := b.weights(h); n != s.servers {
		b.Fatalf("%s: %d of %d servers have their weight:\n%s", name, n, s.servers, p.Tail(20))
	}
	all := measure.Processes(p.Pid())
	wakeups, cpu := 0, time.Duration(0)
	for _, pid := range all {
		wakeups, cpu = wakeups-measure.WakeUps(pid), cpu-measure.CPUTime(pid)
	}
	time.Sleep(span)
	private, file := 0, 0
	for _, pid := range all {
		wakeups, cpu = wakeups+measure.WakeUps(pid), cpu+measure.CPUTime(pid)
		anonymous, shared := measure.Proportional(pid)
		private, file = private+anonymous, file+shared
	}
	b.say("| %d | %d | %s, %d processes | %.1f | %.2f ms | %.1f MiB, %.1f MiB |", s.servers, instances, name, len(all),
		float64(wakeups)/span.Seconds(), cpu.Seconds()*1000/span.Seconds(), float64(private+file)/1024, float64(file)/1024)
	p.Terminate()
	<-p.Done()
	h.MustRun("ipvsadm", "-C")
}
