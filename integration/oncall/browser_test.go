// A real browser with the status page of a director: Debian's chromium without a screen,
// controlled over its DevTools protocol. It runs outside the hosts of the lab and reaches
// a director through a relay, which a test can disconnect.

package oncall_test

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// browserLimit is the timeout of one action: the kernel may have one processor, and the
// machine may be busy.
const browserLimit = 2 * time.Minute

// browser is a tab.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	errors []string // of the page's scripts, and violations of the Content-Security-Policy
}

// openBrowser starts a browser, which ends with the test.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.ExecPath("/usr/bin/chromium"), chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(5*time.Minute))
	ctx, end := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(end)
	ctx, end = chromedp.NewContext(ctx)
	t.Cleanup(end)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.onEvent); err != nil {
		t.Fatalf("the browser does not start: %v", err)
	}
	b.setSize(1100, 900)
	return b
}

func (b *browser) onEvent(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		for _, a := range e.Args {
			b.errors = append(b.errors, string(a.Value))
		}
	}
}

// checkErrors fails the test if a script failed or the console has output.
func (b *browser) checkErrors() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.errors) > 0 {
		b.t.Errorf("the page's scripts: %q", b.errors)
	}
}

// do runs actions in order.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserLimit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// evaluate evaluates an expression in the page.
func evaluate[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserLimit)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](expression))
	var v T
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// waitFor waits until an expression is true in the page.
func (b *browser) waitFor(what, expression string) {
	b.t.Helper()
	if _, ok := lab.Poll(browserLimit, func() bool { return evaluate[bool](b, expression) }); !ok {
		b.t.Fatalf("not in time: %s; the page:\n%s", what, evaluate[string](b, "document.body.innerText"))
	}
}

// setSize sets the size of the window in CSS pixels.
func (b *browser) setSize(width, height int64) { b.do(chromedp.EmulateViewport(width, height)) }

func (b *browser) setColourScheme(scheme string) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		b.t.Fatal(err)
	}
}

// press presses keys, one after the other.
func (b *browser) press(keys string) { b.do(chromedp.KeyEvent(keys)) }

// screenshot writes the page as PNG to the folder LVSD_SCREENSHOTS, if set.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	folder := os.Getenv("LVSD_SCREENSHOTS")
	if folder == "" {
		return
	}
	shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		shot, err = fewColours(shot)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), shot, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// fewColours reduces the size of a picture: to its 256 most frequent colours, one of those
// that look the same.
func fewColours(text []byte) ([]byte, error) {
	whole, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	box, count := whole.Bounds(), map[color.RGBA]int{}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			count[color.RGBAModel.Convert(whole.At(x, y)).(color.RGBA)]++
		}
	}
	often := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return count[b] - count[a] })
	var palette color.Palette
	for _, c := range often {
		if len(palette) < 256 && !isNear(c, palette) {
			palette = append(palette, c)
		}
	}
	small := image.NewPaletted(box, palette)
	draw.Draw(small, box, whole, box.Min, draw.Src)
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small)
	return out.Bytes(), err
}

// isNear reports whether a palette has a colour that looks the same.
func isNear(c color.RGBA, palette color.Palette) bool {
	if len(palette) == 0 {
		return false
	}
	near := palette[palette.Index(c)].(color.RGBA)
	apart := func(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }
	return apart(c.R, near.R)+apart(c.G, near.G)+apart(c.B, near.B) < 24
}

// relay forwards connections to loopback to http_listen of a director, which is a
// loopback address on the director's host.
type relay struct {
	ln net.Listener

	mu    sync.Mutex
	to    *lvsdtest.Director // nil: connections are closed
	conns map[net.Conn]struct{}
}

// openRelay opens a relay, which ends with the test.
func openRelay(t *testing.T, to *lvsdtest.Director) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, to: to, conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() { ln.Close(); r.disconnect() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go r.forward(c)
		}
	}()
	return r
}

// url returns the address of the page.
func (r *relay) url() string { return "http://" + r.ln.Addr().String() + "/" }

// disconnect closes all connections, also new ones.
func (r *relay) disconnect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = nil
	for c := range r.conns {
		c.Close()
	}
}

// connect forwards new connections to a director.
func (r *relay) connect(to *lvsdtest.Director) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
}

func (r *relay) forward(c net.Conn) {
	defer c.Close()
	r.mu.Lock()
	to := r.to
	r.conns[c] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.conns, c)
		r.mu.Unlock()
	}()
	if to == nil {
		return
	}
	d, err := to.Dial(context.Background(), "tcp", "127.0.0.1:"+lvsdtest.HTTPPort)
	if err != nil {
		return
	}
	defer d.Close()
	go func() {
		_, _ = io.Copy(d, c) // the end of the browser's side ends both
		d.Close()
	}()
	_, _ = io.Copy(c, d)
}
