// The status page in a real browser, at a running pair: what it shows is what
// `lvsd status --json` says, also while a server dies, a director fails over and
// the daemon is away; what servers answer stays text; keyboard, colours, phone.

package oncall_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// shown is what a page says, in its words.
type shown struct {
	Director string            `json:"director"`
	Master   string            `json:"master"`
	Others   string            `json:"others"`
	Problems []string          `json:"problems"`
	Services map[string]string `json:"services"` // state, and how many serve
	Servers  map[string]string `json:"servers"`  // weight, health, connections
}

// readPage makes a shown of the document.
const readPage = `(() => {
	const text = (q, at) => (at || document).querySelector(q).textContent;
	const out = { director: text("#director"), master: text("#now-master"), others: [...document.querySelectorAll("#now-directors span")].slice(1).map((s) => s.textContent).join(),
		problems: [...document.querySelectorAll("#problems li")].map((p) => p.textContent), services: {}, servers: {} };
	for (const s of document.querySelectorAll("#service-list .service")) {
		const name = text("h3", s);
		out.services[name] = text(".state", s);
		for (const tr of s.querySelectorAll("tbody tr:not(.detail)")) {
			if (tr.closest("tr.detail")) continue;
			const cell = [...tr.children].map((c) => c.textContent);
			out.servers[name + " " + cell[0]] = [cell[1], cell[2], cell[3]].join("; ");
		}
	}
	return out;
})()`

// shownOn is what lvsd status --json says, in the page's words.
func shownOn(d *lvsdtest.Director) (shown, error) {
	out, err := d.LVSD("status", "--json", "-c", d.Pair.ConfigFile, "--socket", d.Socket, "--director", d.Name)
	var s struct {
		Director string   `json:"director"`
		Problems []string `json:"problems"`
		Peers    []struct {
			Director string `json:"director"`
			Up       bool   `json:"up"`
			Problems int    `json:"problem_count"`
			Since    time.Time
			VRRP     []struct {
				State string `json:"state"`
			} `json:"vrrp"`
		} `json:"peers"`
		VRRP []struct {
			Name  string `json:"name"`
			State string `json:"state"`
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
				Verdict    string `json:"verdict"`
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
			want.Others = p.Director + " DOES NOT ANSWER"
		case p.Problems == 1:
			want.Others = p.Director + " 1 problem"
		case p.Problems > 1:
			want.Others = fmt.Sprintf("%s %d problems", p.Director, p.Problems)
		default:
			want.Others = p.Director + " well"
		}
	}
	want.Master = s.VRRP[0].Name + ": " + strings.Join(masters, " AND ")
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
			health := rs.Verdict
			if rs.Draining {
				health += ", draining"
			}
			want.Servers[svc.Name+" "+rs.Address] = fmt.Sprintf("%s; %s; %d", weight, health, rs.Active)
		}
		state := "up"
		if !svc.Up {
			state = "QUORUM LOST"
		}
		want.Services[svc.Name] = fmt.Sprintf("%s %d of %d serve, weight %d, quorum %d", state, serving, len(svc.RealServers), svc.Alive, svc.Quorum)
	}
	return want, nil
}

// waitShown waits until a director's status is so: what it knows of the other one is
// as old as that one's last answer.
func waitShown(d *lvsdtest.Director, what string, so func(shown) bool) {
	d.Pair.T.Helper()
	d.Pair.WaitUntil(browserLimit, what, func() bool {
		s, err := shownOn(d)
		return err == nil && so(s)
	})
}

// agrees waits until a page shows what the director says, and answers it.
func (b *browser) agrees(d *lvsdtest.Director) shown {
	b.t.Helper()
	var page, want shown
	var err error
	if _, ok := lab.Poll(browserLimit, func() bool {
		if want, err = shownOn(d); err != nil {
			return false
		}
		page = see[shown](b, readPage)
		page.Others, _, _ = strings.Cut(page.Others, " since ")
		page.Others, _, _ = strings.Cut(page.Others, ", waits")
		return reflect.DeepEqual(page, want)
	}); !ok {
		b.t.Fatalf("the page of %s and its status do not agree:\n%+v\n%+v (%v)", d.Name, page, want, err)
	}
	return want
}

// hostile answers every request with markup where a server's words are shown.
func hostile(t *testing.T, h *lab.Host) {
	t.Helper()
	ln, err := h.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, "HTTP/1.1 503 "+markup+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}()
		}
	}()
}

// markup would show itself in the page's title, were it not text.
const markup = `<img src=x onerror=document.title='owned'><script>document.title='owned'</script>`

// pagePair is a running pair with two good servers and a hostile one.
func pagePair(t *testing.T) (*lvsdtest.Pair, []*lab.Server) {
	t.Helper()
	p := lvsdtest.NewPair(t, 3)
	p.PrepareDR()
	var servers []*lab.Server
	for _, r := range p.Real[:2] {
		servers = append(servers, lab.ServeHTTP(r, ":80", r.Name))
	}
	hostile(t, p.Real[2])
	p.Services = p.WebService(`{ type = "http", path = "/healthz", interval = "500ms", timeout = "5s", rise = 1, fall = 2 }`, 1, 2, 3)
	p.Services += p.PeerConfig()
	p.StartBoth()
	return p, servers
}

func TestOncallPage(t *testing.T) {
	p, servers := pagePair(t)
	r := openRelay(t, p.LB[0])
	b := openBrowser(t)
	b.colours("dark")
	b.do(chromedp.Navigate(r.url()))
	was := b.agrees(p.LB[0])
	if was.Servers["web 10.77.0.23:80"] != "0 of 3; down; 0" {
		t.Errorf("the hostile server: %+v", was)
	}

	t.Run("what servers answer is text", func(t *testing.T) {
		b.t = t
		b.do(chromedp.Click(chromedp.CSS("#service-list tbody tr:nth-child(3) button")))
		b.until("the last probes of a server", `[...document.querySelectorAll("tr.detail td")].some((td) => td.textContent.includes("503 <img src=x onerror="))`)
		if n := see[int](b, `document.querySelectorAll("img, iframe, object, body script:not(:last-of-type)").length`); n != 0 {
			t.Errorf("%d elements came from outside", n)
		}
		if see[bool](b, `document.title.includes("owned")`) {
			t.Error("a server's answer ran as a script")
		}
		b.until("the reasons of the weight", `document.querySelector("tr.detail ul").textContent.includes("weight 3 in the file")`)
		b.do(chromedp.Click(chromedp.CSS("#service-list tbody tr:nth-child(3) button")))
		b.until("it closes", `!document.querySelector("tr.detail")`)
	})

	t.Run("by keyboard alone", func(t *testing.T) { b.t = t; byKeyboard(b) })
	t.Run("names, roles, contrast", func(t *testing.T) { b.t = t; accessible(b) })
	t.Run("on a phone", func(t *testing.T) {
		b.t = t
		b.size(390, 844)
		b.until("no scrolling aside", fits)
		b.do(chromedp.Click(chromedp.CSS("#service-list tbody tr:nth-child(3) button")))
		b.until("the last probes", `document.querySelectorAll("tr.detail tbody tr").length > 3`)
		b.until("no scrolling aside with the probes", fits)
		b.picture("phone")
		b.do(chromedp.Click(chromedp.CSS("#service-list tbody tr:nth-child(3) button")))
		b.size(1100, 900)
	})
	b.t = t

	// Connections come and stay, and a server dies under them.
	var open []net.Conn
	for range 4 {
		c, err := p.Client.Dial(t.Context(), "tcp", lvsdtest.VIPPort)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	b.until("open connections", `[...document.querySelectorAll("#service-list .figure span")].some((s) => s.textContent === "4 open")`)
	servers[1].Refuse()
	b.until("a server that died", `document.querySelector("#service-list tbody tr:nth-child(2)").textContent.includes("down")`)
	if now := b.agrees(p.LB[0]); !strings.HasPrefix(now.Servers["web 10.77.0.22:80"], "0 of 2; down;") {
		t.Errorf("a server died: %+v", now)
	}
	b.until("the change on top", `document.querySelector("#now-change").textContent.includes("10.77.0.22:80")`)
	b.until("the change is told", `document.querySelector("#announce").textContent.includes("web: up, 2 servers without weight")`)
	b.until("curves", `(document.querySelector("svg.chart path.line").getAttribute("d") || "").includes("L")`)
	b.picture("trouble-dark")
	b.colours("light")
	b.picture("trouble-light")

	// The director that is looked at dies: the page says so, and since when.
	loaded := see[float64](b, "performance.timeOrigin")
	p.LB[0].Process.Kill()
	b.until("nobody answers", `!document.querySelector("#lost").hidden && /NO ANSWER from lb1 since \d\d:\d\d:\d\d/.test(document.querySelector("#lost").textContent)`)
	if !see[bool](b, `document.title.startsWith("NO ANSWER") && document.querySelector("#lost").getAttribute("role") === "alert"`) {
		t.Error("it is not said aloud")
	}
	b.picture("no-answer")
	// The other one's page: it has taken over. It is the same page: only who answers
	// it is another, as with a name in front of both.
	p.LB[1].WaitState("master", 60*time.Second)
	waitShown(p.LB[1], "lb1 not to answer", func(s shown) bool { return s.Others == "lb1 DOES NOT ANSWER" })
	r.mend(p.LB[1])
	now := b.agrees(p.LB[1])
	if now.Master != "web: lb2 (this director)" || now.Others != "lb1 DOES NOT ANSWER" {
		t.Errorf("after the failover: %+v", now)
	}
	if !see[bool](b, `document.querySelector("#lost").hidden`) {
		t.Error("it answers again, and is called lost")
	}
	servers[1].Start()
	p.LB[0].StartDaemon()
	waitShown(p.LB[0], "all to be as before", func(s shown) bool {
		return s.Master == "web: lb1 (this director)" && strings.HasPrefix(s.Servers["web 10.77.0.22:80"], "2; up")
	})
	r.cut()
	b.until("the network is cut", `!document.querySelector("#lost").hidden`)
	r.mend(p.LB[0])
	now = b.agrees(p.LB[0])
	if now.Master != "web: lb1 (this director)" || !strings.HasPrefix(now.Servers["web 10.77.0.22:80"], "2; up") {
		t.Errorf("as before: %+v", now)
	}
	if see[float64](b, "performance.timeOrigin") != loaded {
		t.Error("the page was loaded again")
	}
	b.sound()
	for _, c := range open {
		c.Close()
	}
}

// fits says that nothing is wider than the window; what is cut off counts, too.
const fits = `document.documentElement.scrollWidth <= innerWidth && [...document.querySelectorAll("main *")].every((e) => e.getBoundingClientRect().right <= innerWidth + 1 || e.closest(".wide, .unseen"))`

// byKeyboard opens and closes things without a mouse; the focus stays where it is
// while the page is drawn anew.
func byKeyboard(b *browser) {
	t := b.t
	b.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	var order []string
	for range 40 {
		b.press(kb.Tab)
		order = append(order, see[string](b, `document.activeElement.id || document.activeElement.textContent`))
		if order[len(order)-1] == "10.77.0.23:80" {
			break
		}
	}
	at := func(what string) int { return slices.Index(order, what) }
	for i, what := range []string{"To the services", "filter", "only", "unfold", "service-1-name", "10.77.0.21:80", "10.77.0.22:80", "10.77.0.23:80"} {
		if at(what) < 0 || i > 0 && at(what) < at("To the services") {
			t.Fatalf("the tab key does not come to %s: %q", what, order)
		}
	}
	b.press(kb.Enter)
	b.until("why", `document.querySelectorAll("tr.detail tbody tr").length > 1`)
	drawn := see[string](b, `document.querySelector("#live").textContent`)
	b.until("it was drawn anew", fmt.Sprintf(`document.querySelector("#live").textContent !== %q`, drawn))
	if where := see[string](b, `document.activeElement.textContent`); where != "10.77.0.23:80" {
		t.Errorf("the focus moved to %q", where)
	}
	if !see[bool](b, `getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
		t.Error("the focus is not seen")
	}
	b.press(" ")
	b.until("it closes", `!document.querySelector("tr.detail")`)
	// The filter by keyboard, and the only unhealthy.
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#filter").focus()`))
	b.press("0.22")
	b.until("one server", `document.querySelectorAll("#service-list tbody tr").length === 1 && document.querySelector("#found").textContent === "1 service of 1, 1 real server of 3"`)
	for range 4 {
		b.press(kb.Backspace)
	}
	b.press(kb.Tab)
	b.press(" ")
	b.until("the unhealthy", `document.querySelectorAll("#service-list tbody tr").length === 1 && document.querySelector("#service-list tbody th").textContent === "10.77.0.23:80"`)
	b.press(" ")
	b.until("all", `document.querySelectorAll("#service-list tbody tr").length === 3`)
}

// accessible holds the page to rules like those of the checkers for people who do
// not see it, or not well: in both colours.
func accessible(b *browser) {
	for _, scheme := range []string{"light", "dark"} {
		b.colours(scheme)
		b.until("the colours", fmt.Sprintf(`matchMedia("(prefers-color-scheme: %s)").matches`, scheme))
		for _, fault := range see[[]string](b, faults) {
			b.t.Errorf("%s: %s", scheme, fault)
		}
		if n := see[int](b, `document.querySelectorAll("main *").length`); n < 100 {
			b.t.Errorf("only %d elements were looked at", n)
		}
	}
}

// faults finds controls without a name, ids that are twice, references to nothing,
// tables without headers, headings that skip a level, small controls, and text of
// too little contrast (WCAG 2.2: 1.4.3 at 4.5, 2.5.8 at 24 pixels).
const faults = `(() => {
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
