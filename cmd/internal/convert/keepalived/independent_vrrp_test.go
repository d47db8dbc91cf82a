package keepalived

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/cmd/internal/convert/converttest"
	"lvsd/config"
)

// inner returns the block within a block, empty where there is none.
func inner(keyword string, b block) block {
	for _, in := range b.inner {
		if in.words[0] == keyword {
			return in
		}
	}
	return block{}
}

// expectedInstance describes a vrrp_instance by what keepalived.conf(5) says of it and of
// global_defs; "" = one that keepalived does not run.
func expectedInstance(t *testing.T, b, global block, unicast bool) string {
	master, priority := word("state", "BACKUP", b) == "MASTER", word("priority", "", b)
	if priority == "" {
		priority = map[bool]string{true: "255", false: "100"}[master]
	}
	strict := has("vrrp_strict", global) || has("strict_mode", b) && word("strict_mode", "", b) != "off"
	if strict && priority != "255" {
		master = false
	}
	v6, vips := false, inner("virtual_ipaddress", b).inner
	if len(vips) > 0 {
		v6 = strings.Contains(vips[0].words[0], ":")
	}
	version := word("version", "", b)
	if version == "" {
		version = word("vrrp_version", "2", global)
	}
	if v6 {
		version = "3" // of lvsd, which has no other
	}
	if len(vips) == 0 && (version == "3" || strict) {
		return ""
	}
	advert := toSeconds(t, word("advert_int", "1", b))
	if version == "2" {
		advert = max(advert.Round(time.Second), time.Second)
	}
	peers := "multicast"
	if p := inner("unicast_peer", b).inner; unicast && len(p) > 0 {
		peers = word("unicast_src_ip", "", b) + " to " + p[0].words[0]
	}
	preempt := !has("nopreempt", b) || master || priority == "255"
	return fmt.Sprintf("%s id=%s version=%s priority=%s every %v preempt=%v %s", word("interface", "eth0", b), word("virtual_router_id", "", b), version, priority, advert, preempt, peers)
}

// foundInstance describes an instance in the same form.
func foundInstance(v config.Instance) string {
	peers := "multicast"
	if len(v.Unicast) > 0 {
		peers = v.Source.String() + " to " + v.Unicast[0].String()
	}
	return fmt.Sprintf("%s id=%d version=%d priority=%d every %v preempt=%v %s", v.Interface, v.VRID, v.Version, v.Priority, v.AdvertInterval, v.Preempt, peers)
}

// peerOf returns a file for the other director of a unicast pair, "" where there is none.
func peerOf(text string, all []block) string {
	for _, b := range all {
		own, peers := word("unicast_src_ip", "", b), inner("unicast_peer", b).inner
		if _, err := netip.ParseAddr(own); err == nil && len(peers) == 1 {
			peer := peers[0].words[0]
			return strings.NewReplacer(own, peer, peer, own).Replace(text)
		}
	}
	return ""
}

// TestTheInstancesDoWhatIsDocumented compares both readings of the instances.
func TestTheInstancesDoWhatIsDocumented(t *testing.T) {
	files, err := filepath.Glob("testdata/constructs/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	compared, unicast := 0, 0
	for _, file := range append(files, converttest.Samples(t, "usr/share/doc/keepalived/samples/keepalived.conf.*")...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all, _ := readBlocks(strings.Split(string(text), "\n"))
		global := block{}
		for _, b := range all {
			if b.words[0] == "global_defs" {
				global.inner = append(global.inner, b.inner...)
			}
		}
		if strings.ContainsAny(string(text), "$~@") || strings.Contains(string(text), "\ninclude ") || !slices.ContainsFunc(all, func(b block) bool { return b.words[0] == "vrrp_instance" }) {
			continue // more of the language than this reads, or nothing to compare
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			env, sources, peer := converttest.Env(), []Source{{"lb1", file}}, peerOf(string(text), all)
			if peer != "" {
				read := env.Read
				env.Read = func(name string) ([]byte, error) {
					if name == "peer" {
						return []byte(peer), nil
					}
					return read(name)
				}
				sources = append(sources, Source{"lb2", "peer"})
				unicast++
			}
			r, err := Convert(sources, env)
			if err != nil {
				t.Fatal(err)
			}
			f, err := config.Parse("lvsd.toml", []byte(r.TOML))
			if err != nil {
				t.Fatal(err)
			}
			c, err := f.For("lb1")
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, v := range c.Instances {
				if !strings.HasSuffix(v.Name, "-other-family") {
					got = append(got, foundInstance(v))
				}
			}
			for _, b := range all {
				if b.words[0] != "vrrp_instance" {
					continue
				}
				if one := expectedInstance(t, b, global, peer != ""); one != "" {
					want = append(want, one)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("lvsd would run\n%s\nkeepalived runs\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			compared += len(got)
		})
	}
	if compared < 40 || unicast == 0 {
		t.Errorf("compared %d instances, and %d files with unicast", compared, unicast)
	}
}
