package keepalived

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvsd/cmd/internal/convert/converttest"
	"lvsd/config"
)

// This file reads keepalived.conf a second time, in the simplest way and by the defaults
// that keepalived.conf(5) documents, and compares what it finds with the services that
// lvsd would run from the result of the conversion.

// block is a keyword with its arguments and lines.
type block struct {
	words []string
	inner []block
}

// readBlocks reads lines without definitions, conditions and repetitions.
func readBlocks(lines []string) (all []block, rest []string) {
	for len(lines) > 0 {
		line := strings.TrimSpace(lines[0])
		lines = lines[1:]
		if i := strings.IndexAny(line, "#!"); i >= 0 {
			line = strings.TrimSpace(line[:i])
		}
		switch opens := strings.HasSuffix(line, "{"); {
		case line == "":
		case line == "}":
			return all, lines
		default:
			b := block{words: strings.Fields(strings.ReplaceAll(strings.TrimSuffix(line, "{"), `"`, ""))}
			if opens {
				b.inner, lines = readBlocks(lines)
			}
			all = append(all, b)
		}
	}
	return all, nil
}

// word returns the first argument of a keyword in the innermost of the blocks that has it.
func word(keyword, otherwise string, blocks ...block) string {
	for _, b := range blocks {
		for _, in := range b.inner {
			if in.words[0] == keyword {
				return strings.Join(in.words[1:min(len(in.words), 2)], "")
			}
		}
	}
	return otherwise
}

func has(keyword string, b block) bool {
	return slices.ContainsFunc(b.inner, func(in block) bool { return in.words[0] == keyword })
}

func toSeconds(t *testing.T, s string) time.Duration {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(f * float64(time.Second))
}

// documentedRetries are the defaults of retry.
var documentedRetries = map[string]int{"TCP_CHECK": 1, "HTTP_GET": 1, "SSL_GET": 1, "SMTP_CHECK": 1, "DNS_CHECK": 3, "MISC_CHECK": 0, "PING_CHECK": 1, "UDP_CHECK": 1}

// expected describes a virtual_server: the service in the first line, and a line for each
// real server with its first check.
func expected(t *testing.T, vs block) string {
	var b strings.Builder
	args := vs.words[1:]
	forward := map[string]string{"NAT": "nat", "DR": "dr", "TUN": "tun"}
	method := func(otherwise string, in block) string {
		return strings.ToUpper(word("lb_kind", word("lvs_method", otherwise, in), in))
	}
	protocol, port := strings.ToLower(word("protocol", "UDP", vs)), "0"
	if len(args) > 1 {
		port = args[1]
	}
	target := args[0] + " " + port
	if args[0] != "fwmark" {
		target += " " + protocol
	}
	persistence := "0"
	switch {
	case has("persistence_timeout", vs):
		if persistence = word("persistence_timeout", "", vs); persistence == "" {
			persistence = "360"
		}
	case has("persistence_granularity", vs), args[0] != "fwmark" && port == "0":
		persistence = "360"
	}
	fmt.Fprintf(&b, "%s %s persistence=%v\n", target, word("lb_algo", word("lvs_sched", "wlc", vs), vs), toSeconds(t, persistence))
	for _, rs := range vs.inner {
		if rs.words[0] != "real_server" {
			continue
		}
		fmt.Fprintf(&b, " %s weight=%s %s", rs.words[1], word("weight", "1", rs), forward[method(method("NAT", vs), rs)])
		for _, c := range rs.inner {
			retry, known := documentedRetries[c.words[0]]
			if !known || strings.HasSuffix(c.words[0], "_GET") && !has("url", c) {
				continue
			}
			loop := word("delay_loop", "60", c, rs, vs)
			timeout := word("connect_timeout", "5", c, rs, vs)
			if c.words[0] == "MISC_CHECK" {
				timeout = word("misc_timeout", loop, c)
			}
			if given := word("retry", "", c, rs, vs); given != "" {
				retry, _ = strconv.Atoi(given)
			} else if given := word("nb_get_retry", "", c); given != "" && strings.HasSuffix(c.words[0], "_GET") {
				retry, _ = strconv.Atoi(given)
			}
			fmt.Fprintf(&b, " every %v within %v fall=%d", toSeconds(t, loop), toSeconds(t, timeout), retry+1)
			break
		}
		b.WriteString("\n")
	}
	return b.String()
}

// found describes a service in the same form.
func found(s config.Service) string {
	var b strings.Builder
	target := fmt.Sprintf("fwmark %d", s.FWMark)
	if s.FWMark == 0 {
		target = fmt.Sprintf("%s %d %s", s.Address.Addr(), s.Address.Port(), s.Protocol)
	}
	fmt.Fprintf(&b, "%s %s persistence=%v\n", target, s.Scheduler, s.Persistence)
	for _, rs := range s.RealServers {
		fmt.Fprintf(&b, " %s weight=%d %s", rs.Address.Addr(), rs.Weight, rs.Forward)
		if c := rs.Checks[0]; c.Type != "on" {
			fmt.Fprintf(&b, " every %v within %v fall=%d", c.Interval, c.Timeout, c.Fall)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestTheResultDoesWhatIsDocumented compares both readings of the constructs and of the
// samples that Debian's keepalived brings.
func TestTheResultDoesWhatIsDocumented(t *testing.T) {
	files, err := filepath.Glob("testdata/constructs/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, file := range append(files, converttest.Samples(t, "usr/share/doc/keepalived/samples/keepalived.conf.*")...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(string(text), "$~@") || strings.Contains(string(text), "virtual_server group") || strings.Contains(string(text), "\ninclude ") {
			continue // more of the language than this reads
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			r, err := Convert([]Source{{"lb1", file}}, converttest.Env())
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
			for _, s := range c.Services {
				got = append(got, found(s))
			}
			all, _ := readBlocks(strings.Split(string(text), "\n"))
			for _, b := range all {
				if b.words[0] == "virtual_server" && has("real_server", b) {
					want = append(want, expected(t, b))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("lvsd would run\n%s\nkeepalived runs\n%s", strings.Join(got, ""), strings.Join(want, ""))
			}
			compared += len(got)
		})
	}
	if compared < 40 {
		t.Errorf("compared %d services only", compared)
	}
}
