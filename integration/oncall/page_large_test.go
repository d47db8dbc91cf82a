// The status page with a thousand real servers: its size and speed, and that only changed
// rows are drawn again.

package oncall_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"lvsd/integration/lvsdtest"
)

// The size of the configuration.
const manyServices, serversOfEach = 20, 50

// thousandServers returns services whose checks need no network. In the first service one
// server is down, and the first one has this weight.
func thousandServers(first int) string {
	var b strings.Builder
	for i := range manyServices {
		fmt.Fprintf(&b, "[[virtual_service]]\nname = \"service-%d\"\naddress = \"%s:%d\"\nscheduler = \"wlc\"\ncheck = { type = \"on\" }\nreal_servers = [\n", i, lvsdtest.VIP, 1000+i)
		for j := range serversOfEach {
			weight, check := 5, ""
			switch {
			case i == 0 && j == 0:
				weight = first
			case i == 0 && j == 1:
				check = `, check = { type = "off" }`
			}
			fmt.Fprintf(&b, "  { address = \"10.78.%d.%d:%d\", weight = %d%s },\n", i, 1+j, 1000+i, weight, check)
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// sizeOf returns the length of a response with this Content-Encoding.
func sizeOf(d *lvsdtest.Director, t *testing.T, path, encoding string) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: d.Dial}}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://127.0.0.1:"+lvsdtest.HTTPPort+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", encoding)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
	if encoding == "gzip" {
		if _, err := gzip.NewReader(strings.NewReader(string(text))); err != nil {
			t.Fatalf("%s: not compressed: %v", path, err)
		}
	}
	return len(text)
}

// watchRows records which rows of the page change, except for the charts.
const watchRows = `(() => {
	window.changedRows = new Set();
	new MutationObserver((all) => { for (const m of all) if (m.type !== "attributes") { const tr = m.target.nodeType === 1 && m.target.closest("tr") || m.target.parentElement && m.target.parentElement.closest("tr"); window.changedRows.add(tr ? tr.cells[0].textContent : "head"); } })
		.observe(document.querySelector("#service-list"), { childList: true, characterData: true, subtree: true });
	return true;
})()`

// TestOncallPageOfAThousand opens the status page of a thousand real servers.
func TestOncallPageOfAThousand(t *testing.T) {
	p := lvsdtest.NewPair(t, 0)
	p.Services = thousandServers(5)
	d := p.LB[0]
	d.StartDaemon()
	r := openRelay(t, d)
	b := openBrowser(t)
	b.do(chromedp.Navigate(r.url()))
	b.waitFor("a thousand", `document.querySelector("#found").textContent === "20 services, 1000 real servers"`)
	b.waitFor("the short service on top", `document.querySelector("#now-services").textContent.includes("19 of 20 services OKservice-0: 49 of 50 serving")`)
	if open := evaluate[int](b, `document.querySelectorAll("#service-list [aria-expanded=true]").length`); open != 1 {
		t.Errorf("%d services are expanded; only the small one should be", open)
	}
	first := evaluate[float64](b, `performance.getEntriesByName(location.href).length && +document.documentElement.dataset.drawn`)
	plain, packed := sizeOf(d, t, "/api/v1/status", "identity"), sizeOf(d, t, "/api/v1/status", "gzip")
	t.Logf("status of 1,000 servers: %d bytes, packed %d; the page itself %d, packed charts %d", plain, packed, sizeOf(d, t, "/", "identity"), sizeOf(d, t, "/api/v1/charts", "gzip"))
	if packed*5 > plain {
		t.Errorf("compressed %d of %d bytes", packed, plain)
	}

	// All services expanded: the most that can be drawn.
	b.do(chromedp.Click(chromedp.CSS("#unfold")), chromedp.Click(chromedp.CSS("#unfold")))
	b.waitFor("all are open", `document.querySelectorAll("#service-list tbody tr").length === 1000`)
	all := evaluate[float64](b, `+document.documentElement.dataset.drawn`)
	drawn := evaluate[string](b, `document.querySelector("#live").textContent`)
	b.waitFor("drawn again", fmt.Sprintf(`document.querySelector("#live").textContent !== %q`, drawn))
	t.Logf("drawing: %.1f ms with the short service open, %.1f ms when all opened, %.1f ms again with 1,000 rows", first, all, evaluate[float64](b, `+document.documentElement.dataset.drawn`))

	// A row's curve has a scale once two values of it are known.
	b.waitFor("all curves", `[...document.querySelectorAll("#service-list tbody .scale")].every((n) => n.textContent !== "")`)

	// Without a change nothing is drawn; a changed weight redraws its row and the header.
	evaluate[bool](b, watchRows)
	for range 2 {
		drawn := evaluate[string](b, `document.querySelector("#live").textContent`)
		b.waitFor("drawn again", fmt.Sprintf(`document.querySelector("#live").textContent !== %q`, drawn))
	}
	if rows := evaluate[[]string](b, `[...window.changedRows].filter((r) => r !== "head")`); len(rows) != 0 {
		t.Errorf("rows were drawn again although nothing changed: %q", rows)
	}
	p.Services = thousandServers(3)
	p.WriteConfig()
	d.MustReload()
	b.waitFor("the new weight", `[...document.querySelectorAll("#service-list tbody tr")].some((tr) => tr.cells[0].textContent === "10.78.0.1:1000" && tr.cells[1].textContent === "3")`)
	if rows := evaluate[[]string](b, `[...window.changedRows].filter((r) => r !== "head")`); len(rows) != 1 || rows[0] != "10.78.0.1:1000" {
		t.Errorf("rows drawn after a changed weight: %q", rows)
	}

	// The filters: part of an address, and unhealthy servers.
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#filter").focus()`))
	b.press("10.78.7.1")
	b.waitFor("eleven servers", `document.querySelector("#found").textContent === "1 service of 20, 11 real servers of 1000" && document.querySelectorAll("#service-list tbody tr").length === 11`)
	b.do(chromedp.Evaluate[chromedp.Void](`const f = document.querySelector("#filter"); f.value = ""; f.dispatchEvent(new Event("input"))`), chromedp.Click(chromedp.CSS("#only")))
	b.waitFor("the one that is down", `document.querySelectorAll("#service-list tbody tr").length === 1 && document.querySelector("#service-list tbody th").textContent === "10.78.0.2:1000"`)
	b.screenshot("thousand")
	b.checkErrors()
}
