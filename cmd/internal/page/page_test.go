package page

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func served(t *testing.T) (string, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Code)
	}
	return w.Body.String(), w.Header()
}

// TestThePolicyLetsThePageRunAndNothingElse: the hashes are those of what is served,
// and there is one script and one style.
func TestThePolicyLetsThePageRunAndNothingElse(t *testing.T) {
	text, header := served(t)
	policy := header.Get("Content-Security-Policy")
	for _, tag := range []string{"script", "style"} {
		parts := regexp.MustCompile("(?s)<"+tag+">(.*?)</"+tag+">").FindAllStringSubmatch(text, -1)
		if len(parts) != 1 || strings.Count(text, "<"+tag) != 1 {
			t.Fatalf("%d times <%s>", len(parts), tag)
		}
		if want := tag + "-src " + hash(parts[0][1]); !strings.Contains(policy, want+";") {
			t.Errorf("%s is not in %s", want, policy)
		}
	}
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'", "require-trusted-types-for 'script'", "trusted-types 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s", want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
		t.Errorf("the policy is wide: %s", policy)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestNothingIsFetchedFromElsewhere and nothing can be sent: no address but those
// of the director, no form, no method but GET, no way from text to markup.
func TestNothingIsFetchedFromElsewhere(t *testing.T) {
	text, _ := served(t)
	text = strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "") // a name, not an address
	for _, bad := range []string{"http://", "https://", "//cdn", "@import", "url(", "<form", "method:", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "onclick=", "style=", "src="} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, m := range regexp.MustCompile(`(?:href|content)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if strings.HasPrefix(m[1], "/") {
			t.Errorf("%s would not work behind a path", m[1])
		}
	}
	if len(text) > 100_000 {
		t.Errorf("the page is %d bytes", len(text))
	}
}

// TestEveryScriptIsInThePage: a file that is forgotten in the list is no part of it.
func TestEveryScriptIsInThePage(t *testing.T) {
	all, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{"page.html": true, "page.css": true}
	for _, name := range scripts {
		listed[name] = true
	}
	for _, f := range all {
		if !listed[f.Name()] {
			t.Errorf("%s is not in the page", f.Name())
		}
	}
}
