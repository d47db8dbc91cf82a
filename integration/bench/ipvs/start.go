package main

import (
	"os"
	"strings"
	"time"

	"lvsd/integration/bench/measure"
	"lvsd/integration/lab"
)

// checked is the check of each real server in the measurement of starts: lvsd's and the
// same of keepalived.
var checked = map[string][2]string{
	"on":      {`{ type = "on" }`, ""},
	"connect": {`{ type = "connect", interval = "10s", timeout = "3s" }`, "delay_loop 10\n  TCP_CHECK { connect_timeout 3 }"},
	"http": {`{ type = "http", interval = "10s", timeout = "3s" }`,
		"delay_loop 10\n  HTTP_GET { url { path / status_code 200 } connect_timeout 3 }"},
}

// starts measures the time from exec to the last weight, beside keepalived, which takes a
// server for healthy until a check has failed, while lvsd probes it first.
func (b *bench) starts(rounds int, sizes ...size) {
	lan := b.lab.LAN("lan-start", "10.77.0.0/24")
	h := b.lab.Host("start", lan, "10.77.0.11/24")
	farm := b.lab.Host("farm", lan, "10.77.0.21/24")
	farm.ServePrefix("10.128.0.0/9")
	h.Route("10.128.0.0/9", "10.77.0.21")
	b.must(farm.Do(func() error { return answer() }), "serve")
	b.say("%s\n\n| real servers | check | lvsd | keepalived | ratio |\n|---|---|---|---|---|", measure.Keepalived())
	for _, s := range sizes {
		for _, kind := range []string{"on", "connect", "http"} {
			for range rounds {
				own, peer := b.startOwn(h, s, kind), b.startPeer(h, s, kind)
				b.say("| %d | %s | %v | %v | **%.2f** |", s.servers, kind, own, peer, own.Seconds()/peer.Seconds())
			}
		}
	}
}

// answer serves HTTP on port 80 in the namespace of the calling thread.
func answer() error {
	l, _, err := measure.Listen(80)
	if err == nil {
		go func() { _ = measure.Serve(l, -1) }()
	}
	return err
}

func (b *bench) startOwn(h *lab.Host, s size, kind string) time.Duration {
	dir := b.lab.Path("start")
	b.must(os.RemoveAll(dir), "remove a folder")
	b.must(os.MkdirAll(dir, 0o700), "make a folder")
	file := b.lab.WriteFile("start.toml", strings.ReplaceAll(s.config(dir, 1), checked["on"][0], checked[kind][0]))
	return b.untilServing(h, s, b.binary, "run", "-c", file)
}

func (b *bench) startPeer(h *lab.Host, s size, kind string) time.Duration {
	file := b.lab.WriteFile("start.conf", withChecks(s.keepalivedConfig(1), kind))
	return b.untilServing(h, s, "keepalived", "-n", "-l", "-C", "-f", file, "-p", b.lab.Path("ka.pid"), "-c", b.lab.Path("kac.pid"))
}

// withChecks adds the checks of a kind to a configuration of keepalived.
func withChecks(text, kind string) string {
	check := checked[kind][1]
	if check == "" {
		return text
	}
	loop, check, _ := strings.Cut(check, "\n")
	text = strings.ReplaceAll(text, " protocol TCP\n", " protocol TCP\n "+loop+"\n")
	return strings.ReplaceAll(text, "  weight 1\n", "  weight 1\n"+check+"\n")
}

// untilServing starts a program, waits until each real server has its weight, and ends it.
func (b *bench) untilServing(h *lab.Host, s size, program ...string) time.Duration {
	start := time.Now()
	p := h.Start(program...)
	b.wait("the last server", 100*time.Millisecond, func() bool { return b.full(h, s) })
	took := since(start)
	b.wait("all servers", 100*time.Millisecond, func() bool { return b.weights(h) == s.servers })
	if all := since(start); all-took > time.Second { // the last of the file was not the last
		took = all
	}
	p.Terminate()
	<-p.Done()
	h.MustRun("ipvsadm", "-C")
	time.Sleep(2 * time.Second) // let the kernel finish its cleanup of this program before the next is measured
	return took
}

// weights returns how many real servers have a weight.
func (b *bench) weights(h *lab.Host) (n int) {
	text, _ := h.Run(b.ctx, "ipvsadm", "-L", "-n")
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == "->" && f[3] == "1" {
			n++
		}
	}
	return n
}
