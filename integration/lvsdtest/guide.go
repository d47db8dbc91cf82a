package lvsdtest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// Guide is the code blocks of a page of the documentation, by the words after the
// fence: "toml", "sh director", "sh real servers".
type Guide map[string]string

// ReadGuide reads a page, named from the top of the repository.
func ReadGuide(t *testing.T, name string) Guide {
	t.Helper()
	g := Guide{}
	parts := strings.Split(ReadRepositoryFile(t, name), "\n```")
	for i := 1; i < len(parts)-1; i += 2 {
		kind, body, _ := strings.Cut(parts[i], "\n")
		if _, twice := g[kind]; twice && kind != "" {
			t.Fatalf("%s has two blocks %q", name, kind)
		}
		g[kind] = body + "\n"
	}
	return g
}

// GuideVIP is the virtual IP of README.md and the guides, GuideVIPPort its service.
const (
	GuideVIP     = "10.0.0.88"
	GuideVIPPort = GuideVIP + ":80"
)

// NewGuidePair builds a client and the directors of a guide's configuration, the
// block of this kind: 10.0.0.12 and, where it has two, 10.0.0.13.
func NewGuidePair(t *testing.T, g Guide, kind string) *Pair {
	t.Helper()
	lab.RequireKernel(t)
	p := &Pair{Lab: lab.New(t), T: t}
	p.Net = p.LAN("lan", "10.0.0.0/24")
	p.Client = p.Host("client", p.Net, "10.0.0.2/24")
	for i := range strings.Count(g[kind], "[[director]]") {
		p.LB[i] = p.director(fmt.Sprint("lb", i+1), fmt.Sprintf("10.0.0.%d/24", 12+i))
	}
	if strings.Contains(g[kind], "[global]") {
		t.Fatal("the guide has a [global] of its own")
	}
	// All directors share this machine's file system.
	global := fmt.Sprintf("\n[global]\ncontrol_socket = %q\nstate_dir = %q\n", p.Path("lb1.sock"), p.Path("lb1.state"))
	if p.LB[1] != nil {
		global = fmt.Sprintf("\n[global]\ncontrol_socket = { lb1 = %q, lb2 = %q }\nstate_dir = { lb1 = %q, lb2 = %q }\n",
			p.Path("lb1.sock"), p.Path("lb2.sock"), p.Path("lb1.state"), p.Path("lb2.state"))
	}
	key := p.WritePrivate("pair.key", AuthKey)
	p.WriteConfigText(strings.ReplaceAll(g[kind], `"/etc/lvsd/pair.key"`, strconv.Quote(key)) + global)
	return p
}

// RunGuide runs the commands of a guide on a host. Each command of lvsd gets the
// configuration file or state directory of that host.
func (p *Pair) RunGuide(h *lab.Host, commands string) {
	p.T.Helper()
	if commands == "" {
		p.T.Fatal("the guide has no such commands")
	}
	for line := range strings.Lines(commands) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		switch words[0] {
		case "iptables":
			p.NeedPacketFilter()
			h.IPTables(strings.Join(words[1:], " "))
			continue
		case "lvsd":
			words[0] = Binary(p.T)
			switch words[1] {
			case "realserver":
				words = append(words, "--state-dir", p.Path(h.Name+".realserver"))
			case "host":
				words = append(words, "-c", p.ConfigFile, "--director", h.Name)
			default:
				words = append(words, "-c", p.ConfigFile)
			}
		}
		out, err := h.Run(p.T.Context(), words...)
		if err != nil && strings.HasPrefix(line, "lvsd host prepare") && strings.Contains(out, "this kernel does not support nftables") {
			// As the guide says; User-Mode Linux is such a kernel.
			p.NeedPacketFilter()
			h.IPTables("-t nat -A POSTROUTING -s 192.168.10.0/24 ! -d 192.168.10.0/24 -j MASQUERADE")
			continue
		}
		if err != nil {
			p.T.Errorf("%s: %s: %v\n%s", h.Name, line, err, out)
		}
	}
}

// KeepAlive opens an HTTP connection to GuideVIP and returns functions that make a
// request on it and close it.
func KeepAlive(t *testing.T, client *lab.Host) (request, closeConn func() error) {
	t.Helper()
	conn, err := client.Dial(t.Context(), "tcp", GuideVIPPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	responses := bufio.NewReader(conn)
	return func() error {
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: lab\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(responses, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}, conn.Close
}
