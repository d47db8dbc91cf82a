// The status page in a real browser, with a running pair: it shows what
// `lvsd status --json` prints, also when a server fails, during a failover, and while the
// daemon is down. Responses of servers are shown as text. The page can be used with the
// keyboard, in both colour schemes and on a phone.

package oncall_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// shown is the content of a page.
type shown struct {
	Director string            `json:"director"`
	Master   string            `json:"master"`
	Others   string            `json:"others"`
	Problems []string          `json:"problems"`
	Services map[string]string `json:"services"` // state, and the number of serving servers
	Servers  map[string]string `json:"servers"`  // weight, health, connections
}

// readPage returns shown from the document.
const readPage = `(() => {
	const text = (q, at) => (at || document).querySelector(q).textContent;
	const out = { director: text("#director"), master: text("#now-master"), others: [...document.querySelectorAll("#now-directors span")].slice(1).map((s) => s.textContent).join(),
		problems: [...document.querySelectorAll("#problems .text")].map((p) => p.textContent), services: {}, servers: {} };
	for (const s of document.querySelectorAll("#service-list .service")) {
		const name = text("h3", s);
		out.services[name] = [...s.querySelectorAll(".state > :not(.changed)")].map((e) => e.textContent).join(" ");
		for (const tr of s.querySelectorAll("tbody tr:not(.detail)")) {
			if (tr.closest("tr.detail")) continue;
			const cell = [...tr.children].map((c) => c.textContent);
			out.servers[name + " " + cell[0]] = [cell[1], cell[2], cell[4]].join("; ");
		}
	}
	return out;
})()`

// shownOn returns the content of lvsd status --json in the form of the page.
func shownOn(d *lvsdtest.Director) (shown, error) {
	out, err := d.LVSD("status", "--json", "-c", d.Pair.ConfigFile, "--socket", d.Socket, "--director", d.Name)
	var s struct {
		Director string   `json:"director"`
		Problems []string `json:"problems"`
		Peers    []struct {
			Director string `json:"director"`
			Up       bool   `json:"up"`
			Problems int    `json:"director_problem_count"`
			Since    time.Time
			VRRP     []struct {
				State string `json:"state"`
			} `json:"vrrp"`
		} `json:"peers"`
		VRRP []struct {
			Name      string   `json:"name"`
			State     string   `json:"state"`
			Addresses []string `json:"virtual_addresses"`
		} `json:"vrrp"`
		Services []struct {
			Name        string `json:"name"`
			Up          bool   `json:"up"`
			Alive       int    `json:"weight_alive"`
			Quorum      int    `json:"quorum"`
			RealServers []struct {
				Address    string `json:"address"`
				Weight     *int   `json:"weight"`
				Configured int    `json:"configured_weight"`
				Health     string `json:"verdict"`
				ProbedBy   string `json:"probed_by"`
				Draining   bool   `json:"draining"`
				Active     int    `json:"active_connections"`
			} `json:"real_servers"`
		} `json:"virtual_services"`
	}
	if e := json.Unmarshal([]byte(out), &s); e != nil {
		return shown{}, fmt.Errorf("%w (%v): %s", e, err, out)
	}
	want := shown{Director: s.Director, Problems: append([]string{}, s.Problems...), Services: map[string]string{}, Servers: map[string]string{}}
	var masters []string
	if s.VRRP[0].State == "master" {
		masters = append(masters, s.Director)
	}
	for _, p := range s.Peers {
		if p.Up && len(p.VRRP) > 0 && p.VRRP[0].State == "master" {
			masters = append(masters, p.Director)
		}
		switch {
		case !p.Up:
			want.Others = p.Director + " UNREACHABLE"
		case p.Problems == 1:
			want.Others = p.Director + " 1 problem"
		case p.Problems > 1:
			want.Others = fmt.Sprintf("%s %d problems", p.Director, p.Problems)
		default:
			want.Others = p.Director + " OK"
		}
	}
	want.Master = s.VRRP[0].Name + " " + strings.ReplaceAll(strings.Join(s.VRRP[0].Addresses, " "), "/32", "") + ": " + strings.Join(masters, " AND ")
	if len(masters) == 1 && masters[0] == s.Director {
		want.Master += " (this director)"
	}
	for _, svc := range s.Services {
		serving := 0
		for _, rs := range svc.RealServers {
			weight := "–"
			if rs.Weight != nil {
				weight = fmt.Sprint(*rs.Weight)
			}
			if rs.Weight == nil || *rs.Weight != rs.Configured {
				weight += fmt.Sprintf(" of %d", rs.Configured)
			}
			if rs.Weight != nil && *rs.Weight > 0 {
				serving++
			}
			health := rs.Health
			if rs.ProbedBy != "" {
				health += " (" + rs.ProbedBy + ")"
			}
			if rs.Draining {
				health += ", draining"
			}
			want.Servers[svc.Name+" "+rs.Address] = fmt.Sprintf("%s; %s; %d", weight, health, rs.Active)
		}
		state := "up"
		if !svc.Up {
			state = "QUORUM LOST"
		}
		want.Services[svc.Name] = fmt.Sprintf("%s %d of %d serving, available weight %d, quorum %d", state, serving, len(svc.RealServers), svc.Alive, svc.Quorum)
	}
	return want, nil
}

// waitShown waits until a director's status satisfies a condition. The state of the peer
// is as old as its last response.
func waitShown(d *lvsdtest.Director, what string, so func(shown) bool) {
	d.Pair.T.Helper()
	d.Pair.WaitUntil(browserLimit, what, func() bool {
		s, err := shownOn(d)
		return err == nil && so(s)
	})
}

// waitMatches waits until the page shows the status of the director, and returns it.
func (b *browser) waitMatches(d *lvsdtest.Director) shown {
	b.t.Helper()
	var page, want shown
	var err error
	if _, ok := lab.Poll(browserLimit, func() bool {
		if want, err = shownOn(d); err != nil {
			return false
		}
		page = evaluate[shown](b, readPage)
		page.Others, _, _ = strings.Cut(page.Others, " since ")
		page.Others, _, _ = strings.Cut(page.Others, ", waits")
		return reflect.DeepEqual(page, want)
	}); !ok {
		b.t.Fatalf("the page of %s differs from its status:\n%+v\n%+v (%v)", d.Name, page, want, err)
	}
	return want
}

// serveMarkup responds to every request with markup in the text that the page shows, until
// the returned function is called.
func serveMarkup(t *testing.T, h *lab.Host) (recoverServer func()) {
	t.Helper()
	ln, err := h.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	var recovered atomic.Bool
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				status := "503 " + markup
				if recovered.Load() {
					status = "200 OK"
				}
				_, _ = io.WriteString(c, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}()
		}
	}()
	return func() { recovered.Store(true) }
}

// markup would change the title of the page if it were not shown as text.
const markup = `<img src=x onerror=document.title='owned'><script>document.title='owned'</script>`

// pagePair returns a running pair with two good servers and one that serves markup until
// the function is called.
func pagePair(t *testing.T) (*lvsdtest.Pair, []*lab.Server, func()) {
	t.Helper()
	p := lvsdtest.NewPair(t, 3)
	p.PrepareDR()
	var servers []*lab.Server
	for _, r := range p.Real[:2] {
		servers = append(servers, lab.ServeHTTP(r, ":80", r.Name))
	}
	recoverServer := serveMarkup(t, p.Real[2])
	p.Services = p.WebService(`{ type = "http", path = "/healthz", interval = "500ms", timeout = "5s", rise = 1, fall = 2 }`, 1, 2, 3)
	p.Services += lvsdtest.Replace(t, p.PeerConfig(), "[peers]\n", "[peers]\nprobe_share = true\n")
	p.StartBoth()
	return p, servers, recoverServer
}

// TestOncallPage opens the status page of a pair.
func TestOncallPage(t *testing.T) {
	p, servers, recoverServer := pagePair(t)
	r := openRelay(t, p.LB[0])
	b := openBrowser(t)
	b.setColourScheme("dark")
	b.do(chromedp.Navigate(r.url()))
	was := b.waitMatches(p.LB[0])
	if was.Servers["web 10.77.0.23:80"] != "0 of 3; down; 0" {
		t.Errorf("the server with markup: %+v", was)
	}

	t.Run("what servers answer is text", func(t *testing.T) {
		b.t = t
		b.do(chromedp.Click(chromedp.CSS("#service-list tbody tr:nth-child(3) button")))
		b.waitFor("the last probes of a server", `[...document.querySelectorAll("tr.detail td")].some((td) => td.textContent.includes("503 <img src=x onerror="))`)
		if n := evaluate[int](b, `document.querySelectorAll("img, iframe, object, body script:not(:last-of-type)").length`); n != 0 {
			t.Errorf("%d elements of other origins", n)
		}
		if evaluate[bool](b, `document.title.includes("owned")`) {
			t.Error("a server's response was executed as a script")
		}
		b.waitFor("the reasons of the weight", `document.querySelector("tr.detail ul").textContent.includes("weight 3 in the file")`)
		b.do(chromedp.Click(chromedp.CSS("#service-list tbody tr:nth-child(3) button")))
		b.waitFor("it closes", `!document.querySelector("tr.detail")`)
	})

	t.Run("by keyboard alone", func(t *testing.T) { b.t = t; checkKeyboard(b) })
	t.Run("names, roles, contrast", func(t *testing.T) { b.t = t; checkAccessibility(b) })
	t.Run("from a phone to a wide screen", func(t *testing.T) {
		b.t = t
		b.do(chromedp.Click(chromedp.CSS("#service-list tbody tr:nth-child(3) button")))
		b.waitFor("the last probes", `document.querySelectorAll("tr.detail tbody tr").length > 3`)
		for _, width := range []int64{360, 768, 1100, 1600, 2560} {
			b.setSize(width, 900)
			b.waitFor(fmt.Sprintf("no scrolling aside at %d pixels", width), fits)
			narrow := []string{"never measured"}
			if _, ok := lab.Poll(browserLimit, func() bool { narrow = evaluate[[]string](b, squeezed); return len(narrow) == 0 }); !ok {
				t.Errorf("squeezed at %d pixels: %q", width, narrow)
			}
		}
		b.do(chromedp.Click(chromedp.CSS("#service-list tbody tr:nth-child(3) button")))
		b.setSize(1100, 900)
	})
	b.t = t
	recoverServer()
	waitShown(p.LB[0], "the server with markup to recover", func(s shown) bool { return strings.HasPrefix(s.Servers["web 10.77.0.23:80"], "3; up") })

	// A server with open connections fails.
	var open []net.Conn
	for range 4 {
		c, err := p.Client.Dial(t.Context(), "tcp", lvsdtest.VIPPort)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	b.waitFor("open connections", `[...document.querySelectorAll("#service-list .figure span")].some((s) => s.textContent === "4 open")`)
	servers[1].Refuse()
	b.waitFor("a server that died", `document.querySelector("#service-list tbody tr:nth-child(2)").textContent.includes("down")`)
	if now := b.waitMatches(p.LB[0]); !strings.HasPrefix(now.Servers["web 10.77.0.22:80"], "0 of 2; down;") {
		t.Errorf("after a server failed: %+v", now)
	}
	b.waitFor("the change in the history", `document.querySelector("#events").textContent.includes("weight web 10.77.0.22:80")`)
	b.waitFor("the change announced", `document.querySelector("#announce").textContent.includes("web: up, 1 server without weight")`)
	stop := requests(p.Client)
	b.waitFor("traffic", `/[1-9]\d* new\/s/.test(document.querySelector("#now-traffic").textContent) && document.querySelector("#service-list .scale").textContent !== ""`)
	b.waitFor("curves", `(document.querySelector("svg.chart path.line").getAttribute("d") || "").includes("L")`)
	// The pictures are of a plausible site.
	evaluate[bool](b, `[...document.querySelectorAll("#events li")].every((li) => { if (li.textContent.includes("<img")) li.style.display = "none"; return true })`)
	b.screenshot("trouble-dark")
	b.setColourScheme("light")
	b.screenshot("trouble-light")
	b.setSize(390, 1200)
	b.screenshot("phone")
	b.setSize(1100, 900)
	stop()

	// The director of the page is killed: the page shows that, and since when.
	loaded := evaluate[float64](b, "performance.timeOrigin")
	p.LB[0].Process.Kill()
	b.waitFor("the lost connection", `!document.querySelector("#lost").hidden && /NO ANSWER from lb1 since \d\d:\d\d:\d\d/.test(document.querySelector("#lost").textContent)`)
	if !evaluate[bool](b, `document.title.startsWith("NO ANSWER") && document.querySelector("#lost").getAttribute("role") === "alert"`) {
		t.Error("not announced to screen readers")
	}
	if !evaluate[bool](b, `getComputedStyle(document.querySelector("main")).opacity < 1`) {
		t.Error("the last known state looks like the current one")
	}
	b.screenshot("no-answer")
	// The peer has taken over. The page remains the same, only another director responds, as
	// with one name for both.
	p.LB[1].WaitState("master", 60*time.Second)
	waitShown(p.LB[1], "lb1 not to answer", func(s shown) bool { return s.Others == "lb1 UNREACHABLE" })
	r.connect(p.LB[1])
	now := b.waitMatches(p.LB[1])
	if now.Master != "web 10.77.0.100: lb2 (this director)" || now.Others != "lb1 UNREACHABLE" {
		t.Errorf("after the failover: %+v", now)
	}
	if !evaluate[bool](b, `document.querySelector("#lost").hidden`) {
		t.Error("the director responds, but the page shows no connection")
	}
	servers[1].Start()
	p.LB[0].StartDaemon()
	waitShown(p.LB[0], "all to be as before", func(s shown) bool {
		return s.Master == "web 10.77.0.100: lb1 (this director)" && strings.HasPrefix(s.Servers["web 10.77.0.22:80"], "2; up")
	})
	r.disconnect()
	b.waitFor("the network is cut", `!document.querySelector("#lost").hidden`)
	r.connect(p.LB[0])
	now = b.waitMatches(p.LB[0])
	if now.Master != "web 10.77.0.100: lb1 (this director)" || !strings.HasPrefix(now.Servers["web 10.77.0.22:80"], "2; up") {
		t.Errorf("not as at first: %+v", now)
	}
	if evaluate[float64](b, "performance.timeOrigin") != loaded {
		t.Error("the page was reloaded")
	}

	// The other director leaves the probes to this one.
	r.disconnect()
	waitShown(p.LB[1], "lb1 to probe for both", func(s shown) bool { return strings.HasPrefix(s.Servers["web 10.77.0.21:80"], "1; up (lb1);") })
	r.connect(p.LB[1])
	b.waitMatches(p.LB[1])
	b.do(chromedp.Click(chromedp.CSS("#service-list tbody tr:nth-child(1) button")))
	b.waitFor("who probes a server", `document.querySelector("tr.detail").textContent.includes("probed by director lb1 (probe_share)")`)
	b.checkErrors()
	for _, c := range open {
		c.Close()
	}
}

// requests sends requests to the virtual service until it is stopped.
func requests(client *lab.Host) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			c, err := client.Dial(ctx, "tcp", lvsdtest.VIPPort)
			if err != nil {
				continue
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	return func() { cancel(); <-ended }
}

// fits reports whether no element is wider than the window, including clipped ones.
const fits = `document.documentElement.scrollWidth <= innerWidth && [...document.querySelectorAll("main *")].every((e) => e.getBoundingClientRect().right <= innerWidth + 1 || e.closest(".wide, .unseen"))`

// squeezed returns the reasons and curves that are too narrow to be read.
const squeezed = `[...document.querySelectorAll("#service-list > .service > table > tbody > tr > td:last-child, #service-list svg.chart")]
	.filter((e) => e.getClientRects().length && e.getBoundingClientRect().width < 60).map((e) => e.tagName + " " + e.textContent)`

// checkKeyboard expands and collapses services with the keyboard; the focus stays while the
// page is redrawn.
func checkKeyboard(b *browser) {
	t := b.t
	b.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	var order []string
	for range 40 {
		b.press(kb.Tab)
		order = append(order, evaluate[string](b, `document.activeElement.id || document.activeElement.textContent`))
		if order[len(order)-1] == "10.77.0.23:80" {
			break
		}
	}
	at := func(what string) int { return slices.Index(order, what) }
	for i, what := range []string{"Skip to services", "filter", "only", "unfold", "service-1-name", "10.77.0.21:80", "10.77.0.22:80", "10.77.0.23:80"} {
		if at(what) < 0 || i > 0 && at(what) < at("Skip to services") {
			t.Fatalf("the tab key does not reach %s: %q", what, order)
		}
	}
	b.press(kb.Enter)
	b.waitFor("why", `document.querySelectorAll("tr.detail tbody tr").length > 1`)
	drawn := evaluate[string](b, `document.querySelector("#live").textContent`)
	b.waitFor("a redraw", fmt.Sprintf(`document.querySelector("#live").textContent !== %q`, drawn))
	if where := evaluate[string](b, `document.activeElement.textContent`); where != "10.77.0.23:80" {
		t.Errorf("the focus moved to %q", where)
	}
	if !evaluate[bool](b, `getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
		t.Error("the focus is not visible")
	}
	b.press(" ")
	b.waitFor("it closes", `!document.querySelector("tr.detail")`)
	// The filters with the keyboard.
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#filter").focus()`))
	b.press("0.22")
	b.waitFor("one server", `document.querySelectorAll("#service-list tbody tr").length === 1 && document.querySelector("#found").textContent === "1 service of 1, 1 real server of 3"`)
	for range 4 {
		b.press(kb.Backspace)
	}
	b.press(kb.Tab)
	b.press(" ")
	b.waitFor("the unhealthy", `document.querySelectorAll("#service-list tbody tr").length === 1 && document.querySelector("#service-list tbody th").textContent === "10.77.0.23:80"`)
	if query := evaluate[string](b, `location.search`); query != "?unhealthy=1" {
		t.Errorf("the filter is not in the address: %q", query)
	}
	b.press(" ")
	b.waitFor("all", `document.querySelectorAll("#service-list tbody tr").length === 3`)
}

// checkAccessibility checks rules of accessibility in both colour schemes.
func checkAccessibility(b *browser) {
	for _, scheme := range []string{"light", "dark"} {
		b.setColourScheme(scheme)
		b.waitFor("the colours", fmt.Sprintf(`matchMedia("(prefers-color-scheme: %s)").matches`, scheme))
		for _, fault := range evaluate[[]string](b, accessibilityFaults) {
			b.t.Errorf("%s: %s", scheme, fault)
		}
		if n := evaluate[int](b, `document.querySelectorAll("main *").length`); n < 100 {
			b.t.Errorf("only %d elements were checked", n)
		}
	}
}

// accessibilityFaults finds controls without a name, duplicate ids, dangling references,
// tables without headers, skipped heading levels, small controls, and text with too
// little contrast (WCAG 2.2: 1.4.3 at 4.5, 2.5.8 at 24 pixels).
const accessibilityFaults = `(() => {
	const out = [], all = [...document.querySelectorAll("body *")].filter((e) => !e.closest("script, noscript"));
	const name = (e) => (e.getAttribute("aria-label") || e.textContent || e.labels && [...e.labels].map((l) => l.textContent).join() || "").trim();
	const seen = new Set();
	if (document.documentElement.lang !== "en" || !document.title) out.push("no language or title");
	if (document.querySelectorAll("h1").length !== 1 || !document.querySelector("main")) out.push("no single h1, or no main");
	let level = 1;
	for (const e of all) {
		if (e.id && seen.has(e.id)) out.push("twice: #" + e.id);
		seen.add(e.id);
		const tag = e.tagName.toLowerCase(), what = tag + " " + (e.id || name(e)).slice(0, 40);
		if (/^(button|a|input|select)$/.test(tag) && !e.hidden && !name(e) && e.getClientRects().length) out.push("no name: " + what);
		if (e.getAttribute("role") === "img" && !e.getAttribute("aria-label")) out.push("no name: " + what);
		for (const a of ["aria-labelledby", "aria-controls", "for"]) for (const id of (e.getAttribute(a) || "").split(" ")) if (id && !document.getElementById(id)) out.push("refers to nothing: " + what);
		if (/^h[1-6]$/.test(tag)) { if (+tag[1] > level + 1) out.push("skips a level: " + what); level = +tag[1]; }
		if (tag === "table" && e.getClientRects().length && (!e.caption || [...e.querySelectorAll("thead th")].some((th) => th.scope !== "col") || [...e.tBodies].some((t) => [...t.rows].some((r) => !r.cells[0].hasAttribute("colspan") && r.cells[0].scope !== "row")))) out.push("table without caption or headers: " + what);
		if ((tag === "button" || tag === "input") && e.getClientRects().length) { const box = e.getBoundingClientRect(); if (box.height < 24 && !e.closest("label")) out.push("small: " + what + " " + box.width + "x" + box.height); }
	}
	const rgb = (c) => c.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
	let texts = 0;
	for (const e of all) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue;
		texts++;
		const [x, y] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((a, b) => b - a), ratio = (x + 0.05) / (y + 0.05);
		if (ratio < 4.5) out.push("contrast " + ratio.toFixed(2) + ": " + e.tagName + " " + e.textContent.slice(0, 40));
	}
	if (texts < 30) out.push("only " + texts + " texts");
	for (const q of ["#announce[aria-live=polite]", "#lost[role=alert]", "meta[name=color-scheme]", "meta[name=viewport]"]) if (!document.querySelector(q)) out.push("lacks " + q);
	return out;
})()`
